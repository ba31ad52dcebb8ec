"""A job whose every try waits for its turn, so that anything else may come first.

The steps are the real ones, on a real database; what is durable is what they have written, and the
position of the workflow, as in Temporal.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.exceptions import ApplicationError

from activities.contracts import WarnInput
from activities.jobs.deadlines import DeadlineActivities
from cortex.domain.jobs import Job, Reason
from cortex.domain.leases import Lease
from cortex.domain.states import CANCELLABLE_JOB_STATES, JobState
from cortex.services.jobs.extend import LengthLimits, extend_job
from cortex.temporal.contracts import LeaseChange
from tests.faults.boundaries import Crash, Fault
from tests.faults.harness import Driver
from workflows.decisions import End, LeaseEnd

_WAIT = 30.0


@dataclass
class Stepped(Driver):
    """Goes on only when it is let."""

    at: str = "begin"
    """What waits for its turn."""
    expired: bool = False
    stalled: list[tuple[asyncio.Task[Any], Fault]] = field(default_factory=list)
    _waiting: asyncio.Event = field(default_factory=asyncio.Event)
    _go: asyncio.Event = field(default_factory=asyncio.Event)
    _next: Fault = field(default_factory=Fault)
    _task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Accept the job and start its workflow, up to the first turn."""
        self.watch = Stepped._watching
        await self.accept()
        self._task = asyncio.create_task(self.run())
        await self._settled()

    @property
    def ended(self) -> bool:
        return self._task is not None and self._task.done()

    async def let(self, fault: Fault | None = None) -> None:
        """One try of what waits, with what may happen to it; up to the next turn."""
        self._next = fault or Fault()
        self._waiting.clear()
        self._go.set()
        await self._settled()

    async def resume(self) -> None:
        """Tries that were thought dead go on; nobody hears their answers."""
        going, self.stalled = self.stalled, []
        for _, fault in going:
            fault.resume.set()
        if going:
            _, left = await asyncio.wait([task for task, _ in going], timeout=_WAIT)
            assert not left, "a stalled step never ended"
        for task, _ in going:
            if not task.cancelled():
                task.exception()

    async def step(self, name: str, argument: Any, owner: type) -> Any:
        """Tries of a step, each in its turn, until one succeeds."""
        for attempt in range(1, 1000):
            self.fault = await self._turn(name)
            if name in ("prepare", "acquire") and self.stopped:  # the workflow gives it up
                raise ApplicationError("interrupted", non_retryable=True)
            task = asyncio.create_task(self._try(name, argument, owner, attempt))
            stalls = asyncio.create_task(self.fault.stalled.wait())
            await asyncio.wait({task, stalls}, return_when=asyncio.FIRST_COMPLETED)
            stalls.cancel()
            if not task.done():
                self.stalled.append((task, self.fault))
                continue
            try:
                return task.result()
            except (Crash, asyncio.CancelledError):
                continue
            except ApplicationError as error:
                if error.non_retryable:
                    raise
        raise AssertionError(f"{name} did not succeed")

    async def job(self) -> Job:
        async with self.database.transaction() as tx:
            return await tx.jobs.get(self.job_id)

    async def lease(self) -> Lease | None:
        """The newest lease of the job."""
        async with self.database.transaction() as tx:
            leases = await tx.leases.of_job(self.job_id)
        return leases[-1] if leases else None

    async def cancel(self) -> None:
        """As the API does it; the workflow hears of it at once."""
        async with self.database.transaction() as tx:
            await tx.jobs.lock(self.job_id)
            if (await tx.jobs.get(self.job_id)).state not in CANCELLABLE_JOB_STATES:
                return
            await tx.jobs.move(self.job_id, JobState.CANCELLING, message="cancel requested")
        self.stopped = True

    async def extend(self, by: timedelta) -> Job:
        """As the API does it."""
        async with self.database.transaction() as tx:
            await tx.jobs.lock(self.job_id)
            return await extend_job(tx, self.job_id, by, LengthLimits(timedelta(days=30)))

    async def warn(self, lease: Lease, job: Job) -> None:
        """The step near the deadline."""
        assert job.deadline_at is not None
        warning = WarnInput(job_id=job.id, lease_key=lease.key, deadline_at=job.deadline_at)
        await DeadlineActivities(self.database, self.settings).warn(warning)

    async def _turn(self, what: str) -> Fault:
        self.at = what
        self._waiting.set()
        await self._go.wait()
        self._go.clear()
        return self._next

    async def _settled(self) -> None:
        assert self._task is not None
        waits = asyncio.create_task(self._waiting.wait())
        done, _ = await asyncio.wait(
            {waits, self._task}, return_when=asyncio.FIRST_COMPLETED, timeout=_WAIT
        )
        waits.cancel()
        assert done, f"`{self.at}` neither ends nor waits"
        if self._task.done():
            self.at = "end"
            self._task.result()

    @staticmethod
    async def _watching(driver: Driver, key: str) -> LeaseEnd:
        """What the workflow does between commit and settle, by what is written down."""
        assert isinstance(driver, Stepped)
        driver.expired = False
        while True:
            await driver._turn("watch")
            async with driver.database.transaction() as tx:
                lease = await tx.leases.get(key)
            if lease.run_state is not None and lease.run_state.final:
                change = LeaseChange(
                    key=key, version=1, state=lease.run_state, exit_code=lease.exit_code
                )
                return driver._ended(change)
            if driver.stopped:
                return LeaseEnd(End.STOPPED, Reason.CANCELLED, "cancelled")
            if driver.expired:
                return LeaseEnd(End.DEADLINE, Reason.DEADLINE, "the job ran into its deadline")
