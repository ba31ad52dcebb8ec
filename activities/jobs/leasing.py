"""Steps two and three: reserve at the network, then make the lease live. And the safety check.

A member of a gang takes them one by one, `prepare` and `commit`: in between it waits for the
others. Any other job takes both at once with `acquire`.
"""

import time
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.contracts import AcquireResult, CheckResult, CommitResult, LeaseInput
from activities.events import state_event
from activities.jobs.inputs import InputStore
from activities.monitor.recording import change_of, record, run_event
from activities.runtime.errors import patient_since, relentless
from activities.runtime.fleet import Fleet
from activities.runtime.heartbeat import to_its_end
from activities.trouble import telling
from cortex import faultpoints
from cortex.db.engine import Database
from cortex.db.jobs.lifecycle import Held, Run
from cortex.domain.events import EventType, NewEvent
from cortex.domain.failures import FailureType
from cortex.domain.leases import Lease, LeaseSnapshot
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState, LeaseState, RunState
from cortex.security.keyring import KeyRing
from cortex.security.places import job_place
from cortex.temporal.contracts import LeaseChange
from providers.base import Committed, Report, Reservation
from providers.errors import OutcomeUnknown
from providers.registry import AnyProvider

_REPORT_EVERY = timedelta(seconds=2)
COMMIT_TIMEOUT = timedelta(minutes=10)
"""How long one try to make a lease live may take."""


class LeaseActivities:
    def __init__(
        self, database: Database, fleet: Fleet, keyring: KeyRing, inputs: InputStore | None = None
    ) -> None:
        self._database = database
        self._fleet = fleet
        self._keyring = keyring
        self._inputs = inputs

    @activity.defn
    async def acquire(self, target: LeaseInput) -> AcquireResult:
        """Both phases, for a job that waits for nobody between them.

        A try goes on after what an earlier one has written down. Until the reservation is, a stop
        of the workflow interrupts it; from then on the stop waits for the outcome.
        """
        held = await self._begin(target)
        if held.lease.committed_at is None:
            await self._prepare(held)
        faultpoints.passed("activity", "between prepare and commit")
        held = await self._read(target)
        lease = held.lease
        if lease.state == LeaseState.RESERVED and held.job_state == JobState.CANCELLING:
            return AcquireResult()  # the signal is on its way to the workflow
        if lease.reserved_at is not None:  # how long that took is not the commit's to bear
            patient_since(lease.reserved_at)
        live = await to_its_end(self._commit(target, held), within=COMMIT_TIMEOUT)
        return AcquireResult(deadline_at=live.deadline_at, change=live.change)

    @activity.defn
    async def prepare(self, target: LeaseInput) -> None:
        """Phase one: reserve under the lease key, and write down the reference."""
        await self._prepare(await self._begin(target))

    @activity.defn
    async def commit(self, target: LeaseInput) -> CommitResult:
        """Phase two: the lease goes live and costs money from now on."""
        return await self._commit(target, await self._read(target))

    async def _begin(self, target: LeaseInput) -> Held:
        message = f"deploying on `{target.provider_id}`"
        state = state_event(target.job_id, JobState.DEPLOYING, message=message)
        async with self._database.statement() as tx:
            return await tx.steps.begin_deploying(
                target.job_id, target.lease_key, message=message, events=[state]
            )

    async def _read(self, target: LeaseInput) -> Held:
        async with self._database.reading() as tx:
            return await tx.steps.read(target.lease_key)

    async def _prepare(self, held: Held) -> None:
        lease = held.lease
        if lease.state == LeaseState.RESERVED:  # an earlier try got this far
            return
        _require(lease, LeaseState.INTENDED)
        async with self._telling(held, "reserve for the job"):
            provider = self._fleet.get(lease.provider_id)
            spec = await self._unfinished(held, self._full_spec(held))
            reservation = await self._reserve(provider, lease, spec)
            await self._hand_over(provider, reservation, spec)
        price = reservation.price_per_hour
        offer = lease.offer.model_copy(update={"price_per_hour": price} if price else {})
        data = {"provider": lease.provider_id}
        async with self._database.statement() as tx:
            written = await tx.steps.reserve(
                lease,
                reservation.ref,
                offer=offer,
                events=[NewEvent.of_lease(EventType.LEASE_RESERVED, lease, data)],
            )
        if not written:
            await self._reserved_late(provider, reservation, lease.key)

    async def _reserved_late(
        self, provider: AnyProvider, reservation: Reservation, key: str
    ) -> None:
        """Another try of this step, or the settlement, was faster than this one."""
        async with self._database.reading() as tx:
            lease = await tx.leases.get(key)
        if lease.state in (LeaseState.RELEASING, LeaseState.RELEASED):
            # The settlement may have looked before this was there: nobody else will remove it.
            await provider.cancel(reservation.ref)
            if lease.committed_at is None or lease.state == LeaseState.RELEASED:
                await provider.forget(reservation.ref)
            raise _not_allowed(lease)

    async def _commit(self, target: LeaseInput, held: Held) -> CommitResult:
        lease = held.lease
        if lease.committed_at is not None:  # an earlier try got this far
            return await self._as_written(target)
        _require(lease, LeaseState.RESERVED)
        if lease.ref is None:
            raise RuntimeError(f"lease {lease.key} is reserved without a reference")
        async with self._telling(held, "start the job"):
            provider = self._fleet.get(lease.provider_id)
            done = await self._go_live(provider, Reservation(ref=lease.ref))
        deadline = await self._write_live(held, done)
        if deadline is None:
            return await self._overtaken(target, provider, done)
        change = _change(lease, done.snapshot) if done.snapshot is not None else None
        return CommitResult(deadline_at=deadline, change=change)

    async def _as_written(self, target: LeaseInput) -> CommitResult:
        async with self._database.transaction() as tx:
            lease = await tx.leases.get(target.lease_key)
            job = await tx.jobs.get(target.job_id)
        if lease.committed_at is None:
            raise _not_allowed(lease)
        deadline = job.deadline_at or lease.committed_at
        return CommitResult(deadline_at=deadline, change=change_of(lease))

    async def _overtaken(
        self, target: LeaseInput, provider: AnyProvider, done: Committed
    ) -> CommitResult:
        """Another try of this step, or the settlement, was faster than this one."""
        async with self._database.reading() as tx:
            lease = await tx.leases.get(target.lease_key)
        if lease.state in (LeaseState.RELEASING, LeaseState.RELEASED):
            # What we just started must not live.
            await provider.cancel(done.ref)
            if lease.state == LeaseState.RELEASED:
                await provider.forget(done.ref)
            raise _not_allowed(lease)
        return await self._as_written(target)

    @relentless
    async def check(self, target: LeaseInput) -> CheckResult:
        """The far-apart safety check: ask the provider itself, in case its monitor sleeps."""
        async with self._database.transaction() as tx:
            lease = await tx.leases.get(target.lease_key)
        if lease.state == LeaseState.ACTIVE and lease.ref is not None:
            snapshot = await self._fleet.get(lease.provider_id).status(lease.ref)
            async with self._database.transaction() as tx:
                await tx.jobs.lock(target.job_id)
                lease = await record(tx, await tx.leases.get(target.lease_key), snapshot)
        async with self._database.transaction() as tx:
            job = await tx.jobs.get(target.job_id)
        change = change_of(lease) if lease.run_state and lease.run_state.final else None
        return CheckResult(change=change, deadline_at=job.deadline_at)

    def _telling(self, held: Held, doing: str) -> AbstractAsyncContextManager[None]:
        lease, failover = held.lease, held.spec.placement.failover
        return telling(self._database, lease.job_id, lease.provider_id, doing, failover=failover)

    def _full_spec(self, held: Held) -> JobSpec:
        if held.secrets is None:
            return held.spec
        secrets = self._keyring.decrypt(held.secrets, job_place(held.lease.job_id))
        return held.spec.with_secrets(secrets)

    async def _unfinished(self, held: Held, spec: JobSpec) -> JobSpec:
        """Of a render job, what no earlier lease has finished: no frame is paid for twice."""
        if spec.render is None:
            return spec
        async with self._database.reading() as tx:
            done = await tx.frames.done(held.lease.job_id)
        return spec.model_copy(update={"render": spec.render.without(done)})

    async def _write_live(self, held: Held, done: Committed) -> datetime | None:
        lease = held.lease
        now = datetime.now(UTC)
        data: dict[str, object] = {"provider": lease.provider_id}
        live = NewEvent.of_lease(EventType.LEASE_ACTIVE, lease, data)
        running = state_event(lease.job_id, JobState.RUNNING, provider=lease.provider_id)
        run = _run_of(done.snapshot) if done.snapshot is not None else None
        async with self._database.statement() as tx:
            deadline = await tx.steps.go_live(
                lease,
                done.ref,
                now=now,
                duration=held.spec.duration,
                run=run,
                live_events=[live],
                running_events=[running],
                events=[run_event(lease, done.snapshot)] if done.snapshot else [],
            )
        if deadline is not None and (run is None or not run.ended):
            async with self._database.statement() as tx:
                await tx.leases.wake_monitor(lease.key)
        return deadline

    async def _reserve(self, provider: AnyProvider, lease: Lease, spec: JobSpec) -> Reservation:
        # After a crash or an unknown outcome the network is asked before anything is made.
        if _tried_before():
            at_network = await provider.find(lease.key)
            if at_network is not None and at_network.reserved:
                return Reservation(ref=at_network.ref)
        report = self._reporter(lease)
        try:
            return await provider.prepare(spec, lease.key, offer=lease.offer, report=report)
        except OutcomeUnknown:
            at_network = await provider.find(lease.key)
            if at_network is None or not at_network.reserved:
                raise  # the next try of this step goes on with what is there
            return Reservation(ref=at_network.ref)

    async def _hand_over(
        self, provider: AnyProvider, reservation: Reservation, spec: JobSpec
    ) -> None:
        """Files that the job begins with. Only then it counts as reserved: it could be committed.

        Every try of this step does it again, which does no harm.
        """
        if not spec.inputs:
            return
        if self._inputs is None:
            raise RuntimeError("this worker does not know where inputs lie")
        async with self._inputs.packed(spec.inputs) as archive:
            await provider.put_inputs(reservation, archive)

    async def _go_live(self, provider: AnyProvider, reservation: Reservation) -> Committed:
        try:
            return await provider.commit(reservation)
        except OutcomeUnknown:
            at_network = await provider.find(reservation.ref.key)
            if at_network is None or not at_network.committed:
                raise
            return Committed(ref=at_network.ref)

    def _reporter(self, lease: Lease) -> Report:
        last = 0.0

        async def report(message: str) -> None:
            nonlocal last
            if time.monotonic() - last < _REPORT_EVERY.total_seconds():
                return
            last = time.monotonic()
            async with self._database.transaction() as tx:
                await tx.jobs.lock(lease.job_id)
                if (await tx.jobs.get(lease.job_id)).state is not JobState.DEPLOYING:
                    return  # a step that nobody waits for any more
                await tx.jobs.set_message(lease.job_id, message[:500])
                data = {"message": message[:500]}
                await tx.events.add(
                    EventType.JOB_PROGRESS, lease.job_id, job_id=lease.job_id, data=data
                )

        return report


def _tried_before() -> bool:
    """Also after a reset of the activity, which counts its tries from one again."""
    info = activity.info()
    return info.attempt > 1 or info.current_attempt_scheduled_time > info.scheduled_time


def _run_of(snapshot: LeaseSnapshot) -> Run:
    now = datetime.now(UTC)
    started = snapshot.started_at or (now if snapshot.state == RunState.RUNNING else None)
    finished = snapshot.finished_at or (now if snapshot.state.final else None)
    return Run(
        state=snapshot.state.value,
        # A lease that is lost at once is left to the monitor, which has the row to tell so.
        ended=snapshot.state == RunState.EXITED,
        exit_code=snapshot.exit_code,
        message=snapshot.message[:1000],
        endpoints=[endpoint.model_dump() for endpoint in snapshot.endpoints],
        started_at=started,
        finished_at=finished,
    )


def _change(lease: Lease, snapshot: LeaseSnapshot) -> LeaseChange:
    return LeaseChange(
        key=lease.key,
        version=lease.version + 1,
        state=snapshot.state,
        exit_code=snapshot.exit_code,
        message=snapshot.message[:1000],
        image=snapshot.image,
    )


def _require(lease: Lease, state: LeaseState) -> None:
    if lease.state != state:
        raise _not_allowed(lease)


def _not_allowed(lease: Lease) -> ApplicationError:
    return ApplicationError(
        f"lease {lease.key} is {lease.state.value}",
        type=FailureType.LEASE_RELEASED.value,
        non_retryable=True,
    )
