"""Fresh databases on the server that the tests share."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from cortex.embedded.config import StackConfig


def as_admin(server: StackConfig, url: str) -> str:
    """The URL of a database on the server, for its superuser."""
    return url.replace(
        f"cortex:{server.secrets.postgres_cortex}", f"postgres:{server.secrets.postgres_admin}"
    )


async def admin(server: StackConfig, statement: str) -> None:
    """Do something as the server's superuser."""
    url = as_admin(server, server.database_url.removesuffix("/cortex") + "/postgres")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement.encode())


async def cheapen_passwords(server: StackConfig) -> None:
    """A login hashes the password once, not 4096 times: tests open many connections."""
    secrets = server.secrets
    roles = {"cortex": secrets.postgres_cortex, "postgres": secrets.postgres_admin}
    change = "; ".join(f"ALTER ROLE {role} PASSWORD '{word}'" for role, word in roles.items())
    await admin(server, f"SET scram_iterations = 1; {change}")


@asynccontextmanager
async def fresh_database(server: StackConfig) -> AsyncIterator[str]:
    """The URL of a migrated database of its own, dropped at the end."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    await admin(server, f"CREATE DATABASE {name} OWNER cortex TEMPLATE cortex")
    yield server.database_url.removesuffix("/cortex") + f"/{name}"
    await admin(server, f"DROP DATABASE {name} WITH (FORCE)")
