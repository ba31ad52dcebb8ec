"""The steps of a job under a driver that breaks them at a chosen boundary.

A boundary lies before and after every statement, commit and provider call. What happens there is
a `Fault`: the worker dies, the answer is lost, the worker stalls while another takes over, or
somebody else (API, monitor) acts just then. The driver stands in for Temporal: it calls a step
again, as a fresh worker would, until it succeeds, and decides by the workflow's own rules.
"""

import asyncio
import dataclasses
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.contracts import (
    CommitResult,
    FinishInput,
    LeaseInput,
    PlaceInput,
    Placement,
    SettleInput,
)
from activities.errors import translated
from activities.fleet import Fleet
from activities.leasing import LeaseActivities
from activities.logs import LogCopier
from activities.placement import PlacementActivities
from activities.recording import record
from activities.settlement import SettlementActivities
from cortex.db.engine import Database, Transaction
from cortex.db.jobs import NewJob
from cortex.domain.errors import DatabaseUnavailable
from cortex.domain.ids import new_id
from cortex.domain.jobs import Outcome, Reason
from cortex.domain.leases import LeaseRef
from cortex.domain.offers import Capabilities
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState, RunState
from cortex.security.keyring import KeyRing
from cortex.settings import Settings
from cortex.temporal.contracts import JobInput, LeaseChange
from providers.base import Committed, Reservation
from providers.errors import OutcomeUnknown
from providers.null import NullProvider
from providers.registry import AnyProvider
from workflows.decisions import End, LeaseEnd, Retry, Tally, decide

Kind = Literal["crash", "cancelled", "database", "unknown", "stall", "act"]
Part = Literal["database", "network"]
_TRIES = 40
_GIVE_WAY = 0.05
"""How long a step waits for somebody who acts at its boundary and may need its lock."""


class Crash(BaseException):
    """The worker is gone: no `except Exception` may see it."""


@dataclass
class Fault:
    """What happens at the boundary number `at`, once."""

    kind: Kind = "crash"
    at: int = -1
    act: Callable[[], Awaitable[None]] | None = None
    resume_after: int = 1
    """Of a stalled step: it goes on when so many other steps have ended."""
    count: int = 0
    fired: str = ""
    points: list[str] = field(default_factory=list)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    resume: asyncio.Event = field(default_factory=asyncio.Event)
    acting: "asyncio.Task[None] | None" = None

    async def boundary(self, where: str, part: Part, *, locked: bool = False) -> None:
        """Pass a boundary of the database or the network; `locked`: inside of a transaction."""
        number, self.count = self.count, self.count + 1
        self.points.append(where)
        if number != self.at or self.fired:
            return
        if self.kind == "unknown" and where not in ("after prepare()", "after commit()"):
            return
        # PostgreSQL ends a transaction that stalls, and other workers go on.
        if (self.kind == "stall" and locked) or (self.kind == "database" and part != "database"):
            return
        self.fired = where
        await self._happen(where)

    async def _happen(self, where: str) -> None:
        if self.kind == "crash":
            raise Crash(where)
        if self.kind == "cancelled":
            raise asyncio.CancelledError(where)
        if self.kind == "database":
            raise DatabaseUnavailable(f"lost {where}")
        if self.kind == "unknown":
            raise OutcomeUnknown(f"lost {where}")
        if self.kind == "stall":
            self.stalled.set()
            await self.resume.wait()
        if self.kind == "act" and self.act is not None:
            self.acting = asyncio.create_task(self._acting(self.act))
            await asyncio.wait({self.acting}, timeout=_GIVE_WAY)

    async def _acting(self, act: Callable[[], Awaitable[None]]) -> None:
        await act()


class _Connection:
    """A connection with a boundary on both sides of every statement."""

    def __init__(self, real: Any, fault: Fault, *, locked: bool) -> None:
        self._real = real
        self._fault = fault
        self._locked = locked

    async def execute(self, statement: Any, *values: Any) -> Any:
        name = " ".join(str(statement).split())[:60]
        await self._fault.boundary(f"before {name}", "database", locked=self._locked)
        result = await self._real.execute(statement, *values)
        await self._fault.boundary(f"after {name}", "database", locked=self._locked)
        return result


class FaultyDatabase:
    """The real database, with boundaries."""

    def __init__(self, real: Database, fault: Fault) -> None:
        self._real = real
        self._fault = fault

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self._real.transaction() as tx:
            yield Transaction(_Connection(tx.connection, self._fault, locked=True))  # type: ignore[arg-type]
            await self._fault.boundary("before commit", "database", locked=True)
        await self._fault.boundary("after commit", "database")

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        async with self._real.reading() as tx:
            yield Transaction(_Connection(tx.connection, self._fault, locked=False))  # type: ignore[arg-type]


class FaultyProvider:
    """A provider with a boundary on both sides of every call."""

    def __init__(self, real: AnyProvider, fault: Fault) -> None:
        self._real = real
        self._fault = fault
        self.id = real.id

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._fault.boundary(f"before {name}()", "network")
            result = await found(*args, **kwargs)
            await self._fault.boundary(f"after {name}()", "network")
            return result

        return call


class OneFleet(Fleet):
    """A fleet of this one provider, open."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    @property
    def ids(self) -> tuple[str, ...]:
        return (self._provider.id,)

    def get(self, provider_id: str) -> AnyProvider:
        assert provider_id == self._provider.id
        found: AnyProvider = self._provider
        return found

    async def for_placement(self, provider_id: str) -> AnyProvider:
        return self.get(provider_id)


class Network(NullProvider):
    """A network that outlives the workers and counts the starts of commands.

    It has result files until the lease is cancelled, as most networks do.
    """

    starts: dict[str, int]
    gone: set[str]

    async def commit(self, reservation: Reservation) -> Committed:
        before = await self.find(reservation.ref.key)
        done = await super().commit(reservation)
        self.starts = getattr(self, "starts", {})
        if before is None or not before.committed:
            key = reservation.ref.key
            self.starts[key] = self.starts.get(key, 0) + 1
        return done

    async def outputs(self, ref: LeaseRef, paths: Any, destination: Path) -> list[Path]:
        found = await self.find(ref.key)
        if found is None or not found.committed or ref.key in getattr(self, "gone", ()):
            return []
        (destination / "result").write_text(ref.key)
        return [Path("result")]

    def capabilities(self) -> Capabilities:
        return super().capabilities().model_copy(update={"keeps_results": False})

    async def cancel(self, ref: LeaseRef) -> None:
        await super().cancel(ref)
        self.gone = {*getattr(self, "gone", ()), ref.key}

    async def end(self, ref: LeaseRef) -> None:
        """End the command (143); what it wrote is still there."""
        await super().cancel(ref)

    async def lose(self, key: str) -> None:
        """Forget a lease that runs, as a network does that fails."""
        self._leases.pop(key, None)
        self._forgotten[key] = None


@dataclass
class Driver:
    """Runs one job to its end."""

    database: Database
    provider: AnyProvider
    settings: Settings
    fault: Fault
    retries: int = 0
    on_lost: int = 1
    watch: Callable[["Driver", str], Awaitable[LeaseEnd]] | None = None
    """What the watched lease comes to; by default the monitor records what the network says."""
    spec: dict[str, Any] = field(default_factory=dict)
    job_id: str = field(default_factory=lambda: new_id("job"))
    stopped: bool = False
    steps: int = 0
    zombies: list[asyncio.Task[Any]] = field(default_factory=list)
    outcome: Outcome | None = None
    lease_key: str | None = None

    async def accept(self) -> None:
        fields = {"command": ["true"], "duration": "1h", "outputs": ["result"], **self.spec}
        spec = JobSpec.model_validate(fields)
        async with self.database.transaction() as tx:
            job = NewJob(self.job_id, "tester", spec)
            await tx.acceptance.store([job], [spec.model_dump(mode="json")], delay=timedelta(0))

    async def run(self) -> None:
        """The workflow, step by step."""
        order = JobInput(
            job_id=self.job_id, retries_on_failure=self.retries, retries_on_lost=self.on_lost
        )
        tally, attempt = Tally(), 0
        while self.outcome is None:
            attempt += 1
            placed = Placement()
            if not self.stopped:
                placed = await self.step(
                    "place", PlaceInput(job_id=self.job_id, attempt=attempt), PlacementActivities
                )
            if placed.lease_key is None:
                state = JobState.FAILED if placed.reason != Reason.CANCELLED else None
                await self._finish(state or JobState.CANCELLED)
                break
            self.lease_key = placed.lease_key
            verdict = decide(await self._lease(placed), order, tally)
            if isinstance(verdict, Retry) and self.stopped:
                verdict = _cancelled()
            await self._settle(placed, verdict)
        await self._wake_zombies()

    async def step(self, name: str, order: Any, owner: type) -> Any:
        """One step, called again until it succeeds."""
        for attempt in range(1, _TRIES):
            task = asyncio.create_task(self._try(name, order, owner, attempt))
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

    async def _try(self, name: str, order: Any, owner: type, attempt: int) -> Any:
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
                return await method(order)

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

    async def _lease(self, placed: Placement) -> LeaseEnd:
        order = LeaseInput(
            job_id=self.job_id,
            lease_key=placed.lease_key or "",
            provider_id=placed.provider_id or "",
        )
        if self.stopped:
            return _stop_end()
        try:
            await self.step("prepare", order, LeaseActivities)
            if self.stopped:
                return _stop_end()
            committed: CommitResult = await self.step("commit", order, LeaseActivities)
        except ApplicationError as error:
            if self.stopped:
                return _stop_end()
            return LeaseEnd(End.BROKEN, Reason.INTERNAL_ERROR, str(error))
        change = committed.change
        if change is not None and change.state.final:
            return self._ended(change)
        if self.stopped:
            return _stop_end()
        if self.watch is not None:
            return await self.watch(self, order.lease_key)
        return await self.watched(order.lease_key)

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

    async def _settle(self, placed: Placement, verdict: Outcome | Retry) -> None:
        final = verdict if isinstance(verdict, Outcome) else None
        order = SettleInput(
            job_id=self.job_id,
            lease_key=placed.lease_key or "",
            outcome=final,
            retry=verdict.message if isinstance(verdict, Retry) else "",
        )
        await self.step("settle", order, SettlementActivities)
        self.outcome = final

    async def _finish(self, state: JobState) -> None:
        cancelled = _cancelled()
        self.outcome = cancelled.model_copy(update={"state": state})
        order = FinishInput(job_id=self.job_id, outcome=self.outcome)
        await self.step("finish", order, PlacementActivities)

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
            await asyncio.wait_for(self.fault.acting, 20)


def _stop_end() -> LeaseEnd:
    return LeaseEnd(End.STOPPED, Reason.CANCELLED, "cancelled")


def _cancelled() -> Outcome:
    return Outcome(state=JobState.CANCELLED, reason=Reason.CANCELLED, message="cancelled")
