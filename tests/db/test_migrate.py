"""The migrations and the table classes say the same, and every migration can be taken back."""

import pkgutil

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from cortex.db import tables
from cortex.db.engine import Database
from cortex.db.migrate import alembic_config
from cortex.db.tables import Base


def _differences(connection: Connection) -> list[object]:
    def ours(_object: object, name: str | None, kind: str, reflected: bool, _to: object) -> bool:
        return not (kind == "table" and reflected and name not in Base.metadata.tables)

    context = MigrationContext.configure(
        connection, opts={"include_object": ours, "compare_type": True}
    )
    return list(compare_metadata(context, Base.metadata))


async def test_the_schema_is_what_the_classes_say(database: Database) -> None:
    async with database.transaction() as tx:
        assert await tx.connection.run_sync(_differences) == []


async def test_back_and_forth(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.connection.run_sync(lambda c: command.downgrade(alembic_config(c), "0006"))
        await tx.connection.run_sync(lambda c: command.upgrade(alembic_config(c), "head"))
        assert await tx.connection.run_sync(_differences) == []
        await tx.connection.execute(text("SELECT group_id FROM commands"))


async def test_a_webhook_of_before_projects_had_some_stays_its_owners(database: Database) -> None:
    made = text(
        "INSERT INTO webhooks (id, owner, project, reach, url, secrets, events, tx, seq) "
        "VALUES ('whk_1', 'ann', 'ann', 'own', 'https://x.test', '', '{*}', 0, 0)"
    )
    async with database.transaction() as tx:
        await tx.connection.run_sync(lambda c: command.downgrade(alembic_config(c), "0039"))
        await tx.connection.execute(made)
        await tx.connection.run_sync(lambda c: command.upgrade(alembic_config(c), "head"))
        (webhook,) = await tx.webhooks.all("ann", frozenset({"ann"}))
        assert (webhook.enabled, webhook.shared) == (True, False)
        assert await tx.webhooks.disown("ann", frozenset({"ann"}), "x") == []
        assert await tx.webhooks.disown("ann", frozenset(), "switched off") == ["whk_1"]
        await tx.webhooks.remove("whk_1")


def test_every_module_of_tables_is_imported() -> None:
    """One that is not would be no table, and its migration a mistake."""
    modules = {module.name for module in pkgutil.iter_modules(tables.__path__)}
    assert modules == {*tables.__all__, "base"} - {"Base"}
