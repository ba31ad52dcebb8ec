"""No N+1: however many objects a page has, the same few statements are asked."""

import contextvars
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from cortex.db.engine import Database
from cortex.services.providers import queries
from tests.api.graphql.support import data
from tests.api.graphql.test_queries import billed
from tests.api.groups import GROUPS, group
from tests.api.support import submit

_JOBS = """query ($first: Int!) {
  jobs(first: $first) { nodes { id spec history { state }
    leases { key provider { id status } }
    charges { id amount { amount } }
    events(first: 3) { nodes { type } }
    metrics(first: 5, since: "1h") { note nodes { cpu { avg } } } resourcesUsed { cpuSeconds }
    group { id name counts gangs { gang } }
  } }
}"""
_GROUPS = """query ($first: Int!) {
  groups(first: $first) { nodes { id spec
    members(first: 2) { nodes { id job { id leases { key } charges { id } } } } } }
}"""
_counted: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("counted", default=None)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What this test asks of the database: not what the server asks beside it."""
    execute = psycopg.AsyncCursor.execute

    async def noting(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        noted = _counted.get()
        if noted is not None:
            noted.append(str(query))
        return await execute(self, query, *args, **options)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", noting)
    # Else it goes by the clock whether the providers are read anew.
    monkeypatch.setattr(queries, "_FRESH_SECONDS", 0.0)
    asked: list[str] = []
    token = _counted.set(asked)
    yield asked
    _counted.reset(token)


async def test_the_same_statements_for_few_jobs_and_for_fifty(
    client: httpx.AsyncClient, database: Database, statements: list[str]
) -> None:
    specs = {"jobs": [{"name": "j", "command": ["true"], "count": 4}]}
    for _ in range(10):
        await client.post(GROUPS, json=group(**specs))
    for number in range(14):
        job_id = await submit(client)
        await billed(database, job_id, str(number + 1))
    # Connections are open then, and statements prepared.
    jobs = (await data(client, _JOBS, first=50))["jobs"]["nodes"]
    assert len(jobs) == 50
    assert sum(len(job["charges"]) for job in jobs) == 14
    assert sum(job["group"] is not None for job in jobs) == 36
    groups = (await data(client, _GROUPS, first=50))["groups"]["nodes"]
    assert [len(group["members"]["nodes"]) for group in groups] == [2] * 10
    for query, few, most in ((_JOBS, 16, 11), (_GROUPS, 2, 5)):
        counts = []
        for first in (few, 50):
            statements.clear()
            await data(client, query, first=first)
            counts.append(len(statements))
        assert counts[0] == counts[1], statements
        assert counts[1] <= most, statements
