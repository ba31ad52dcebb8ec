"""Secrets are encrypted anew with the newest key; what cannot be opened stays and is told."""

import base64
import os

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from activities.secrets import rotate_secrets
from cortex.db.engine import Database
from cortex.db.secrets import Sealed, SealedCount
from cortex.domain.errors import CortexError
from cortex.domain.ids import new_id
from cortex.security.keyring import KeyRing
from cortex.security.places import job_place, provider_place
from tests.support.providers import known_provider

KEYS = {name: base64.b64encode(os.urandom(32)).decode() for name in ("k1", "k2", "k3")}


def ring(*names: str) -> KeyRing:
    return KeyRing.from_setting(SecretStr(",".join(f"{name}:{KEYS[name]}" for name in names)))


async def job(database: Database, keyring: KeyRing | None, value: str = "") -> str:
    job_id = new_id("job")
    sealed = keyring.encrypt({"TOKEN": value}, job_place(job_id)) if keyring else None
    async with database.statement() as tx:
        await tx.connection.execute(
            text(
                "INSERT INTO jobs (id, name, owner, spec, state, secrets) "
                "VALUES (:id, 'x', 'ann', '{}', 'pending', :sealed)"
            ),
            {"id": job_id, "sealed": sealed},
        )
    return job_id


async def secrets_of(database: Database, table: str, column: str, row_id: str) -> bytes:
    query = text(f"SELECT {column} FROM {table} WHERE id = :id")
    async with database.reading() as tx:
        return bytes((await tx.connection.execute(query, {"id": row_id})).scalar_one())


async def counts(database: Database) -> list[tuple[str, str, int]]:
    async with database.reading() as tx:
        return [(each.what, each.key, each.count) for each in await tx.secrets.counts()]


async def test_all_of_it_is_under_the_newest_key_in_the_end(database: Database) -> None:
    jobs = [await job(database, ring("k1"), f"of {number}") for number in range(450)]
    newer = await job(database, ring("k2"), "newer")
    await job(database, None)
    async with database.transaction() as tx:
        await known_provider(tx, "akash-main", "akash")
        sealed = ring("k1").encrypt({"api_key": "s3"}, provider_place("akash-main"))
        await tx.connection.execute(text("UPDATE providers SET credentials = :s"), {"s": sealed})
    assert await counts(database) == [
        ("jobs", "k1", 450),
        ("jobs", "k2", 1),
        ("providers", "k1", 1),
    ]

    both = ring("k2", "k1")
    assert await rotate_secrets(database, both) == 451
    assert await rotate_secrets(database, both) == 0
    assert await counts(database) == [("jobs", "k2", 451), ("providers", "k2", 1)]
    alone = ring("k2")
    for number in (0, 199, 200, 449):
        blob = await secrets_of(database, "jobs", "secrets", jobs[number])
        assert alone.decrypt(blob, job_place(jobs[number])) == {"TOKEN": f"of {number}"}
    assert alone.decrypt(
        await secrets_of(database, "jobs", "secrets", newer), job_place(newer)
    ) == {"TOKEN": "newer"}
    blob = await secrets_of(database, "providers", "credentials", "akash-main")
    assert alone.decrypt(blob, provider_place("akash-main")) == {"api_key": "s3"}
    with pytest.raises(CortexError, match="cannot be decrypted"):
        alone.decrypt(blob, job_place(newer))


async def test_what_cannot_be_opened_stays(database: Database) -> None:
    lost = await job(database, ring("k3"), "lost")
    moved = await job(database, ring("k1"), "moved")
    good = await job(database, ring("k1"), "good")
    before = await secrets_of(database, "jobs", "secrets", lost)
    async with database.statement() as tx:
        await tx.connection.execute(
            text("UPDATE jobs SET secrets = (SELECT secrets FROM jobs WHERE id = :other) "
                 "WHERE id = :id"),
            {"id": moved, "other": good},
        )  # fmt: skip
    assert await rotate_secrets(database, ring("k2", "k1")) == 1
    assert await secrets_of(database, "jobs", "secrets", lost) == before
    assert await counts(database) == [("jobs", "k1", 1), ("jobs", "k2", 1), ("jobs", "k3", 1)]


async def test_one_that_was_changed_meanwhile_is_kept(database: Database) -> None:
    job_id = await job(database, ring("k1"), "old")
    old = Sealed("jobs", job_id, await secrets_of(database, "jobs", "secrets", job_id))
    newer = ring("k2").encrypt({"TOKEN": "new"}, job_place(job_id))
    async with database.statement() as tx:
        assert await tx.secrets.replace(old, newer)
    async with database.statement() as tx:
        assert not await tx.secrets.replace(old, b"x")
    assert await secrets_of(database, "jobs", "secrets", job_id) == newer


async def test_without_a_key_nothing_is_done(database: Database) -> None:
    await job(database, ring("k1"), "x")
    assert await rotate_secrets(database, KeyRing({})) == 0
    async with database.reading() as tx:
        assert await tx.secrets.counts() == [SealedCount("jobs", "k1", 1)]


async def test_only_jobs_with_secrets_are_looked_at(database: Database) -> None:
    """A million jobs have none: they must not be walked through to count the others."""
    await job(database, ring("k1"), "x")
    async with database.transaction() as tx:
        await tx.connection.execute(
            text(
                "INSERT INTO jobs (id, name, owner, spec, state) SELECT 'job_' || n, 'x', 'ann', "
                "'{}', 'completed' FROM generate_series(1, 20000) AS n"
            )
        )
        await tx.connection.execute(text("ANALYZE jobs"))
        plan = await tx.connection.execute(
            text(
                "EXPLAIN SELECT substring(secrets from 2 for get_byte(secrets, 0)), count(*) "
                "FROM jobs WHERE secrets IS NOT NULL GROUP BY 1"
            )
        )
        assert "jobs_sealed" in "\n".join(row[0] for row in plan)
