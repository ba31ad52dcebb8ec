"""The steps of a job under a driver that breaks them at a chosen boundary (`boundaries`).

The driver stands in for Temporal: it calls a step again, as a fresh worker would, until it
succeeds, and decides by the workflow's own rules.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.contracts import (
    AcquireResult,
    CommitResult,
    FinishInput,
    LeaseInput,
    PlaceInput,
    PlaceResult,
    SettleInput,
)
from activities.jobs.leasing import LeaseActivities
from activities.jobs.placement import PlacementActivities
from activities.jobs.settlement import SettlementActivities
from activities.monitor.logs import LogCopier
from activities.monitor.recording import record
from activities.reconcile.run import ReconcileActivities
from activities.runtime.errors import translated
from cortex.db.engine import Database
from cortex.db.jobs.repository import NewJob
from cortex.domain.ids import new_id
from cortex.domain.jobs import Outcome, Reason
from cortex.domain.money import Money
from cortex.domain.rights import Principal, Role
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState, LeaseState, RunState
from cortex.domain.trace.resolution import Resolution, ResolveAction
from cortex.security.keyring import KeyRing
from cortex.services.trace.resolve import write_down
from cortex.settings import Settings
from cortex.temporal.contracts import JobInput, LeaseChange, ScopeInput
from providers.registry import AnyProvider
from tests.faults.boundaries import Crash, Fault, FaultyDatabase, FaultyProvider
from tests.faults.one_network import OneFleet
from tests.support import patience
from workflows.decisions import End, LeaseEnd, Retry, Tally, decide

_TRIES = 40


@dataclass
class Driver:
    """Runs one job to its end."""

    database: Database
    provider: AnyProvider
    settings: Settings
    fault: Fault
    retries: int = 0
    on_lost: int = 1
    one_step: bool = True
    """Whether it reserves and commits in one step, as a job without a gang does."""
    watch: Callable[["Driver", str], Awaitable[LeaseEnd]] | None = None
    """What the watched lease comes to; by default the monitor records what the network says."""
    spec: dict[str, Any] = field(default_factory=dict)
    job_id: str = field(default_factory=lambda: new_id("job"))
    stopped: bool = False
    steps: int = 0
    zombies: list[asyncio.Task[Any]] = field(default_factory=list)
    outcome: Outcome | None = None
    lease_key: str | None = None
    decided: dict[str, Money] = field(default_factory=dict)
    """The bills of leases that somebody has decided by hand."""

    async def accept(self) -> None:
        fields = {"command": ["true"], "duration": "1h", "outputs": ["result"], **self.spec}
        spec = JobSpec.model_validate(fields)
        async with self.database.transaction() as tx:
            await tx.providers.declare(self.provider.id, "null")
            job = NewJob(self.job_id, "tester", spec)
            await tx.acceptance.store([job], [spec.model_dump(mode="json")], delay=timedelta(0))

    async def run(self) -> None:
        """The workflow, step by step."""
        job = JobInput(
            job_id=self.job_id, retries_on_failure=self.retries, retries_on_lost=self.on_lost
        )
        tally, attempt = Tally(), 0
        while self.outcome is None:
            attempt += 1
            placed = PlaceResult()
            if not self.stopped:
                placed = await self.step(
                    "place", PlaceInput(job_id=self.job_id, attempt=attempt), PlacementActivities
                )
            if placed.lease_key is None:
                state = JobState.FAILED if placed.reason != Reason.CANCELLED else None
                await self._finish(state or JobState.CANCELLED)
                break
            self.lease_key = placed.lease_key
            verdict = decide(await self._lease(placed), job, tally)
            if isinstance(verdict, Retry) and self.stopped:
                verdict = _cancelled()
            await self._settle(placed, verdict)
        await self._wake_zombies()

    async def step(self, name: str, argument: Any, owner: type) -> Any:
        """One step, called again until it succeeds."""
        for attempt in range(1, _TRIES):
            task = asyncio.create_task(self._try(name, argument, owner, attempt))
            stalled = asyncio.create_task(self.fault.stalled.wait())
            await asyncio.wait({task, stalled}, return_when=asyncio.FIRST_COMPLETED)
            stalled.cancel()
            if not task.done():  # its heartbeats stopped: another worker gets the task
                self.fault.stalled.clear()
                self.zombies.append(task)
                self.steps = 0
                continue
            try:
                result = task.result()
            except (Crash, asyncio.CancelledError):
                continue
            except ApplicationError as error:
                if error.non_retryable:
                    raise
                continue
            self.steps += 1
            if self.zombies and self.steps >= self.fault.resume_after:
                await self._wake_zombies()
            return result
        raise AssertionError(f"{name} did not succeed in {_TRIES} tries")

    async def record(self, key: str) -> None:
        """What the monitor does with news."""
        async with self.database.transaction() as tx:
            await tx.jobs.lock(self.job_id)
            lease = await tx.leases.get(key)
            if lease.ref is not None:
                (snapshot,) = await self.provider.statuses([lease.ref])
                await record(tx, lease, snapshot)

    async def reconcile(self) -> None:
        """One run of reconcile at the network."""
        unused: Any = None  # a client: only the part about the books asks Temporal
        steps = ReconcileActivities(self.database, OneFleet(self.provider), unused, self.settings)
        scope = ScopeInput(provider_id=self.provider.id, mode="act")
        run: Coroutine[Any, Any, Any] = ActivityEnvironment().run(steps.reconcile_provider, scope)
        result = await run
        assert not result.error, result.error

    async def settle_by_hand(self, amount: Money) -> None:
        """As the API does with `force`: cancel and decision in one transaction, or nothing."""
        by = Principal(name="admin", role=Role.ADMIN, source="test")
        async with self.database.transaction() as tx:
            await tx.jobs.lock(self.job_id)
            job = await tx.jobs.get(self.job_id)
            leases = await tx.leases.of_job(self.job_id)
            open_ = [lease for lease in leases if lease.state is not LeaseState.RELEASED]
            if job.state.terminal or not open_ or open_[-1].cost is not None:
                return  # it is refused
            await tx.jobs.move(self.job_id, JobState.CANCELLING, message="resolved by hand")
            decision = Resolution(
                action=ResolveAction.SETTLE,
                amount=amount,
                usd_rate=Decimal(1),
                reason="test",
                actor=by.name,
                at=datetime.now(UTC),
            )
            await write_down(tx, job, open_[-1], decision, by)
        self.decided[open_[-1].key] = amount
        self.stopped = True

    async def _try(self, name: str, argument: Any, owner: type, attempt: int) -> Any:
        method = getattr(self._fresh(owner), name)
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info,
            activity_type=name,
            attempt=attempt,
            heartbeat_timeout=None,
            scheduled_time=datetime.now(UTC),
        )

        async def guarded() -> Any:
            with translated():
                return await method(argument)

        return await environment.run(guarded)

    def _fresh(self, owner: type) -> Any:
        """The step's activities in a worker that knows nothing."""
        database: Any = FaultyDatabase(self.database, self.fault)
        fleet = OneFleet(FaultyProvider(self.provider, self.fault))
        if owner is PlacementActivities:
            return PlacementActivities(database, fleet, self.settings)
        if owner is LeaseActivities:
            return LeaseActivities(database, fleet, KeyRing.from_setting(None))
        copier = LogCopier(database, self.settings.logs)
        return SettlementActivities(database, fleet, self.settings, copier)

    async def _lease(self, placed: PlaceResult) -> LeaseEnd:
        lease = LeaseInput(
            job_id=self.job_id,
            lease_key=placed.lease_key or "",
            provider_id=placed.provider_id or "",
        )
        if self.stopped:
            return _stop_end()
        try:
            live: AcquireResult | CommitResult
            if self.one_step:
                live = await self.step("acquire", lease, LeaseActivities)
                if live.deadline_at is None:
                    return _stop_end()
            else:
                await self.step("prepare", lease, LeaseActivities)
                if self.stopped:
                    return _stop_end()
                live = await self.step("commit", lease, LeaseActivities)
        except ApplicationError as error:
            if self.stopped:
                return _stop_end()
            return LeaseEnd(End.BROKEN, Reason.INTERNAL_ERROR, str(error))
        change = live.change
        if change is not None and change.state.final:
            return self._ended(change)
        if self.stopped:
            return _stop_end()
        if self.watch is not None:
            return await self.watch(self, lease.lease_key)
        return await self.watched(lease.lease_key)

    async def watched(self, key: str) -> LeaseEnd:
        """Record what the network says, and decide by the row as the signal would tell it."""
        await self.record(key)
        async with self.database.transaction() as tx:
            lease = await tx.leases.get(key)
        assert lease.run_state is not None
        change = LeaseChange(
            key=key, version=lease.version, state=lease.run_state, exit_code=lease.exit_code
        )
        assert change.state.final
        return self._ended(change)

    def _ended(self, change: LeaseChange) -> LeaseEnd:
        end = LeaseEnd.of_change(change)
        lost = change.state == RunState.LOST
        return end if lost or end.exit_code == 0 or not self.stopped else _stop_end()

    async def _settle(self, placed: PlaceResult, verdict: Outcome | Retry) -> None:
        final = verdict if isinstance(verdict, Outcome) else None
        settlement = SettleInput(
            job_id=self.job_id,
            lease_key=placed.lease_key or "",
            outcome=final,
            retry=verdict.message if isinstance(verdict, Retry) else "",
            cause=verdict.cause if isinstance(verdict, Retry) else "",
        )
        await self.step("settle", settlement, SettlementActivities)
        self.outcome = final

    async def _finish(self, state: JobState) -> None:
        cancelled = _cancelled()
        self.outcome = cancelled.model_copy(update={"state": state})
        finish = FinishInput(job_id=self.job_id, outcome=self.outcome)
        await self.step("finish", finish, PlacementActivities)

    async def _wake_zombies(self) -> None:
        self.fault.resume.set()
        if self.zombies:
            # Whatever becomes of it: nobody hears its answer any more.
            await asyncio.wait(self.zombies, timeout=20)
            for task in self.zombies:
                assert task.done(), "the stalled step never ended"
                if not task.cancelled():
                    task.exception()
            self.zombies.clear()
        if self.fault.acting is not None:
            await asyncio.wait_for(self.fault.acting, patience(20))


def _stop_end() -> LeaseEnd:
    return LeaseEnd(End.STOPPED, Reason.CANCELLED, "cancelled")


def _cancelled() -> Outcome:
    return Outcome(state=JobState.CANCELLED, reason=Reason.CANCELLED, message="cancelled")
