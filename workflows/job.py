"""The life of one job (docs/architecture/jobs.md): place, prepare, commit, watch, settle.

Three rules keep the promise here. The compensation of a lease is known before the first call
that may create one. Steps with outside effects are never abandoned half-way: a stop waits for
their outcome. And the end of the workflow lies behind `settle`, which is never given up.
"""

import asyncio
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError
from temporalio.workflow import ActivityHandle

with workflow.unsafe.imports_passed_through():
    from activities.contracts import (
        AcquireResult,
        CommitResult,
        PlaceInput,
        PlaceResult,
        SettleInput,
    )
    from cortex.domain.jobs import Outcome, Reason
    from cortex.domain.states import JobState
    from cortex.temporal import contracts
    from cortex.temporal.contracts import (
        CancelSignal,
        ExtendSignal,
        JobInput,
        JobProgress,
        LeaseChange,
    )
    from workflows import steps
    from workflows.decisions import End, LeaseEnd, Retry, Tally, decide
    from workflows.gang import GangMember
    from workflows.search import Search, end_of_error, unplaced

T = TypeVar("T")
# Too short to be searched for: each update of an attribute is a write at the server.
_PASSING = (JobState.PLACING, JobState.SETTLING)
_SIGNAL_COMES = timedelta(minutes=10)


@workflow.defn(name=contracts.JOB_WORKFLOW)
class JobWorkflow(GangMember):
    @workflow.init
    def __init__(self, job: JobInput) -> None:
        super().__init__(job)
        self._state = JobState.PENDING
        self._attempt = job.attempt
        self._tally = Tally(failures=job.failures, losses=job.losses)
        self._placement: PlaceResult | None = None
        self._change: LeaseChange | None = None
        self._deadline: datetime | None = None
        self._extended: datetime | None = None
        self._warned: datetime | None = None
        self._moved = False
        self._undoing: str | None = None
        self._shown_provider: str | None = None
        self._outcome: Outcome | None = None

    @workflow.run
    async def run(self, job: JobInput) -> Outcome:
        """Runs until the job is terminal in the database; returns how it ended."""
        self._outcome = await self._work()
        self._enter(self._outcome.state)
        await self._call_group(surely=True)
        return self._outcome

    @workflow.signal(name=contracts.SIGNAL_LEASE_CHANGED)
    def lease_changed(self, change: LeaseChange) -> None:
        """The monitor recorded a change. Repeated, late and stale ones do no harm."""
        current = self._placement.lease_key if self._placement else None
        if change.key != current or (self._change and self._change.version >= change.version):
            return
        self._change = change
        if not change.state.final:
            self._enter(JobState.RUNNING)

    @workflow.signal(name=contracts.SIGNAL_CANCEL)
    def cancel(self, request: CancelSignal) -> None:
        """The user stops the job; a second time changes nothing."""
        self._stop_for(request)

    @workflow.signal(name=contracts.SIGNAL_EXTEND)
    def extend(self, request: ExtendSignal) -> None:
        """The deadline moved; it never moves back."""
        if request.deadline_at is not None:
            # May come before the lease is live: kept until then.
            self._extended = max(self._extended or request.deadline_at, request.deadline_at)
            self._set_deadline(self._deadline)

    @workflow.signal(name=contracts.SIGNAL_LOOK)
    def look(self) -> None:
        """The group has decided something about this job."""
        self._called = True

    @workflow.query
    def state(self) -> str:
        """The job's state."""
        return self._state.value

    @workflow.query
    def progress(self) -> JobProgress:
        """Where the job is."""
        placement = self._placement
        return JobProgress(
            state=self._state,
            attempt=self._attempt,
            provider_id=placement.provider_id if placement else None,
            lease_key=placement.lease_key if placement else None,
            deadline_at=self._deadline,
            undoing=self._undoing,
            outcome=self._outcome,
        )

    async def _work(self) -> Outcome:
        search = Search(self._job, workflow.now())
        while True:
            placed = await self._place(search)
            if isinstance(placed, Outcome):
                await self._finish(placed)
                return placed
            verdict = await self._end(placed, await self._lease(placed))
            if isinstance(verdict, Outcome):
                return verdict
            search.after(verdict, placed, workflow.now())
            await self._pause(verdict.wait)

    async def _end(self, placement: PlaceResult, end: LeaseEnd) -> Outcome | Retry:
        """Judge the end of a lease and settle it; a job that was extended meanwhile goes on."""
        while True:
            verdict = decide(end, self._job, self._tally)
            if isinstance(verdict, Retry) and self._stopped():
                verdict = self._cancelled()
            if await self._settle(placement, verdict, end):
                return verdict
            self._enter(JobState.RUNNING)
            end = await self._watch_to_the_end(placement)

    async def _place(self, search: Search) -> PlaceResult | Outcome:
        """The next offer, waiting for capacity as long as the spec allows."""
        while not self._stopped():
            self._enter(JobState.PLACING)
            self._attempt += 1
            self._placement, self._change, self._deadline = None, None, None
            try:
                placement = await self._ask(search.placing(self._attempt, workflow.now()))
            except FailureError as error:
                return unplaced(error)
            if placement.lease_key is not None:
                self._placement = placement
                return placement
            if placement.reason == Reason.CANCELLED:
                break
            self._attempt -= 1
            ended = search.missed(placement, workflow.now())
            if ended is not None:
                return ended
            await self._pause(search.wait(workflow.now()))
            self._renew(search)
        return self._cancelled()

    async def _ask(self, placing: PlaceInput) -> PlaceResult:
        try:
            return await self._through(lambda: steps.place_at_once(placing))
        except FailureError as error:  # a local activity's failure is no ActivityError
            workflow.logger.info("the offers take longer: %s", error)
        return await self._through(lambda: steps.place(self._job, placing))

    def _renew(self, search: Search) -> None:
        # Looking for capacity for days must not fill the history; nothing is leased here.
        if not workflow.info().is_continue_as_new_suggested() or self._stopped():
            return
        workflow.continue_as_new(
            self._job.model_copy(
                update={
                    "attempt": self._attempt,
                    "failures": self._tally.failures,
                    "losses": self._tally.losses,
                    "gang": not self._agreed,
                    "placement_timeout": max(search.until - workflow.now(), timedelta(seconds=1)),
                }
            )
        )

    async def _lease(self, placement: PlaceResult) -> LeaseEnd:
        """Prepare, commit and watch one lease; says how it ended. Releases nothing."""
        committing = False
        live: AcquireResult | CommitResult
        try:
            if placement.one_step and not self._job.gang:
                self._enter(JobState.DEPLOYING, shown=False)
                live = await self._interruptible(steps.acquire(self._job, placement))
                if live.deadline_at is None:
                    await self._until(self._stopped, _SIGNAL_COMES)
                    return self._stop_end()
            else:
                self._enter(JobState.DEPLOYING)
                await self._prepare(placement)
                if self._stopped() or not await self._may_commit(placement):
                    return self._stop_end()
                committing = True
                live = await self._through(lambda: steps.commit(self._job, placement))
            return await self._live(placement, live)
        except (ActivityError, asyncio.CancelledError) as error:
            if self._stopped() or not isinstance(error, ActivityError):
                return self._stop_end()
            end = end_of_error(error, placement)
            return self._of_commit(end) if committing else end

    async def _watch_to_the_end(self, placement: PlaceResult) -> LeaseEnd:
        try:
            return await self._watch(placement)
        except asyncio.CancelledError:
            return self._stop_end()

    async def _live(self, placement: PlaceResult, live: AcquireResult | CommitResult) -> LeaseEnd:
        self._was_live = True
        self._set_deadline(live.deadline_at)
        if live.change is not None:
            self.lease_changed(live.change)
        return await self._watch(placement)

    async def _prepare(self, placement: PlaceResult) -> None:
        await self._interruptible(steps.prepare(self._job, placement))

    async def _interruptible(self, handle: ActivityHandle[T]) -> T:
        """May take long (pulling an image), so a stop interrupts it; settle finds what is left."""
        await self._until(lambda: handle.done() or self._stopped())
        if not handle.done():
            handle.cancel()
        return await handle

    async def _watch(self, placement: PlaceResult) -> LeaseEnd:
        """Wait for the end of the lease. Costs nothing while nothing happens."""
        while True:
            if self._change is not None and self._change.state.final:
                end = LeaseEnd.of_change(self._change, placement.provider_id or "")
                # A command that succeeded before it could be stopped has succeeded.
                return end if end.exit_code == 0 or not self._stopped() else self._stop_end()
            if self._stopped():
                return self._stop_end()
            deadline = self._deadline or workflow.now()
            left = deadline - workflow.now()
            if left <= timedelta(0):
                return LeaseEnd(End.DEADLINE, Reason.DEADLINE, "the job ran into its deadline")
            if self._warning_is_due():
                await self._warn(placement, deadline)
                continue
            wait = min(left, self._job.safety_check, self._before_warning() or left)
            news = await self._until(lambda: self._over() or self._moved, wait)
            self._moved = False
            if not news and workflow.now() < deadline and not self._warning_is_due():
                await self._check(placement)

    def _over(self) -> bool:
        return self._stopped() or (self._change is not None and self._change.state.final)

    def _before_warning(self) -> timedelta | None:
        """The time until a warning is due; None if none is to come."""
        deadline, before = self._deadline, self._job.warn_before
        if not before or deadline is None or deadline == self._warned:
            return None
        return max(deadline - before - workflow.now(), timedelta(0))

    def _warning_is_due(self) -> bool:
        # Asked for last, so that only a job which comes so far pays for the marker. Timers are
        # compared by their number and not by their length, so the shorter wait needs no marker.
        return self._before_warning() == timedelta(0) and workflow.patched("deadline-warning")

    async def _warn(self, placement: PlaceResult, deadline: datetime) -> None:
        """Tell that the deadline is near, or have the job extended. Nothing waits for it."""
        self._warned = deadline
        handle = steps.warn(self._job, placement, deadline)
        await self._until(lambda: handle.done() or self._over())
        if not handle.done():
            handle.cancel()
        try:
            result = await handle
        except ActivityError:
            return
        self._set_deadline(result.deadline_at or self._deadline)

    async def _check(self, placement: PlaceResult) -> None:
        """Ask the provider itself, far apart: the monitor may have missed something.

        A provider that does not answer is asked again at the next check; nothing waits for it.
        """
        handle = steps.check(self._job, placement)
        left = (self._deadline or workflow.now()) - workflow.now()
        await self._until(lambda: handle.done() or self._over(), left)
        if not handle.done():
            handle.cancel()
        try:
            result = await handle
        except ActivityError:
            return
        if result.change is not None:
            self.lease_changed(result.change)
        self._set_deadline(result.deadline_at or self._deadline)

    def _set_deadline(self, deadline: datetime | None) -> None:
        if deadline is not None:
            deadline = max(deadline, self._extended or deadline)
        self._moved = self._moved or deadline != self._deadline
        self._deadline = deadline

    async def _settle(
        self, placement: PlaceResult, verdict: Outcome | Retry, end: LeaseEnd
    ) -> bool:
        """Release the lease, whatever it takes; with an outcome, close the job as well.

        False if nothing was done, because the job has a later deadline than the one that passed.
        """
        final = verdict if isinstance(verdict, Outcome) else None
        if final is not None:
            self._enter(JobState.SETTLING)
        self._undoing = f"lease {placement.lease_key} at {placement.provider_id}"
        workflow.set_current_details(f"releasing {self._undoing}")
        closing = SettleInput(
            job_id=self._job.job_id,
            lease_key=placement.lease_key or "",
            outcome=final,
            retry=verdict.message if isinstance(verdict, Retry) else "",
            next=verdict.next if isinstance(verdict, Retry) else "",
            failure=end.failure,
            cause=verdict.cause if isinstance(verdict, Retry) else "",
            deadline=self._deadline if end.end is End.DEADLINE else None,
        )
        done = await self._through(lambda: steps.settle(self._job, placement, closing))
        self._undoing = None
        if done is None or done.deadline_at is None:
            return True
        self._set_deadline(done.deadline_at)
        return False

    async def _finish(self, outcome: Outcome) -> None:
        self._enter(JobState.SETTLING)
        await self._through(lambda: steps.finish(self._job, outcome))

    def _enter(self, state: JobState, *, shown: bool = True) -> None:
        """Show the state in the Web UI: details, and with `shown` attributes to search by."""
        if state == self._state:
            return
        self._state = state
        where = self._placement.provider_id if self._placement else None
        workflow.set_current_details(f"{state.value}{f' on {where}' if where else ''}")
        if state in _PASSING or not shown:
            return
        updates = [contracts.STATUS.value_set(state.value)]
        if where is not None and where != self._shown_provider:
            updates.append(contracts.PROVIDER.value_set(where))
            self._shown_provider = where
        workflow.upsert_search_attributes(updates)
