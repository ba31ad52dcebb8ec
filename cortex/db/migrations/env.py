"""Alembic's entry: runs on the connection that `cortex.db.migrate` hands over."""

from alembic import context

from cortex.db.tables import accounts as account_tables
from cortex.db.tables import groups as group_tables
from cortex.db.tables import money as money_tables
from cortex.db.tables import plugins as plugin_tables
from cortex.db.tables import providers as provider_tables
from cortex.db.tables import reconcile as reconcile_tables
from cortex.db.tables.jobs import Base

TABLES = (
    account_tables,
    group_tables,
    money_tables,
    plugin_tables,
    provider_tables,
    reconcile_tables,
)
"""Modules that add tables to `Base`."""


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
