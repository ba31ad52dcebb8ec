"""Steps two and three: reserve at the network, then make the lease live. And the safety check."""

import time
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.contracts import CheckResult, CommitResult, LeaseInput
from activities.fleet import Fleet
from activities.placement import announce
from activities.recording import change_of, record, wake_monitor
from cortex.db.engine import Database, Transaction
from cortex.db.events import NewEvent
from cortex.domain.events import EventType
from cortex.domain.jobs import Job
from cortex.domain.leases import Lease
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState, LeaseState
from cortex.security.keyring import KeyRing
from providers.base import Committed, Report, Reservation
from providers.errors import OutcomeUnknown
from providers.registry import AnyProvider

_REPORT_EVERY = timedelta(seconds=2)


class LeaseActivities:
    def __init__(self, database: Database, fleet: Fleet, keyring: KeyRing) -> None:
        self._database = database
        self._fleet = fleet
        self._keyring = keyring

    @activity.defn
    async def prepare(self, order: LeaseInput) -> None:
        """Phase one: reserve under the lease key, and write down the reference."""
        async with self._database.transaction() as tx:
            await tx.jobs.lock(order.job_id)
            lease = await tx.leases.get(order.lease_key)
            if lease.state == LeaseState.RESERVED:
                return
            _require(lease, LeaseState.INTENDED)
            message = f"deploying on `{lease.provider_id}`"
            job = await tx.jobs.move(order.job_id, JobState.DEPLOYING, message=message)
            if job is not None:
                await announce(tx, job.id, JobState.DEPLOYING, message=message)
            else:  # a second try, or the job is being cancelled
                job = await tx.jobs.get(order.job_id)
            secrets = await tx.jobs.secrets(order.job_id) if job.spec.secret_env else None
        provider = self._fleet.get(lease.provider_id)
        reservation = await self._reserve(provider, lease, self._full_spec(job, secrets))
        async with self._database.transaction() as tx:
            await tx.jobs.lock(order.job_id)
            values: dict[str, object] = {"ref": reservation.ref.model_dump(mode="json")}
            if reservation.price_per_hour is not None:
                offer = lease.offer.model_copy(
                    update={"price_per_hour": reservation.price_per_hour}
                )
                values["offer"] = offer.model_dump(mode="json")
            if await tx.leases.move(lease.key, LeaseState.RESERVED, **values):
                await tx.events.add(
                    EventType.LEASE_RESERVED,
                    lease.key,
                    job_id=order.job_id,
                    data={"provider": lease.provider_id},
                )

    @activity.defn
    async def commit(self, order: LeaseInput) -> CommitResult:
        """Phase two: the lease goes live and costs money from now on."""
        async with self._database.reading() as tx:
            lease = await tx.leases.get(order.lease_key)
            if lease.committed_at is not None:  # an earlier try got this far
                return _committed(lease, await tx.jobs.get(order.job_id))
        _require(lease, LeaseState.RESERVED)
        if lease.ref is None:
            raise RuntimeError(f"lease {lease.key} is reserved without a reference")
        provider = self._fleet.get(lease.provider_id)
        done = await self._go_live(provider, Reservation(ref=lease.ref))
        async with self._database.transaction() as tx:
            await tx.jobs.lock(order.job_id)
            live = await _write_commit(tx, lease, done)
        if live is None:
            # Somebody released the lease meanwhile: what we just started must not live.
            await provider.cancel(done.ref)
            raise _not_allowed(lease)
        lease, job = live
        return _committed(lease, job)

    @activity.defn
    async def check(self, order: LeaseInput) -> CheckResult:
        """The far-apart safety check: ask the provider itself, in case its monitor sleeps."""
        async with self._database.transaction() as tx:
            lease = await tx.leases.get(order.lease_key)
        if lease.state == LeaseState.ACTIVE and lease.ref is not None:
            snapshot = await self._fleet.get(lease.provider_id).status(lease.ref)
            async with self._database.transaction() as tx:
                await tx.jobs.lock(order.job_id)
                lease = await record(tx, await tx.leases.get(order.lease_key), snapshot)
        async with self._database.transaction() as tx:
            job = await tx.jobs.get(order.job_id)
        change = change_of(lease) if lease.run_state and lease.run_state.final else None
        return CheckResult(change=change, deadline_at=job.deadline_at)

    def _full_spec(self, job: Job, secrets: bytes | None) -> JobSpec:
        if secrets is None:
            return job.spec
        return job.spec.with_secrets(self._keyring.decrypt(secrets, job.id))

    async def _reserve(self, provider: AnyProvider, lease: Lease, spec: JobSpec) -> Reservation:
        # After a crash or an unknown outcome the network is asked before anything is made.
        if activity.info().attempt > 1:
            found = await provider.find(lease.key)
            if found is not None:
                return Reservation(ref=found.ref)
        report = self._reporter(lease)
        try:
            return await provider.prepare(spec, lease.key, offer=lease.offer, report=report)
        except OutcomeUnknown:
            found = await provider.find(lease.key)
            if found is None:
                raise
            return Reservation(ref=found.ref)

    async def _go_live(self, provider: AnyProvider, reservation: Reservation) -> Committed:
        try:
            return await provider.commit(reservation)
        except OutcomeUnknown:
            found = await provider.find(reservation.ref.key)
            if found is None or not found.committed:
                raise
            return Committed(ref=found.ref)

    def _reporter(self, lease: Lease) -> Report:
        last = 0.0

        async def report(message: str) -> None:
            nonlocal last
            if time.monotonic() - last < _REPORT_EVERY.total_seconds():
                return
            last = time.monotonic()
            async with self._database.transaction() as tx:
                await tx.jobs.lock(lease.job_id)
                await tx.jobs.put(lease.job_id, message=message[:500])
                data = {"message": message[:500]}
                await tx.events.add(
                    EventType.JOB_PROGRESS, lease.job_id, job_id=lease.job_id, data=data
                )

        return report


async def _write_commit(tx: Transaction, lease: Lease, done: Committed) -> tuple[Lease, Job] | None:
    now = datetime.now(UTC)
    active = await tx.leases.move(
        lease.key, LeaseState.ACTIVE, committed_at=now, ref=done.ref.model_dump(mode="json")
    )
    if active is None:
        return None
    job = await tx.jobs.get(lease.job_id)
    deadline = now + job.spec.duration + job.extension
    data = {"provider": lease.provider_id, "deadline_at": deadline.isoformat()}
    told: list[NewEvent] = [(EventType.LEASE_ACTIVE, lease.key, lease.job_id, data)]
    if done.snapshot is None:
        await tx.jobs.put(lease.job_id, deadline_at=deadline)
        await tx.events.add_many(told)
    else:
        # The workflow learns it from this activity's result and needs no signal.
        active = await record(
            tx, active, done.snapshot, told=told, signalled=True, deadline_at=deadline
        )
    if active.state == LeaseState.ACTIVE:
        await wake_monitor(tx, lease.provider_id)
    return active, job.model_copy(update={"deadline_at": deadline})


def _committed(lease: Lease, job: Job) -> CommitResult:
    if job.deadline_at is None:
        raise RuntimeError(f"lease {lease.key} is live without a deadline")
    return CommitResult(deadline_at=job.deadline_at, change=change_of(lease))


def _require(lease: Lease, state: LeaseState) -> None:
    if lease.state != state:
        raise _not_allowed(lease)


def _not_allowed(lease: Lease) -> ApplicationError:
    return ApplicationError(
        f"lease {lease.key} is {lease.state.value}", type="LeaseReleased", non_retryable=True
    )
