"""Fresh databases on the server that the tests share."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from cortex.embedded.config import StackConfig


@asynccontextmanager
async def fresh_database(server: StackConfig) -> AsyncIterator[str]:
    """The URL of a migrated database of its own, dropped at the end."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    admin = server.database_url.replace(
        f"cortex:{server.secrets.postgres_cortex}", f"postgres:{server.secrets.postgres_admin}"
    ).removesuffix("/cortex")
    async with await psycopg.AsyncConnection.connect(f"{admin}/postgres", autocommit=True) as conn:
        await conn.execute(f"CREATE DATABASE {name} OWNER cortex TEMPLATE cortex".encode())
    yield server.database_url.removesuffix("/cortex") + f"/{name}"
    async with await psycopg.AsyncConnection.connect(f"{admin}/postgres", autocommit=True) as conn:
        await conn.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
