"""Reconcile and Rescue, on a clock that jumps; and their recorded histories."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.reconcile.rescue import RescuePlan
from cortex.domain.states import JobState
from tests.support import patience
from tests.workflows.fingerprints import read, replayer
from tests.workflows.reconcile_world import FAILED, ReconcileWorld, open_reconcile_world
from tests.workflows.record_reconcile import FOLDER, SCENARIOS
from workflows.reconcile import ReconcileWorkflow
from workflows.rescue import RescueWorkflow

HISTORIES = sorted(FOLDER.glob("*.json"))


@pytest.fixture
async def world(skipping: WorkflowEnvironment) -> AsyncIterator[ReconcileWorld]:
    async with open_reconcile_world(skipping) as made:
        yield made


class TestRescue:
    async def test_releases_every_lease_and_closes_the_job_with_the_last(
        self, world: ReconcileWorld
    ) -> None:
        world.plan = RescuePlan(leases=(world.lease(1), world.lease(2)), outcome=FAILED)
        result = await (await world.rescue()).result()
        assert result.state is JobState.FAILED
        assert [(settled.outcome, settled.lease_only) for settled in world.settled] == [
            (None, True),
            (FAILED, False),
        ]
        assert world.calls == ["plan", "settle", "settle"]

    async def test_never_gives_up(self, world: ReconcileWorld) -> None:
        """A network that is away for a whole day."""
        world.plan = RescuePlan(leases=(world.lease(1),), outcome=FAILED)
        world.failing_settles = 300
        began = await world.env.get_current_time()
        await asyncio.wait_for((await world.rescue()).result(), patience(40))
        assert (await world.env.get_current_time() - began).days >= 1
        assert len(world.settled) == 1

    async def test_of_a_job_that_has_ended_it_leaves_the_state(self, world: ReconcileWorld) -> None:
        world.plan = RescuePlan(leases=(world.lease(1),))
        result = await (await world.rescue()).result()
        assert result.state is None
        assert [(settled.outcome, settled.lease_only) for settled in world.settled] == [
            (None, True)
        ]

    async def test_without_a_lease_it_only_closes_the_job(self, world: ReconcileWorld) -> None:
        world.plan = RescuePlan(outcome=FAILED)
        await (await world.rescue()).result()
        assert world.calls == ["plan", "finish failed"]

    async def test_does_nothing_where_the_workflow_runs(self, world: ReconcileWorld) -> None:
        world.plan = RescuePlan(why_not="its workflow is running")
        result = await (await world.rescue()).result()
        assert (result.state, result.message) == (None, "its workflow is running")
        assert world.calls == ["plan"]

    async def test_may_run_again(self, world: ReconcileWorld) -> None:
        for _ in range(2):
            world.plan = RescuePlan(why_not="not yet")
            await (await world.rescue()).result()
        assert world.calls == ["plan", "plan"]


class TestReconcile:
    async def test_one_part_that_fails_keeps_no_other_from_its_work(
        self, world: ReconcileWorld
    ) -> None:
        world.broken, world.wait = True, timedelta(seconds=1)
        result = await (await world.reconcile(world.provider, "nobody")).result()
        broken, nobody, books = result.scopes
        assert broken.error == "a bug"
        assert nobody.error == "no worker serves the queue `provider.nobody`"
        assert (books.error, books.checked) == ("", 5)

    async def test_asks_each_once(self, world: ReconcileWorld) -> None:
        result = await (await world.reconcile(world.provider)).result()
        assert [scope.checked for scope in result.scopes] == [2, 5]
        assert {scope.provider_id for scope in world.scopes} == {world.provider, None}

    async def test_by_schedule_it_waits_for_what_is_not_due_yet(
        self, world: ReconcileWorld
    ) -> None:
        world.grace = timedelta(minutes=2)
        began = await world.env.get_current_time()
        result = await (await world.reconcile(again=True)).result()
        assert len(world.scopes) == 2
        assert not result.scopes[0].findings
        assert result.finished_at is not None
        assert result.finished_at - began > timedelta(minutes=2)

    async def test_on_demand_it_does_not(self, world: ReconcileWorld) -> None:
        world.grace = timedelta(minutes=2)
        result = await (await world.reconcile()).result()
        assert len(world.scopes) == 1
        assert result.scopes[0].findings[0].next == "later"


class TestReplay:
    @pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
    async def test_history_replays(self, path: Path) -> None:
        await replayer(ReconcileWorkflow, RescueWorkflow).replay_workflow(read(path))

    def test_every_path_is_recorded(self) -> None:
        assert {path.stem for path in HISTORIES} >= {scenario.__name__ for scenario in SCENARIOS}
