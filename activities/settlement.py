"""The last step, and the compensation of every step before: release, book, close.

Safe to kill between any two lines: the charge is booked before the network forgets the lease,
and the lease counts as released only after the network said so.
"""

import shutil
from datetime import UTC, datetime, timedelta

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.contracts import FinishInput, SettleInput
from activities.fleet import Fleet
from activities.logs import LogCopier
from activities.placement import announce, move, outcome_data
from cortex.db.engine import Database, Transaction
from cortex.domain.events import EventType
from cortex.domain.leases import Lease, LeaseRef
from cortex.domain.ledger import EntryKind
from cortex.domain.money import Money
from cortex.domain.offers import Usage
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState, LeaseState, RunState
from cortex.files import collect
from cortex.settings import Settings
from providers.errors import LeaseLost, ProviderError
from providers.registry import AnyProvider

_log = structlog.get_logger(__name__)
# Results are worth some tries, but a lease must not stay open for them for ever.
_COLLECT_TRIES = 4


class SettlementActivities:
    def __init__(
        self, database: Database, fleet: Fleet, settings: Settings, copier: LogCopier
    ) -> None:
        self._database = database
        self._fleet = fleet
        self._settings = settings
        self._copier = copier

    @activity.defn
    async def settle(self, order: SettleInput) -> None:
        """Release the lease, book its charge, close the job or send it back to placing."""
        async with self._database.transaction() as tx:
            await tx.jobs.lock(order.job_id)
            lease = await tx.leases.find(order.lease_key)
            if lease is not None:
                lease = await _begin_release(tx, lease)
            if order.outcome is not None:
                await move(tx, order.job_id, JobState.SETTLING, "releasing and booking")
            spec = (await tx.jobs.get(order.job_id)).spec
        if lease is not None and lease.state != LeaseState.RELEASED:
            await self._release(lease, spec)
        async with self._database.transaction() as tx:
            await tx.jobs.lock(order.job_id)
            if lease is not None:
                await _write_released(tx, lease)
            await _close(tx, order)

    async def _release(self, lease: Lease, spec: JobSpec) -> None:
        provider = self._fleet.get(lease.provider_id)
        ref = lease.ref or await _look_for(provider, lease.key)
        if lease.cost is None:
            if ref is None:
                await self._book(lease, _nothing(lease))
            else:
                await self._end_and_book(provider, lease, ref, spec)
        if ref is not None:
            await provider.forget(ref)

    async def _end_and_book(
        self, provider: AnyProvider, lease: Lease, ref: LeaseRef, spec: JobSpec
    ) -> None:
        ended = lease.run_state == RunState.EXITED
        if ended:
            # Some networks drop everything with the lease: take it before.
            await self._collect(provider, lease, ref, spec)
        await provider.cancel(ref)
        if not ended and lease.committed_at is not None:
            await self._collect(provider, lease, ref, spec)
        await self._book(lease, await _final_usage(provider, lease, ref))

    async def _collect(
        self, provider: AnyProvider, lease: Lease, ref: LeaseRef, spec: JobSpec
    ) -> None:
        try:
            await self._copier.catch_up(provider, lease.key, ref)
            if spec.outputs:
                await self._keep_outputs(provider, lease, ref, spec)
        except (ProviderError, OSError) as error:
            if activity.info().attempt < _COLLECT_TRIES:
                raise
            _log.warning("settle.collect_failed", lease=lease.key, error=str(error))
            await self._tell_incomplete(lease, error)

    async def _keep_outputs(
        self, provider: AnyProvider, lease: Lease, ref: LeaseRef, spec: JobSpec
    ) -> None:
        parts = self._settings.outputs_dir / f".{lease.key}.part"
        shutil.rmtree(parts, ignore_errors=True)
        parts.mkdir(parents=True)
        try:
            written = await provider.outputs(ref, spec.outputs, parts)
            files = await collect(parts, written, self._settings.outputs_dir / lease.job_id)
        finally:
            shutil.rmtree(parts, ignore_errors=True)
        async with self._database.transaction() as tx:
            await tx.jobs.lock(lease.job_id)
            await tx.outputs.replace(
                lease.job_id, lease.attempt, [(f.path, f.size, f.sha256) for f in files]
            )
            data = {"files": len(files), "bytes": sum(f.size for f in files)}
            await tx.events.add(
                EventType.JOB_OUTPUTS_STORED, lease.job_id, job_id=lease.job_id, data=data
            )

    async def _tell_incomplete(self, lease: Lease, error: Exception) -> None:
        message = f"logs or outputs could not be collected completely: {error}"[:1000]
        async with self._database.transaction() as tx:
            await tx.jobs.lock(lease.job_id)
            await tx.leases.put(lease.key, message=message)
            await tx.events.add(
                EventType.LEASE_FAILED, lease.key, job_id=lease.job_id, data={"message": message}
            )

    async def _book(self, lease: Lease, usage: Usage) -> None:
        async with self._database.transaction() as tx:
            await tx.jobs.lock(lease.job_id)
            await _write_charge(tx, lease, usage)


async def _begin_release(tx: Transaction, lease: Lease) -> Lease:
    return await tx.leases.move(lease.key, LeaseState.RELEASING) or lease


async def _look_for(provider: AnyProvider, key: str) -> LeaseRef | None:
    found = await provider.find(key)
    return found.ref if found else None


async def _final_usage(provider: AnyProvider, lease: Lease, ref: LeaseRef) -> Usage:
    try:
        usage = await provider.usage(ref)
    except LeaseLost:
        return _own_reckoning(lease)
    if not usage.final:
        raise ApplicationError(
            f"the final bill of {lease.key} is not there yet",
            type="UsageNotFinal",
            next_retry_delay=timedelta(seconds=5),
        )
    return usage


def _own_reckoning(lease: Lease) -> Usage:
    """What the lease must have cost, for a network that lost it together with its bill."""
    if lease.committed_at is None:
        return _nothing(lease)
    began = lease.started_at or lease.committed_at
    ended = lease.finished_at or datetime.now(UTC)
    cost = lease.offer.estimate(max(ended - began, timedelta(0)))
    return Usage(
        cost=cost, final=True, detail={"source": "reckoned by Cortex: the network lost it"}
    )


def _nothing(lease: Lease) -> Usage:
    return Usage(cost=Money.zero(lease.offer.price_per_hour.currency), final=True)


async def _write_charge(tx: Transaction, lease: Lease, usage: Usage) -> None:
    cost = usage.cost.rounded()
    held = await tx.ledger.held(lease)
    await tx.leases.put(lease.key, cost=cost.amount, currency=cost.currency)
    if lease.committed_at is not None or cost.amount:
        note = usage.detail.get("source", "")
        if await tx.ledger.add(lease, EntryKind.CHARGE, cost, note=note):
            await tx.jobs.add_cost(lease.job_id, cost.amount * lease.offer.usd_rate)
            data = {"amount": str(cost), "provider": lease.provider_id, "lease": lease.key}
            await tx.events.add(
                EventType.CHARGE_BOOKED, lease.job_id, job_id=lease.job_id, data=data
            )
    rest = (
        held - cost if cost.currency == held.currency and cost < held else Money.zero(held.currency)
    )
    await tx.ledger.add(lease, EntryKind.RELEASE, rest)


async def _write_released(tx: Transaction, lease: Lease) -> None:
    if await tx.leases.released_at_now(lease.key):
        await tx.events.add(
            EventType.LEASE_RELEASED,
            lease.key,
            job_id=lease.job_id,
            data={"provider": lease.provider_id},
        )


async def _close(tx: Transaction, order: SettleInput) -> None:
    if order.outcome is not None:
        if await tx.jobs.finish(order.job_id, order.outcome):
            closing = FinishInput(job_id=order.job_id, outcome=order.outcome)
            await announce(tx, order.job_id, order.outcome.state, **outcome_data(closing))
        return
    if order.retry and await move(tx, order.job_id, JobState.PLACING, order.retry):
        await tx.jobs.put(order.job_id, deadline_at=None, progress=None)
        await tx.events.add(
            EventType.JOB_RETRYING,
            order.job_id,
            job_id=order.job_id,
            data={"message": order.retry, "lease": order.lease_key},
        )
