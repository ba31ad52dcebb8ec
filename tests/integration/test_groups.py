"""Groups through the real workflows, activities, database and Temporal server.

What networks do to a group is in `test_group_networks`; here they do as they are told.
"""

import asyncio
from typing import Any

import pytest

from cortex.domain.errors import GroupAlreadyEnded, NotFound
from cortex.domain.events import EventType
from cortex.domain.jobs import Reason
from cortex.domain.states import JobState
from cortex.services.groups.control import GroupControl
from tests.integration.conftest import StageMaker
from tests.integration.groups import NOBODY, Group, job, submit
from tests.support import eventually

NULL: dict[str, Any] = {"type": "null"}
SLOW: dict[str, Any] = {"type": "null", "run_seconds": 0.7}
ENDLESS: dict[str, Any] = {"type": "null", "run_seconds": -1}
BAD: dict[str, Any] = {"type": "null", "exit_code": 3}


def at(provider: str) -> dict[str, Any]:
    return {"placement": {"providers": [provider], "timeout": "10s"}}


async def facts(group: Group, kind: EventType) -> list[dict[str, Any]]:
    async with group.stage.database.reading() as tx:
        events = await tx.events.page(None, limit=5000)
    return [event.data for event in events if event.type is kind and event.subject == group.id]


class TestCommit:
    async def test_all_run_or_none_all_run(self, make_stage: StageMaker) -> None:
        stage = await make_stage(null=NULL)
        async with stage.worker():
            group = await submit(stage, [job("a"), job("b"), job("c")])
            assert await group.ended() == "completed"
        assert await group.decisions() == ["committed"]
        assert await group.message() == "3 of 3 completed"
        assert set((await group.committed()).values()) == {1}
        states = [data["state"] for data in await facts(group, EventType.GROUP_STATE_CHANGED)]
        assert states == ["preparing", "running", "completed"]
        (decided,) = await facts(group, EventType.GROUP_GANG_DECIDED)
        assert (decided["decision"], decided["gang"]) == ("committed", 0)

    async def test_nothing_is_committed_while_one_is_not_reserved(
        self, make_stage: StageMaker
    ) -> None:
        stage = await make_stage(null=NULL)
        late = job("c", placement={"max_price": "0.000001 USD", "timeout": "1s"})
        async with stage.worker():
            group = await submit(stage, [job("a"), job("b"), late])
            assert await group.ended() == "failed"
        assert await group.decisions() == ["aborted"]
        assert set((await group.committed()).values()) == {0}
        jobs = await group.jobs()
        assert (jobs["c"].state, jobs["c"].reason) == (JobState.FAILED, Reason.NO_CAPACITY)
        for name in ("a", "b"):
            assert (jobs[name].state, jobs[name].reason) == (
                JobState.CANCELLED,
                Reason.GROUP_ABORTED,
            )
            assert not jobs[name].cost.amount
        assert "1 failed: c (no_capacity); 2 cancelled" in await group.message()

    async def test_gives_up_when_the_time_is_over(self, make_stage: StageMaker) -> None:
        stage = await make_stage(null=NULL)
        async with stage.worker():
            group = await submit(stage, [job("a"), job("b", **NOBODY)], prepare_timeout="2s")
            assert await group.ended() == "failed"
        assert "not all could be reserved within 2s: `b` is placing" in await group.message()
        assert set((await group.committed()).values()) == {0}


class TestCancel:
    async def test_while_preparing(self, make_stage: StageMaker) -> None:
        stage = await make_stage(null=NULL)
        async with stage.worker():
            group = await submit(stage, [job("a"), job("b", **NOBODY)])
            await group.reserved("a")
            await group.cancel("enough")
            await group.cancel("again")
            assert await group.ended() == "cancelled"
            with pytest.raises(GroupAlreadyEnded, match="has ended as `cancelled`"):
                await group.cancel()
        assert set((await group.committed()).values()) == {0}
        assert {job.message for job in (await group.jobs()).values()} == {"enough"}
        assert len(await facts(group, EventType.GROUP_CANCEL_REQUESTED)) == 1

    async def test_while_running(self, make_stage: StageMaker) -> None:
        stage = await make_stage(null=ENDLESS)
        async with stage.worker():
            group = await submit(stage, [job("a"), job("b"), job("later", after=["a"])])
            await group.until("a", JobState.RUNNING)
            await group.until("b", JobState.RUNNING)
            await group.cancel()
            assert await group.ended() == "cancelled"
        assert set((await group.states()).values()) == {JobState.CANCELLED}
        assert (await group.committed()) == {"a": 1, "b": 1, "later": 0}

    async def test_before_a_worker_ever_saw_it(self, make_stage: StageMaker) -> None:
        stage = await make_stage(null=NULL)
        group = await submit(stage, [job("a"), job("b")])
        await group.cancel()
        async with stage.worker():
            assert await group.ended() == "cancelled"
        assert set((await group.committed()).values()) == {0}

    async def test_in_the_web_ui(self, make_stage: StageMaker) -> None:
        stage = await make_stage(null=ENDLESS)
        async with stage.worker():
            group = await submit(stage, [job("a"), job("b")])
            await group.until("a", JobState.RUNNING)
            await stage.client.get_workflow_handle(group.id).cancel()
            assert await group.ended() == "cancelled"

    async def test_of_a_group_that_is_not_there(self, make_stage: StageMaker) -> None:
        stage = await make_stage(null=NULL)
        with pytest.raises(NotFound, match="there is no group `grp_x`"):
            await GroupControl(stage.database).cancel("grp_x", "enough")


class TestCoordinatorGone:
    async def test_members_presume_an_abort(self, make_stage: StageMaker) -> None:
        """Terminated by hand while one is reserved: nothing is left open, and the group ends."""
        stage = await make_stage(null=NULL)
        async with stage.worker():
            group = await submit(stage, [job("a"), job("b", **NOBODY)], prepare_timeout="3s")
            await group.reserved("a")
            await stage.client.get_workflow_handle(group.id).terminate("by hand")
            assert await group.ended() == "failed"
        assert await group.decisions() == ["aborted"]
        (decided,) = await facts(group, EventType.GROUP_GANG_DECIDED)
        assert "no decision about the group came in time" in decided["reason"]
        assert set((await group.committed()).values()) == {0}

    async def test_running_members_run_on_and_bring_it_back(self, make_stage: StageMaker) -> None:
        stage = await make_stage(null=SLOW)
        async with stage.worker():
            group = await submit(stage, [job("a"), job("b"), job("c", after=["a", "b"])])
            await group.until("a", JobState.RUNNING, JobState.SETTLING, JobState.COMPLETED)
            await stage.client.get_workflow_handle(group.id).terminate("by hand")
            assert await group.ended() == "completed"


class TestOrder:
    async def test_each_gang_after_what_it_needs(self, make_stage: StageMaker) -> None:
        stage = await make_stage(null=NULL)
        jobs = [job("a"), job("b", after=["a"], count=3), job("c", after=["b"])]
        async with stage.worker():
            group = await submit(stage, jobs)
            assert await group.ended() == "completed"
        assert await group.decisions() == ["committed"] * 3
        members = await group.jobs()
        names = ["a", "b[0]", "c"]
        times = [(members[name].started_at, members[name].finished_at) for name in names]
        flat = [at for pair in times for at in pair if at is not None]
        assert len(flat) == 6
        assert flat == sorted(flat)

    async def test_what_needs_a_failed_one_is_never_started(self, make_stage: StageMaker) -> None:
        stage = await make_stage(bad=BAD, null=NULL)
        jobs = [
            job("a", **at("bad")),
            job("b", **at("null")),
            job("c", after=["a"]),
            job("d", after=["c"]),
            job("e", after=["b"], **at("null")),
        ]
        async with stage.worker():
            group = await submit(stage, jobs, policy="best_effort")
            assert await group.ended() == "failed"
        members = await group.jobs()
        assert members["a"].exit_code == 3
        assert {members["b"].state, members["e"].state} == {JobState.COMPLETED}
        for name in ("c", "d"):
            assert (members[name].state, members[name].reason, members[name].attempt) == (
                JobState.CANCELLED,
                Reason.DEPENDENCY_FAILED,
                0,
            )

    async def test_a_member_cancelled_before_it_was_started(self, make_stage: StageMaker) -> None:
        stage = await make_stage(null=ENDLESS)
        async with stage.worker():
            group = await submit(stage, [job("a"), job("b", after=["a"])], policy="best_effort")
            await group.until("a", JobState.RUNNING)
            await self._cancel(group, "b")
            await group.until("b", JobState.CANCELLED, within=10)
            assert (await group.job("a")).state == JobState.RUNNING
            await group.cancel()
            assert await group.ended() == "cancelled"

    async def _cancel(self, group: Group, member: str) -> None:
        """As `JobControl.cancel` does: the state, and a call to the group."""
        async with group.stage.database.transaction() as tx:
            await tx.jobs.lock(group.members[member])
            await tx.jobs.move(group.members[member], JobState.CANCELLING)
            await tx.groups.nudge(group.id)


class TestFailures:
    async def test_fail_fast_ends_the_others(self, make_stage: StageMaker) -> None:
        stage = await make_stage(bad=BAD, null=ENDLESS)
        jobs = [job("a", **at("bad")), job("b", **at("null")), job("c", **at("null"))]
        async with stage.worker():
            group = await submit(stage, jobs)
            assert await group.ended() == "failed"
        members = await group.jobs()
        assert {members["b"].reason, members["c"].reason} == {Reason.GROUP_ABORTED}
        assert "`a` failed (exit 3), which ends all others" in await group.message()

    async def test_best_effort_goes_on(self, make_stage: StageMaker) -> None:
        stage = await make_stage(bad=BAD, null=SLOW)
        jobs = [job("a", **at("bad")), job("b", **at("null"))]
        async with stage.worker():
            group = await submit(stage, jobs, policy="best_effort")
            assert await group.ended() == "failed"
        assert (await group.states())["b"] == JobState.COMPLETED
        assert "1 of 2 completed; 1 failed: a (exit 3)" in await group.message()

    async def test_a_terminated_member_is_found_and_ends_the_group(
        self, make_stage: StageMaker
    ) -> None:
        """Its workflow says nothing any more; what reconcile writes about it is taken up."""
        stage = await make_stage(null=ENDLESS)
        async with stage.worker():
            group = await submit(stage, [job("a"), job("b")])
            await group.until("a", JobState.RUNNING)
            await group.until("b", JobState.RUNNING)
            await stage.client.get_workflow_handle(group.members["b"]).terminate("by hand")
            await stage.client.start_workflow(
                "Rescue",
                {"job_id": group.members["b"]},
                id=f"rescue:{group.members['b']}",
                task_queue="cortex",
            )
            await group.until("b", JobState.FAILED)
            await stage.client.get_workflow_handle(group.id).signal("look")
            assert await group.ended() == "failed"
        assert (await group.job("a")).reason == Reason.GROUP_ABORTED


class TestMany:
    async def test_concurrency_is_kept(self, make_stage: StageMaker) -> None:
        stage = await make_stage(null={"type": "null", "run_seconds": 0.2})
        most = 0

        async def watch(group: Group) -> None:
            nonlocal most
            while True:
                states = (await group.jobs()).values()
                busy = [
                    member for member in states if not member.held and not member.state.terminal
                ]
                most = max(most, len(busy))
                await asyncio.sleep(0.02)

        async with stage.worker():
            group = await submit(stage, [job("a", count=9)], policy="best_effort", concurrency=3)
            watching = asyncio.create_task(watch(group))
            assert await group.ended() == "completed"
            watching.cancel()
        assert 1 <= most <= 3

    @pytest.mark.slow
    async def test_many_at_once_end_with_one_charge_each(self, make_stage: StageMaker) -> None:
        stage = await make_stage(null=NULL)
        async with stage.worker():
            group = await submit(stage, [job("a", count=150)], policy="best_effort", concurrency=50)
            assert await group.ended(within=240) == "completed"
        assert await group.message() == "150 of 150 completed"
        assert set((await group.committed()).values()) == {1}
        handle = stage.client.get_workflow_handle(group.id)

        async def over() -> bool:
            return (await handle.describe()).status.name == "COMPLETED"  # type: ignore[union-attr]

        await eventually(over, what="the end of the group's workflow")
