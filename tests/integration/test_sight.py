"""Losing sight of a job is a flag beside its state, and never a reason to replace its lease."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from cli import render
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.money.ledger import EntryKind
from cortex.domain.states import JobState, LeaseState, RunState
from cortex.embedded.simulators import SIMULATORS
from cortex.schemas.jobs import JobView
from cortex.settings import MonitorSettings
from providers.errors import Unavailable
from providers.null import NullProvider
from tests.integration.conftest import Stage, StageMaker
from tests.integration.networks import Network, network
from tests.integration.reconciling import running, tuned
from tests.integration.story import troubles
from tests.support import eventually, patience
from tests.support.rows import open_holds

pytestmark = [pytest.mark.integration, pytest.mark.slow]
MONITOR = MonitorSettings(heartbeat_timeout=timedelta(seconds=3), tell_after=timedelta(seconds=1))
Answer = Callable[[list[LeaseSnapshot]], list[LeaseSnapshot]]


@pytest.fixture
async def stage(make_stage: StageMaker) -> Stage:
    made = tuned(await make_stage(null={"type": "null", "run_seconds": -1}))
    made.settings = made.settings.model_copy(update={"monitor": MONITOR})
    return made


async def view(stage: Stage, job_id: str) -> JobView:
    async with stage.database.transaction() as tx:
        return JobView.model_validate_json(await tx.reads.job(job_id))


async def kinds(stage: Stage, job_id: str) -> list[str]:
    """The types of a job's events that are about seeing it."""
    async with stage.database.transaction() as tx:
        events = await tx.events.page(None, job_id=job_id)
    return [e.type.value for e in events if e.type.value in ("job.unknown", "job.known")]


async def becomes(stage: Stage, job_id: str, *, unknown: bool) -> JobView:
    async def check() -> bool:
        return ((await view(stage, job_id)).unknown_since is not None) is unknown

    await eventually(check, what=f"{job_id} {'unknown' if unknown else 'known'}")
    return await view(stage, job_id)


async def cancel(stage: Stage, job_id: str) -> None:
    await stage.client.get_workflow_handle(job_id).cancel()
    assert (await stage.ended(job_id)).state is JobState.CANCELLED


class Spoiled:
    """The null network, with what it answers to `statuses` changed by a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: Answer | None = None
        self.asked: list[int] = []
        real = NullProvider.statuses

        async def statuses(provider: NullProvider, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
            self.asked.append(len(refs))
            snapshots = await real(provider, refs)
            return self.answer(snapshots) if self.answer else snapshots

        monkeypatch.setattr(NullProvider, "statuses", statuses)
        monkeypatch.setattr(
            NullProvider, "wait_for_change", lambda _self, _timeout: asyncio.sleep(0.2)
        )


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Spoiled:
    return Spoiled(monkeypatch)


class TestUnknown:
    async def test_a_lease_that_is_left_out(self, stage: Stage, net: Spoiled) -> None:
        async with stage.worker():
            hidden, seen = await running(stage), await running(stage)
            net.answer = lambda snapshots: [
                snapshot for snapshot in snapshots if snapshot.key != f"{hidden}-1"
            ]
            job = await becomes(stage, hidden, unknown=True)
            assert job.state is JobState.RUNNING
            assert job.leases[0].state is LeaseState.ACTIVE
            assert "`null` says nothing of the job's lease" in job.leases[0].unknown_reason
            assert job.unknown_since is not None
            assert datetime.now(UTC) - job.unknown_since >= timedelta(seconds=1)
            assert render.job_state(job).startswith("running (unknown for ")
            assert (await view(stage, seen)).unknown_since is None
            net.answer = None
            assert (await becomes(stage, hidden, unknown=False)).state is JobState.RUNNING
            assert await kinds(stage, hidden) == ["job.unknown", "job.known"]
            assert not await kinds(stage, seen)
            assert (await view(stage, hidden)).attempt == 1
            await cancel(stage, hidden)
            await cancel(stage, seen)

    async def test_a_network_that_is_silent(self, stage: Stage, net: Spoiled) -> None:
        def down(_found: list[LeaseSnapshot]) -> list[LeaseSnapshot]:
            raise Unavailable("maintenance")

        async with stage.worker():
            job_id = await running(stage)
            net.answer = down
            job = await becomes(stage, job_id, unknown=True)
            assert job.state is JobState.RUNNING
            assert job.leases[0].unknown_reason == "`null` does not answer: maintenance"
        # Another worker takes over in the middle of it: nothing is told twice or forgotten.
        async with stage.worker():
            await asyncio.sleep(1.5)
            assert (await view(stage, job_id)).unknown_since == job.unknown_since
            net.answer = None
            await becomes(stage, job_id, unknown=False)
            told = "\n".join(await troubles(stage, job_id))
            assert told.count("`null` does not answer: maintenance; as far as Cortex knows") == 1
            assert "`null` answers again; Cortex watches the job as before" in told
            assert await kinds(stage, job_id) == ["job.unknown", "job.known"]
            await cancel(stage, job_id)

    async def test_what_is_short_is_not_told(self, stage: Stage, net: Spoiled) -> None:
        # So long that three passes are short on this machine, too.
        monitor = MONITOR.model_copy(update={"tell_after": timedelta(seconds=patience(1))})
        stage.settings = stage.settings.model_copy(update={"monitor": monitor})

        async def passes(count: int) -> None:
            asked = len(net.asked)

            async def asked_again() -> bool:
                return len(net.asked) > asked + count

            await eventually(asked_again, what=f"{count} passes")

        async with stage.worker():
            job_id = await running(stage)
            net.answer = lambda _snapshots: []
            await passes(2)
            net.answer = None
            await passes(2)
            assert not await kinds(stage, job_id)
            await cancel(stage, job_id)


class TestLost:
    async def test_is_confirmed_by_a_question_of_its_own(self, stage: Stage, net: Spoiled) -> None:
        """A list of many says that all are lost; asked one by one, they run."""

        def gone(snapshots: list[LeaseSnapshot]) -> list[LeaseSnapshot]:
            lost = {"state": RunState.LOST, "message": "no such lease"}
            return (
                [snapshot.model_copy(update=lost) for snapshot in snapshots]
                if len(snapshots) > 1
                else snapshots
            )

        async with stage.worker():
            jobs = [await running(stage) for _ in range(2)]
            net.answer = gone
            asked = len(net.asked)

            async def some() -> bool:
                return sum(count > 1 for count in net.asked[asked:]) > 3

            await eventually(some, what="some passes")
            for job_id in jobs:
                job = await view(stage, job_id)
                assert (job.state, job.attempt) == (JobState.RUNNING, 1)
                assert job.leases[0].run_state is RunState.RUNNING
            net.answer = None
            for job_id in jobs:
                await cancel(stage, job_id)

    async def test_that_cannot_be_confirmed_is_unknown(self, stage: Stage, net: Spoiled) -> None:
        def odd(snapshots: list[LeaseSnapshot]) -> list[LeaseSnapshot]:
            lost = {"state": RunState.LOST, "message": "no such lease"}
            return (
                [snapshot.model_copy(update=lost) for snapshot in snapshots]
                if len(snapshots) > 1
                else []
            )

        async with stage.worker():
            jobs = [await running(stage) for _ in range(2)]
            net.answer = odd
            for job_id in jobs:
                assert (await becomes(stage, job_id, unknown=True)).attempt == 1
            net.answer = None
            for job_id in jobs:
                await cancel(stage, job_id)


class TestTerminalStates:
    @pytest.mark.parametrize("late", [RunState.LOST, RunState.RUNNING])
    async def test_never_change(self, stage: Stage, net: Spoiled, late: RunState) -> None:
        """What a network tells of a lease after its end is nobody's news."""
        async with stage.worker():
            job_id = await running(stage)
            await cancel(stage, job_id)
            before = await view(stage, job_id)
            other = await running(stage)
            key = before.leases[0].key
            net.answer = lambda snapshots: [*snapshots, LeaseSnapshot(key=key, state=late)]
            asked = len(net.asked)

            async def some() -> bool:
                return len(net.asked) > asked + 2

            await eventually(some, what="some passes")
            assert await view(stage, job_id) == before
            await cancel(stage, other)


MANY = {"nosana": 4}
"""From so many leases on its adapter reads a list."""


class TestSpoiledAnswers:
    """Networks that answer with old, empty or broken lists, over their own protocols."""

    @pytest.fixture
    async def nets(self, tmp_path: Path) -> AsyncIterator[list[Network]]:
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(network(name, tmp_path / name))
                for name in SIMULATORS
            ]

    async def test_no_launch_is_paid_twice(
        self, make_stage: StageMaker, nets: list[Network]
    ) -> None:
        stage = tuned(await make_stage(**{net.provider_id: net.entry() for net in nets}))
        stage.settings = stage.settings.model_copy(update={"monitor": MONITOR})
        async with stage.worker():
            await asyncio.gather(*(self.story(stage, net) for net in nets))
        async with stage.database.transaction() as tx:
            assert not await open_holds(tx)
        for net in nets:
            assert not await net.alive(), net.name

    async def story(self, stage: Stage, net: Network) -> None:
        spec = {
            "image": "busybox",
            "command": ["sleep", "600"],
            "resources": {"cpu": "250m", "memory": "128Mi"},
            "duration": "10m",
            "placement": {"providers": [net.provider_id], "timeout": "60s"},
        }
        many = MANY.get(net.name, 1)
        jobs = await asyncio.gather(*(running(stage, 80, **spec) for _ in range(many)))
        most: dict[str, int] = {}
        for fault in ("stale", "empty", "error_before"):
            await net.faults({"match": "GET *", "fault": fault, "times": 1_000_000})
            await self.watch(net, most)
            await net.faults()
            await self.watch(net, most)
        assert set(most.values()) == {1}, net.name
        for job_id in jobs:
            await stage.client.get_workflow_handle(job_id).cancel()
            ended = await stage.ended(job_id, within=60)
            assert ended.state is JobState.CANCELLED, (net.name, ended.message)
        await self.check_bills(stage, net, jobs)

    async def watch(self, net: Network, most: dict[str, int]) -> None:
        """Count for a while what each job has alive at once."""
        for _ in range(15):
            alive = [key.rpartition("-")[0] for key in await net.alive()]
            for job_id in set(alive):
                most[job_id] = max(most.get(job_id, 0), alive.count(job_id))
            await asyncio.sleep(0.1)

    async def check_bills(self, stage: Stage, net: Network, jobs: Sequence[str]) -> None:
        """Every lease that the network bills was booked, once, at the same amount."""
        async with stage.database.transaction() as tx:
            entries = [entry for job_id in jobs for entry in await tx.ledger.page(job_id=job_id)]
        booked = {e.lease_key: e.amount.amount for e in entries if e.kind is EntryKind.CHARGE}
        billed = {bill["key"]: Decimal(bill["amount"]) for bill in await net.bills()}
        assert set(booked) == {key for key, amount in billed.items() if amount or key in booked}
        for key, amount in booked.items():
            assert abs(amount - billed[key]) < Decimal("0.000001"), (net.name, key)
