"""Groups through both clients, against the real API and a real PostgreSQL."""

import asyncio

import pytest
from sqlalchemy import text

from cortex.client import (
    ApiError,
    AsyncCortex,
    Cortex,
    GroupFilter,
    GroupSpec,
    GroupWaitTimeout,
    JobFilter,
    MemberFilter,
)
from cortex.db.engine import Database
from tests.client._async.test_client import KEY, cortex, settings, url

__all__ = ["cortex", "settings", "url"]

SPEC = GroupSpec.model_validate(
    {
        "name": "g",
        "labels": {"a": "b"},
        "defaults": {"secret_env": {"T": "hush"}},
        "jobs": [
            {"name": "a", "command": ["true"], "count": 5},
            {"name": "z", "command": ["true"], "after": "a", "secret_env": {"U": "hush"}},
        ],
    }
)


async def end(database: Database, group_id: str) -> None:
    async with database.transaction() as tx:
        await tx.connection.execute(
            text("UPDATE job_groups SET state = 'completed' WHERE id = :id"), {"id": group_id}
        )
        await tx.connection.execute(
            text(
                "INSERT INTO events (id, type, subject, data) VALUES"
                " ('evt_end', 'group.state.changed', :id, '{\"state\": \"completed\"}')"
            ),
            {"id": group_id},
        )


async def test_submit_look_and_page(cortex: AsyncCortex, database: Database) -> None:
    group = await cortex.submit_group(SPEC, idempotency_key="k")
    assert (await cortex.submit_group(SPEC, idempotency_key="k")).id == group.id
    assert (group.total, group.waiting) == (6, 6)
    names = [member.member async for member in cortex.iter_members(group.id, page_size=2)]
    assert names == ["a[0]", "a[1]", "a[2]", "a[3]", "a[4]", "z"]
    only = [
        member.member async for member in cortex.iter_members(group.id, MemberFilter(member="z"))
    ]
    assert only == ["z"]
    none = MemberFilter(states=("failed", "running"))
    assert [member async for member in cortex.iter_members(group.id, none)] == []
    jobs = [job.member async for job in cortex.iter_jobs(JobFilter(group=group.id))]
    assert len(jobs) == 6
    where = GroupFilter(state="pending", name="g", labels={"a": "b"})
    assert [group.id async for group in cortex.iter_groups(where)] == [group.id]
    assert [group async for group in cortex.iter_groups(GroupFilter(name="other"))] == []
    async with database.transaction() as tx:
        count = await tx.connection.scalar(
            text("SELECT count(*) FROM jobs WHERE secrets IS NOT NULL")
        )
    assert count == 6


async def test_a_mapping_is_checked_by_the_server(cortex: AsyncCortex) -> None:
    wrong = {"jobs": [{"name": "a", "command": ["true"], "after": ["b"]}]}
    for call in (cortex.submit_group, cortex.validate_group):
        with pytest.raises(ApiError) as caught:
            await call(wrong)
        assert caught.value.errors[0].field == "jobs[0].after"
    answer = await cortex.validate_group(SPEC)
    assert [member.gang for member in answer.members] == [0, 0, 0, 0, 0, 1]


async def test_waiting_ends_with_the_group(cortex: AsyncCortex, database: Database) -> None:
    group = await cortex.submit_group(SPEC)
    with pytest.raises(GroupWaitTimeout):
        await cortex.wait_group(group.id, timeout=0.2)
    waiting = asyncio.ensure_future(cortex.wait_group(group.id, timeout=30))
    await asyncio.sleep(0.1)
    await end(database, group.id)
    assert (await waiting).state == "completed"
    types = [event.type async for event in cortex.group_events(group.id, follow=True)]
    assert types[0] == "cortex.group.submitted"
    assert types[-1] == "cortex.group.state.changed"
    assert len(types) == 8


async def test_cancel(cortex: AsyncCortex) -> None:
    group = await cortex.submit_group(SPEC)
    asked = await cortex.cancel_group(group.id, reason="enough")
    assert asked.cancel_requested_at is not None
    again = await cortex.cancel_group(group.id)
    assert again.cancel_requested_at == asked.cancel_requested_at


async def test_the_blocking_client_does_the_same(
    url: str, cortex: AsyncCortex, database: Database
) -> None:
    def work() -> None:
        with Cortex(url, KEY) as blocking:
            group = blocking.submit_group(SPEC)
            assert [member.member for member in blocking.iter_members(group.id)][-1] == "z"
            assert [group.id for group in blocking.iter_groups()] == [group.id]
            assert blocking.groups().items[0].total == 6
            assert blocking.validate_group(SPEC).total == 6
            assert len(list(blocking.group_events(group.id))) == 7
            with pytest.raises(GroupWaitTimeout):
                blocking.wait_group(group.id, timeout=0.1)
            assert blocking.group(group.id, limit=1).members.next_cursor is not None

    await asyncio.to_thread(work)
