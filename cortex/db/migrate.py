"""Brings the database to the newest schema: `python -m cortex.db.migrate`."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from cortex.db.engine import Database
from cortex.db.partitions import ensure_partitions
from cortex.domain.errors import CortexError
from cortex.settings import read_settings

# One migration at a time, whoever starts first.
_LOCK = 0x636F72746578


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; there is no alembic.ini."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


async def migrate(database: Database) -> None:
    """Upgrade to the newest revision and make the partitions that are due."""
    async with database.transaction() as tx:
        await tx.connection.execute(text("SET LOCAL statement_timeout = 0"))
        await tx.connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        await _upgrade(tx.connection)
        await ensure_partitions(tx.connection, datetime.now(UTC))


async def _upgrade(connection: AsyncConnection) -> None:
    await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), "head"))


async def _main() -> None:
    database = Database(read_settings().database, application="cortex-migrate")
    try:
        await migrate(database)
    finally:
        await database.aclose()


def main() -> None:
    try:
        asyncio.run(_main())
    except CortexError as error:
        sys.exit(f"migration failed: {error.detail}")


if __name__ == "__main__":
    main()
