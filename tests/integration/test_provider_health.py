"""Health on a schedule and circuit breakers, with real workers, Temporal and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import httpx
import pytest
from temporalio.testing import ActivityEnvironment

from activities import maintenance
from cortex.domain.providers.circuit import CircuitRules, CircuitState
from cortex.domain.providers.health import HealthRules
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState
from cortex.temporal.client import prepare_namespace
from cortex.temporal.contracts import (
    HEALTH_WORKFLOW,
    RECONCILE_BOOKS,
    TASK_QUEUE,
    HealthInput,
    health_id,
    monitor_id,
)
from cortex.temporal.schedules import (
    ensure_books,
    ensure_provider,
    provider_schedules,
    remove_others,
    remove_provider,
    scheduled,
)
from providers.errors import Unavailable
from tests.integration.conftest import Stage, StageMaker
from tests.integration.managed import URL, add, becomes, entries, events_of, managed, running, view
from tests.support import eventually
from tests.support.fickle import GOOD_KEY, FickleProvider, Switch, fickle, fickle_installed
from worker import Service

__all__ = ["fickle", "fickle_installed"]
pytestmark = [pytest.mark.integration, pytest.mark.slow]
SPEC = JobSpec.model_validate({"command": ["x"], "placement": {"providers": ["f1"]}})


@pytest.fixture
async def stage(make_stage: StageMaker, fickle: type[FickleProvider]) -> Stage:
    entry = {"type": "fickle", "api_key": GOOD_KEY, "run_seconds": -1}
    made = managed(await make_stage(null={"type": "null"}))
    return managed(made, providers=entries(f1=entry, null={"type": "null"}))


@pytest.fixture
async def api(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with running(stage) as client:
        yield client


@pytest.fixture
def switch(api: httpx.AsyncClient, fickle: type[FickleProvider]) -> Switch:
    return fickle.switches["main"]


async def circuit(api: httpx.AsyncClient, state: CircuitState) -> None:
    async def check() -> bool:
        return (await view(api)).circuit.state is state

    await eventually(check, what=f"the circuit {state.value}")


async def refusal(worker: Service) -> str:
    """Why this worker places nothing at the provider; empty if it does."""
    try:
        await worker.fleet.for_placement("f1")
    except Unavailable as error:
        return str(error)
    return ""


async def starts(stage: Stage) -> str:
    job_id = await stage.submit(SPEC)

    async def runs() -> bool:
        return (await stage.job(job_id)).state is JobState.RUNNING

    await eventually(runs, what="the job's start")
    return job_id


class TestHealth:
    async def test_follows_the_network_down_and_up_again(
        self, stage: Stage, api: httpx.AsyncClient, switch: Switch
    ) -> None:
        began = await view(api)
        assert began.status == "online"  # at the worker's start, not a check later
        assert (began.latency_ms, began.network_version) == (5, "1.2")
        switch.down = "maintenance"
        down = await becomes(api, "offline")
        assert down.message == "maintenance"
        switch.down, switch.latency = "", timedelta(seconds=9)
        await becomes(api, "degraded")
        switch.latency = timedelta(milliseconds=7)
        await becomes(api, "online")
        changes = [
            (data["was"], data["status"])
            for kind, data in await events_of(stage, "f1")
            if kind == "provider.status.changed"
        ]
        assert changes == [
            (None, "online"),
            ("online", "offline"),
            ("offline", "degraded"),
            ("degraded", "online"),
        ]
        history = (await api.get(f"{URL}/f1/status?limit=500")).json()["items"]
        seen = [check["status"] for check in reversed(history)]
        # One bad check does not make it offline, one good one not online.
        assert seen.count("offline") >= 2
        assert history[0]["balance"] == {"amount": "7.5", "currency": "USD"}

    async def test_new_prices_are_told(
        self, stage: Stage, api: httpx.AsyncClient, switch: Switch
    ) -> None:
        switch.cpu_hour = Decimal("0.05")

        async def told() -> bool:
            kinds = [kind for kind, _ in await events_of(stage, "f1")]
            return "provider.pricing.changed" in kinds

        await eventually(told, what="the event of the new price")
        data = next(d for k, d in await events_of(stage, "f1") if k == "provider.pricing.changed")
        assert (data["old"]["cpu_hour"], data["new"]["cpu_hour"]) == ("0.02", "0.05")
        pricing = (await api.get(f"{URL}/f1/pricing")).json()
        assert [change["prices"]["cpu_hour"] for change in pricing["history"]] == ["0.05", "0.02"]

    async def test_schedule_and_monitor_come_and_go_with_the_provider(
        self, stage: Stage, api: httpx.AsyncClient
    ) -> None:
        await add(api, "f2", account="other")
        await becomes(api, "online", "f2")

        wanted = {id_ for name in ("f1", "f2", "null") for id_ in provider_schedules(name)}

        async def made() -> bool:
            return wanted <= await scheduled(stage.client)

        await eventually(made, what="the schedules")
        monitor = stage.client.get_workflow_handle(monitor_id("f2"))
        assert (await monitor.describe()).close_time is None
        assert (await api.delete(f"{URL}/f2")).status_code == 204

        async def gone() -> bool:
            closed = (await monitor.describe()).close_time is not None
            return closed and not await scheduled(stage.client) & set(provider_schedules("f2"))

        await eventually(gone, what="the end of the schedule and the monitor")


class TestSchedules:
    async def test_are_made_and_changed_any_number_of_times(self, make_stage: StageMaker) -> None:
        stage = managed(await make_stage(null={"type": "null"}))
        client = stage.client
        await prepare_namespace(client, timedelta(days=1))
        await asyncio.gather(*(ensure_provider(client, "p", stage.settings) for _ in range(4)))
        handle = client.get_schedule_handle(health_id("p"))
        await handle.pause(note="by an operator")

        async def paused() -> bool:
            return (await handle.describe()).schedule.state.paused

        await eventually(paused, what="the pause")
        slower = managed(stage, health=HealthRules(interval=timedelta(seconds=45)))
        await ensure_provider(client, "p", slower.settings)
        schedule = (await handle.describe()).schedule
        assert [interval.every for interval in schedule.spec.intervals] == [timedelta(seconds=45)]
        assert schedule.state.paused
        await remove_provider(client, "p")
        await remove_provider(client, "p")

    async def test_of_providers_that_are_gone_are_removed(self, make_stage: StageMaker) -> None:
        stage = managed(await make_stage(null={"type": "null"}))
        await prepare_namespace(stage.client, timedelta(days=1))
        await ensure_books(stage.client, stage.settings.reconcile)
        for name in ("p", "q", "books"):
            await ensure_provider(stage.client, name, stage.settings)

        async def listed() -> bool:
            return len(await scheduled(stage.client)) == 6

        await eventually(listed, what="the schedules")
        await remove_others(stage.client, ["p"])

        async def gone() -> bool:
            return await scheduled(stage.client) == set(provider_schedules("p"))

        await eventually(gone, what="the end of the others")
        assert await stage.client.get_schedule_handle(RECONCILE_BOOKS).describe()


class TestBreaker:
    async def test_opens_refuses_probes_and_closes(
        self, stage: Stage, api: httpx.AsyncClient, switch: Switch
    ) -> None:
        running_job = await starts(stage)
        switch.down = "no route"
        await circuit(api, CircuitState.OPEN)
        quote = (await api.post("/api/v1/quotes", json=SPEC.model_dump(mode="json"))).json()
        reasons = {
            objection["provider_id"]: objection["reasons"] for objection in quote["objections"]
        }
        assert "its circuit is " in reasons["f1"][0]
        waiting = await stage.submit(SPEC)

        async def told() -> bool:
            return "its circuit is " in (await stage.job(waiting)).message

        await eventually(told, what="the reason in the job's message")
        # What runs there is still watched and released: that is the network's own business.
        assert (await api.post(f"/api/v1/jobs/{running_job}/cancel")).status_code == 202
        assert (await stage.ended(running_job)).state is JobState.CANCELLED
        switch.down = ""
        await circuit(api, CircuitState.CLOSED)

        async def placed() -> bool:
            return (await stage.job(waiting)).state is JobState.RUNNING

        await eventually(placed, what="the waiting job's start")
        await api.post(f"/api/v1/jobs/{waiting}/cancel")
        await stage.ended(waiting)
        moves = [
            (data["from"], data["to"])
            for kind, data in await events_of(stage, "f1")
            if kind == "provider.circuit.changed"
        ]
        assert moves[0] == ("closed", "open")
        assert moves[-1] == ("half_open", "closed")
        assert all(
            after[0] == before[1] for before, after in zip(moves, moves[1:], strict=False)
        ), moves

    async def test_two_workers_share_it(self, stage: Stage, fickle: type[FickleProvider]) -> None:
        # Checks are far apart: what moves the circuit here are the quotes.
        quiet = managed(
            stage,
            providers=stage.settings.providers,
            health=HealthRules(interval=timedelta(hours=1)),
            circuit=CircuitRules(failures=4, open_for=timedelta(seconds=3)),
        )
        async with quiet.worker() as one, quiet.worker() as two:
            workers = (one, two)
            switch = fickle.switches["main"]
            switch.down = "no route"
            for number in range(4):  # by turns: none of them alone has seen four
                provider = await workers[number % 2].fleet.for_placement("f1")
                with pytest.raises(Unavailable, match="no route"):
                    await provider.pricing()

            async def shut() -> bool:
                return all(["circuit is open" in await refusal(worker) for worker in workers])

            await eventually(shut, within=2.5, what="both workers to refuse")
            switch.down = ""
            admitted: list[Service] = []

            async def due() -> bool:
                admitted.extend([worker for worker in workers if not await refusal(worker)])
                return bool(admitted)

            await eventually(due, what="a probe")
            assert len(admitted) == 1  # of all that asked, one was let through
            await admitted[0].fleet.get("f1").pricing()

            async def closed() -> bool:
                return not any([await refusal(worker) for worker in workers])

            await eventually(closed, what="both workers to place again")


class TestHousekeeping:
    async def test_old_runs_of_checks_are_removed(
        self, stage: Stage, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(maintenance, "_OLD_CHECKS", timedelta(0))
        closed = "WorkflowType = 'ProviderHealth' AND ExecutionStatus = 'Completed'"

        async def count() -> int:
            return (await stage.client.count_workflows(closed)).count

        async def some() -> bool:
            return await count() >= 2

        await eventually(some, what="runs of checks")
        tidy = maintenance.MaintenanceActivities(stage.database, stage.settings, stage.client)
        result = await ActivityEnvironment().run(tidy.maintain)
        assert result["check_runs"] >= 2
        others = stage.client.list_workflows("WorkflowType = 'ProviderMonitor'")
        assert {schedule.id async for schedule in others} == {monitor_id("f1"), monitor_id("null")}


class TestRateLimit:
    async def test_holds_for_the_queue_and_changes_while_it_runs(
        self, stage: Stage, api: httpx.AsyncClient
    ) -> None:
        await add(api, "f2", account="other")
        await becomes(api, "online", "f2")

        async def took() -> float:
            """Seconds until ten steps on the provider's queue are done."""
            loop = asyncio.get_running_loop()
            began = loop.time()
            check = HealthInput(provider_id="f2")
            runs = [
                stage.client.execute_workflow(
                    HEALTH_WORKFLOW, check, id=f"rate-{uuid4()}", task_queue=TASK_QUEUE
                )
                for _ in range(10)
            ]
            results = await asyncio.gather(*runs)
            assert {result["status"] for result in results} == {"online"}
            return loop.time() - began

        unlimited = await took()
        answer = await api.patch(f"{URL}/f2", json={"rate_limit": 2})
        assert answer.json()["rate_limit"] == 2

        async def limited() -> bool:  # once the queue is served anew
            return await took() > unlimited + 2

        await eventually(limited, within=30, what="ten steps at two per second")
