"""What a commit of before has left behind, brought into a database as that commit wrote it."""

import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from pydantic import SecretStr
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.db.migrate import alembic_config, migrate
from cortex.db.partitions import ensure_partitions
from cortex.embedded.config import StackConfig
from cortex.settings import DatabaseSettings
from tests.support.databases import admin, as_admin

THEN = Path(__file__).parent / "717958f"
KEYS = SecretStr("k1:cmVjb3JkZWQtZm9yLXRoZS10ZXN0cy1vZi1iZWZvcmU=")
"""The keys that its secrets are encrypted with."""

_COPY = re.compile(r"^(COPY (\w+) \((.*)\) FROM STDIN);\n((?:(?!\\\.).*\n)*)\\\.$", re.M)


def calls() -> list[dict[str, Any]]:
    """Every request that the client of that commit sent, with its answer."""
    return [json.loads(line) for line in (THEN / "calls.jsonl").read_text().splitlines()]


def tables() -> Iterator[tuple[str, str, str]]:
    """Table, `COPY` command, and rows."""
    for copy in _COPY.finditer((THEN / "database.sql").read_text()):
        yield copy[2], copy[1], copy[4]


def revision() -> str:
    return (THEN / "database.sql").read_text().partition("\n")[0].removeprefix("-- schema ")


@asynccontextmanager
async def database_of_then(server: StackConfig) -> AsyncIterator[str]:
    """The URL of a database with the schema and the rows of that commit, migrated to today's."""
    name = f"then_{uuid.uuid4().hex[:12]}"
    url = server.database_url.removesuffix("/cortex") + f"/{name}"
    await admin(server, f"CREATE DATABASE {name} OWNER cortex TEMPLATE template0")
    try:
        database = Database(DatabaseSettings(url=SecretStr(url), pool_size=2))
        try:
            await _schema(database)
            await _rows(server, url)
            await migrate(database)
        finally:
            await database.aclose()
        yield url
    finally:
        await admin(server, f"DROP DATABASE {name} WITH (FORCE)")


async def _schema(database: Database) -> None:
    events = next(rows for table, _, rows in tables() if table == "events")
    written = datetime.fromisoformat(events.split("\t")[1])
    async with database.transaction() as tx:
        await tx.connection.run_sync(lambda c: command.upgrade(alembic_config(c), revision()))
        await ensure_partitions(tx.connection, written)


async def _rows(server: StackConfig, url: str) -> None:
    async with await psycopg.AsyncConnection.connect(as_admin(server, url)) as connection:
        # No trigger adds to what is there.
        await connection.execute("SET session_replication_role = replica")
        for _, copy, rows in tables():
            async with connection.cursor().copy(copy.encode()) as target:
                await target.write(rows)
        sequences = await connection.execute(_SEQUENCES)
        for (statement,) in await sequences.fetchall():
            await connection.execute(statement.encode())
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        # Events are told in the order of their transactions: those that come are newer.
        await connection.execute(_OLDER)


_SEQUENCES = """
SELECT format('SELECT setval(%L, coalesce(max(%I), 0) + 1, false) FROM %I',
              pg_get_serial_sequence(table_name, column_name), column_name, table_name)
FROM information_schema.columns
WHERE table_schema = 'public' AND pg_get_serial_sequence(table_name, column_name) IS NOT NULL
  AND table_name NOT IN (SELECT relname FROM pg_class WHERE relispartition)
"""
_OLDER = """
DO $$
BEGIN
    WHILE pg_current_xact_id() <= (SELECT max(tx::text::bigint) FROM events)::text::xid8 LOOP
        COMMIT;
    END LOOP;
END $$
"""


async def scalar(database: Database, query: str, **values: Any) -> Any:
    async with database.reading() as tx:
        return await tx.connection.scalar(text(query), values)


def differences(old: object, new: object, where: str = "") -> list[str]:
    """Where a new answer lacks what the old one had, or says something else."""
    if isinstance(old, dict) and isinstance(new, dict):
        lost = [f"{where}.{name} is gone" for name in old if name not in new]
        return lost + [
            line
            for name in old
            if name in new
            for line in differences(old[name], new[name], f"{where}.{name}")
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line
            for number, (one, other) in enumerate(zip(old, new, strict=True))
            for line in differences(one, other, f"{where}[{number}]")
        ]
    return [] if old == new else [f"{where}: {old!r} is now {new!r}"]
