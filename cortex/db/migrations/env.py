"""Alembic's entry: runs on the connection that `cortex.db.migrate` hands over."""

from alembic import context

from cortex.db.tables import Base


def _ours(_object: object, name: str | None, kind: str, reflected: bool, _to: object) -> bool:
    # Partitions are made by `cortex.db.partitions`, not by migrations.
    return not (kind == "table" and reflected and name not in Base.metadata.tables)


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    include_object=_ours,
    compare_server_default=False,
)
with context.begin_transaction():
    context.run_migrations()
