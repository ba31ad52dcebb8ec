"""Jobs that do not get on: they are shown as they are, and somebody with the right ends them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from cortex.domain.money.ledger import EntryKind
from cortex.domain.states import JobState, LeaseState
from cortex.domain.trace.model import Phase, StepState
from cortex.domain.trace.stuck import StuckRules
from cortex.schemas.trace import ResolutionView, StuckPage
from cortex.services.trace.stuck import tell_stuck
from tests.api.support import JOBS, check_problem, client_of
from tests.integration.conftest import Stage, StageMaker
from tests.integration.networks import Network, network
from tests.integration.story import troubles
from tests.integration.test_traces import trace_of
from tests.support import eventually
from tests.support.rows import open_holds

pytestmark = pytest.mark.slow

DOWN = {"match": "* *", "fault": "drop_before", "times": 1_000_000}
SHORT = StuckRules(cancelling=timedelta(seconds=1), settling=timedelta(seconds=1))


class Scene:
    """One network, a worker, and the API."""

    def __init__(self, net: Network, stage: Stage, http: httpx.AsyncClient) -> None:
        self.net = net
        self.stage = stage
        self.http = http

    async def submit(self) -> str:
        """A job that runs until it is stopped."""
        return await self.stage.submit(
            image="busybox",
            command=["sh", "-c", "echo hello; sleep 600"],
            resources={"cpu": "500m", "memory": "256Mi"},
            duration="10m",
            placement={"providers": [self.net.provider_id]},
        )

    async def running(self) -> str:
        """The same, once it runs."""
        job_id = await self.submit()

        async def check() -> bool:
            return (await self.stage.job(job_id)).state is JobState.RUNNING

        await eventually(check, within=40, what=f"{job_id} running")
        return job_id

    async def stuck(self, job_id: str) -> None:
        """Cancel it with its network down; returns once the settlement has failed."""
        await self.net.faults(DOWN)
        assert (await self.http.post(f"{JOBS}/{job_id}/cancel")).status_code == 202

        async def failed() -> bool:
            (lease,) = await self.leases(job_id)
            return any(step.error for step in lease.settle_steps)

        await eventually(failed, within=60, what="a failed settlement")

    async def leases(self, job_id: str) -> list[Any]:
        async with self.stage.database.transaction() as tx:
            return await tx.leases.of_job(job_id)

    async def resolve(self, job_id: str, **decision: Any) -> httpx.Response:
        return await self.http.post(f"{JOBS}/{job_id}/resolve", json={"reason": "test", **decision})

    async def charges(self, job_id: str) -> list[tuple[str, str]]:
        """What is booked, with its note."""
        async with self.stage.database.transaction() as tx:
            assert not await open_holds(tx)
            entries = await tx.ledger.page(job_id=job_id)
        return [(str(e.amount), e.note) for e in entries if e.kind is EntryKind.CHARGE]

    async def commands(self, job_id: str) -> list[str]:
        async with self.stage.database.transaction() as tx:
            query = text("SELECT kind FROM commands WHERE job_id = :job ORDER BY id")
            return list((await tx.connection.execute(query, {"job": job_id})).scalars())

    async def resolved(self, job_id: str) -> list[dict[str, Any]]:
        async with self.stage.database.transaction() as tx:
            events = await tx.events.page(None, job_id=job_id)
        return [event.data for event in events if event.type == "job.resolved"]


async def hold_row(connection: AsyncConnection, key: str) -> None:
    """Keep everybody else from writing this lease until the transaction ends."""
    query = text("SELECT 1 FROM leases WHERE key = :key FOR NO KEY UPDATE")
    await connection.execute(query, {"key": key})


async def waits_for_a_lock(scene: Scene) -> bool:
    """Whether the API's decision waits for somebody's lock."""
    query = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND application_name = :api"""
    async with scene.stage.database.reading() as tx:
        waiting = await tx.connection.execute(text(query), {"api": "cortex-api"})
        return bool(waiting.scalar_one())


@pytest.fixture
async def scene(tmp_path: Path, make_stage: StageMaker) -> AsyncIterator[Scene]:
    async with network("nosana", tmp_path / "nosana") as net:
        stage = await make_stage(**{net.provider_id: net.entry()})
        stage.settings = stage.settings.model_copy(update={"stuck": SHORT})
        async with stage.worker(), client_of(stage.settings) as http:
            yield Scene(net, stage, http)
        await net.faults()


class TestNetworkDown:
    async def test_a_cancel_waits_and_never_lies(self, scene: Scene) -> None:
        job_id = await scene.running()
        await scene.stuck(job_id)
        job = await scene.stage.job(job_id)
        assert job.state is JobState.CANCELLING
        (lease,) = await scene.leases(job_id)
        assert lease.state is LeaseState.RELEASING

        async def listed() -> bool:
            page = StuckPage.model_validate_json((await scene.http.get("/api/v1/stuck")).content)
            return [stuck.id for stuck in page.items] == [job_id]

        await eventually(listed, what="it is in the list")
        page = StuckPage.model_validate_json((await scene.http.get("/api/v1/stuck")).content)
        (stuck,) = page.items
        assert stuck.may == ("retry", "force_release", "settle")
        assert stuck.lease_key == lease.key
        assert "release the lease at" in stuck.step
        assert stuck.error

        # Cancelled twice: no harm, no second command.
        assert (await scene.http.post(f"{JOBS}/{job_id}/cancel")).status_code == 202
        assert await scene.commands(job_id) == ["start", "cancel"]
        more = await scene.http.post(f"{JOBS}/{job_id}/extend", json={"duration": "1m"})
        assert "is being cancelled" in check_problem(more, 409, "conflict").detail

        assert await tell_stuck(scene.stage.database, SHORT) == 1
        assert await tell_stuck(scene.stage.database, SHORT) == 0
        told = await troubles(scene.stage, job_id)
        assert any(
            "Cortex tries again" in line and "until the network confirms" in line for line in told
        ), told
        assert any("`cortex stuck` says what you may do" in line for line in told), told

        trace = await trace_of(scene.http, job_id)
        pending = [step for step in trace.steps if step.phase is Phase.SETTLE and step.error]
        assert pending
        assert {step.state for step in pending} <= {StepState.WAITING, StepState.RUNNING}
        assert {step.lease_key for step in pending} == {lease.key}
        book = next(step for step in trace.steps if step.phase is Phase.BOOK)
        assert book.state is StepState.WAITING

        await scene.net.faults()
        answer = await scene.resolve(job_id, action="retry")
        done = ResolutionView.model_validate_json(answer.content)
        assert "`settle` is tried again now" in done.done
        job = await scene.stage.ended(job_id, within=60)
        assert job.state is JobState.CANCELLED
        assert len(await scene.charges(job_id)) == 1
        assert not await scene.net.alive()
        late = await scene.http.post(f"{JOBS}/{job_id}/extend", json={"duration": "1m"})
        check_problem(late, 409, "job_already_ended")
        check_problem(await scene.resolve(job_id, action="retry"), 409, "job_already_ended")
        check_problem(await scene.http.post(f"{JOBS}/{job_id}/cancel"), 409, "job_already_ended")


class TestCancelMeanwhile:
    async def test_during_commit(self, scene: Scene) -> None:
        # The network hears the order, and its answers to what follows are lost for a while.
        slow = {"match": "POST *", "fault": "latency", "seconds": 2.0, "times": 4}
        await scene.net.faults(slow)
        job_id = await scene.submit()

        async def deploying() -> bool:
            (lease,) = await scene.leases(job_id) or [None]
            return lease is not None and lease.state is LeaseState.RESERVED

        await eventually(deploying, within=40, what="the commit under way")
        assert (await scene.http.post(f"{JOBS}/{job_id}/cancel")).status_code == 202
        job = await scene.stage.ended(job_id, within=60)
        assert job.state is JobState.CANCELLED
        assert len(await scene.charges(job_id)) <= 1
        assert not await scene.net.alive()


class TestByHand:
    async def test_settle_with_an_amount(self, scene: Scene) -> None:
        job_id = await scene.running()
        await scene.stuck(job_id)
        (lease,) = await scene.leases(job_id)
        most = lease.offer.estimate(timedelta(minutes=10))
        slip = await scene.resolve(job_id, action="settle", amount="1000000 USD")
        detail = check_problem(slip, 422, "invalid_request").detail
        assert "1000000 USD" in detail
        assert f"{most} at most" in detail
        half = str((most * Decimal("0.5")).rounded())
        answer = await scene.resolve(job_id, action="settle", amount=half)
        view = ResolutionView.model_validate_json(answer.content)
        assert "reconcile finds it as an orphan" in view.note
        job = await scene.stage.ended(job_id, within=60)
        assert job.state is JobState.CANCELLED
        assert "settled by hand, by `local`: test" in job.message
        ((amount, note),) = await scene.charges(job_id)
        assert amount == half
        assert "settled by hand, by `local`: test" in note
        (event,) = await scene.resolved(job_id)
        assert event["by"] == "local"
        assert event["amount"] == half
        async with scene.stage.database.transaction() as tx:
            rows = await tx.connection.execute(
                text("SELECT actor, subject, data FROM audit_log WHERE action = 'job.resolve'")
            )
            ((actor, subject, data),) = rows.all()
        assert (actor, subject, data["reason"]) == ("local", job_id, "test")

    async def test_force_release_books_what_is_known(self, scene: Scene) -> None:
        job_id = await scene.running()
        await scene.stuck(job_id)
        (lease,) = await scene.leases(job_id)
        assert (await scene.resolve(job_id, action="force_release")).status_code == 202
        await scene.stage.ended(job_id, within=60)
        ((_, note),) = await scene.charges(job_id)
        assert "reckoned by Cortex" in note or "what the network told last" in note
        (now,) = await scene.leases(job_id)
        assert now.state is LeaseState.RELEASED
        assert lease.key in await scene.net.alive()  # for reconcile to find

    async def test_what_makes_no_sense(self, scene: Scene) -> None:
        job_id = await scene.running()
        for decision, words in (
            ({"action": "force_release"}, "nothing is stuck"),
            ({"action": "retry"}, "waits to be tried again"),
        ):
            problem = check_problem(await scene.resolve(job_id, **decision), 409, "conflict")
            assert words in problem.detail
        for decision, words in (
            ({"action": "settle"}, "is required"),
            ({"action": "settle", "amount": "-1 USD"}, "must not be negative"),
            ({"action": "settle", "amount": "1 XYZ"}, "no rate is known"),
            ({"action": "retry", "amount": "1 USD"}, "belongs to `settle` only"),
            ({"action": "force_release", "reason": "  "}, "`reason`"),
            ({"action": "away"}, "`action`"),
        ):
            problem = check_problem(await scene.resolve(job_id, **decision), 422, "invalid_request")
            assert words in problem.detail
        job = await scene.stage.job(job_id)
        assert job.state is JobState.RUNNING
        assert await scene.resolved(job_id) == []

        forced = await scene.resolve(job_id, action="settle", amount="2 USD", force=True)
        assert forced.status_code == 202
        assert (await scene.stage.ended(job_id, within=60)).state is JobState.CANCELLED
        ((amount, _),) = await scene.charges(job_id)
        assert amount == "2 USD"
        assert not await scene.net.alive()  # it answered: the lease was ended there as well

    async def test_the_cancel_and_the_decision_are_one(self, scene: Scene) -> None:
        """Whoever sees the cancel sees the decision: a settlement cannot come between them."""
        job_id = await scene.running()
        (lease,) = await scene.leases(job_id)
        async with scene.stage.database.transaction() as tx:
            await hold_row(tx.connection, lease.key)
            decision = {"action": "settle", "amount": "2 USD", "force": True}
            forced = asyncio.create_task(scene.resolve(job_id, **decision))
            await eventually(lambda: waits_for_a_lock(scene), what="the decision waits")
            # Its cancel is not to be seen as long as its decision is not.
            assert (await scene.stage.job(job_id)).state is JobState.RUNNING
        assert (await forced).status_code == 202
        assert (await scene.stage.ended(job_id, within=60)).state is JobState.CANCELLED
        ((amount, _),) = await scene.charges(job_id)
        assert amount == "2 USD"

    async def test_a_decision_that_comes_too_late_is_refused(self, scene: Scene) -> None:
        """The bill is booked while the decision waits for the job's lock: it says so."""
        job_id = await scene.running()
        async with scene.stage.database.transaction() as tx:
            await tx.jobs.lock(job_id)
            decision = {"action": "settle", "amount": "2 USD", "force": True}
            late = asyncio.create_task(scene.resolve(job_id, **decision))
            await eventually(lambda: waits_for_a_lock(scene), what="the decision waits")
            booked = text("UPDATE leases SET cost = 0.5 WHERE job_id = :job")
            await tx.connection.execute(booked, {"job": job_id})
        problem = check_problem(await late, 409, "conflict")
        assert "is booked already (0.5" in problem.detail
        assert (await scene.stage.job(job_id)).state is JobState.RUNNING
        assert await scene.resolved(job_id) == []

    async def test_a_job_whose_workflow_is_gone(self, scene: Scene) -> None:
        job_id = await scene.running()
        await scene.stage.client.get_workflow_handle(job_id).terminate(reason="by hand")
        answer = await scene.resolve(job_id, action="retry")
        view = ResolutionView.model_validate_json(answer.content)
        assert "a rescue was started" in view.done
        job = await scene.stage.ended(job_id, within=60)
        assert job.reason == "workflow_gone"
        trace = await trace_of(scene.http, job_id)
        assert "was terminated in Temporal (by hand)" in trace.notes[0]
        assert "a rescue has looked after it" in trace.notes[0]
        settled = [step for step in trace.steps if step.phase is Phase.SETTLE]
        assert {step.state for step in settled} == {StepState.DONE}
        undone = [s.phase for s in trace.steps if s.state is StepState.COMPENSATED]
        assert undone == [Phase.INTEND, Phase.RESERVE, Phase.COMMIT]
        assert len(await scene.charges(job_id)) == 1
        assert not await scene.net.alive()
