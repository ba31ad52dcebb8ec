"""The workflow of a group: it looks when called or when the time comes, and ends with it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from activities.contracts import AdvanceResult
from tests.support import patience
from tests.workflows.conftest import open_world
from tests.workflows.group_world import GroupWorld, lasted

DONE = AdvanceResult(state="completed", message="3 of 3 completed", done=True)


@pytest.fixture
async def world(skipping: WorkflowEnvironment) -> AsyncIterator[GroupWorld]:
    async with open_world(skipping, GroupWorld) as made:
        yield made


def busy(**fields: timedelta) -> AdvanceResult:
    return AdvanceResult(state="running", **fields)


class TestGroup:
    async def test_ends_with_what_the_database_says(self, world: GroupWorld) -> None:
        world.advances = deque([DONE])
        result = await (await world.start_group()).result()
        assert (result.state, result.message) == ("completed", "3 of 3 completed")

    async def test_looks_again_when_the_time_comes(self, world: GroupWorld) -> None:
        world.advances = deque([busy(wait=timedelta(minutes=2)), busy(), DONE])
        handle = await world.start_group()
        await handle.result()
        assert len(world.asked) == 3
        assert timedelta(minutes=3) <= await lasted(handle) < timedelta(minutes=4)

    async def test_looks_at_once_when_called(self, world: GroupWorld) -> None:
        world.advances = deque([busy(wait=timedelta(hours=5)), DONE])
        handle = await world.start_group()
        await world.advanced.wait()
        await handle.signal("look")
        await asyncio.wait_for(handle.result(), patience(20))
        assert await lasted(handle) < timedelta(hours=1)

    async def test_many_calls_are_taken_together(self, world: GroupWorld) -> None:
        world.advances = deque([busy(pause=timedelta(seconds=5)), DONE])
        handle = await world.start_group()
        for _ in range(10):
            await handle.signal("look")
        await asyncio.wait_for(handle.result(), patience(20))
        assert len(world.asked) == 2

    async def test_an_outage_is_waited_out(self, world: GroupWorld) -> None:
        away = ApplicationError("PostgreSQL does not answer", type="DatabaseUnavailable")
        world.advances = deque([away, away, DONE])
        assert (await (await world.start_group()).result()).state == "completed"

    async def test_a_cancel_in_the_web_ui_ends_the_members_first(self, world: GroupWorld) -> None:
        world.advances = deque(
            [busy(wait=timedelta(hours=5)), busy(), AdvanceResult(state="cancelled", done=True)]
        )
        handle = await world.start_group()
        await world.advanced.wait()
        await handle.cancel()
        assert (await asyncio.wait_for(handle.result(), patience(20))).state == "cancelled"
        assert [bool(plan.cancel) for plan in world.asked] == [False, True, True]
