"""The last step, and the compensation of every step before: release, book, close.

Safe to kill between any two lines: the charge is booked before the network forgets the lease,
and the lease counts as released only after the network said so.
"""

import asyncio
import shutil
import uuid
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import structlog

from activities.contracts import SettleInput, SettleResult
from activities.events import outcome_data, state_event
from activities.jobs.bills import bill_rate, final_usage, how_it_ended, nothing, own_reckoning
from activities.jobs.by_hand import bill_by_hand, last_word
from activities.jobs.kept import Kept, examined
from activities.jobs.room import NoRoom, drop_parts, while_there_is_room
from activities.jobs.settle_steps import DecidedByHand, SettleSteps
from activities.monitor.frames import last_frames, settle_frames
from activities.monitor.logs import LogCopier
from activities.runtime.errors import relentless
from activities.runtime.fleet import Fleet
from activities.trouble import telling
from cortex.db.engine import Database, Reading, Statement
from cortex.db.jobs.lifecycle import Held
from cortex.domain.errors import DatabaseUnavailable
from cortex.domain.events import EventType, NewEvent
from cortex.domain.jobs import Outcome
from cortex.domain.leases import Lease, LeaseRef, SettleStep
from cortex.domain.offers import Usage
from cortex.domain.spec import JobSpec
from cortex.domain.states import CANCELLABLE_JOB_STATES, JobState, LeaseState, RunState
from cortex.domain.trace.resolution import Resolution, resolution_of
from cortex.files import add_missing, put_in_place
from cortex.settings import Settings
from providers.errors import ProviderError
from providers.registry import AnyProvider

_log = structlog.get_logger(__name__)
# Results are worth some tries, but a lease must not stay open for them for ever.
_COLLECT_TRIES = 4
_COLLECT_PAUSE = 1.0
_STOP_PATIENCE = 45.0
_LAST_RESULTS = 20.0


class SettlementActivities:
    def __init__(
        self, database: Database, fleet: Fleet, settings: Settings, copier: LogCopier
    ) -> None:
        self._database = database
        self._fleet = fleet
        self._settings = settings
        self._copier = copier

    @relentless
    async def settle(self, closing: SettleInput) -> SettleResult:
        """Release the lease, book its charge, close the job or send it back to placing.

        A job that was extended after its workflow saw the deadline pass goes on: nothing is done.
        """
        if closing.deadline is None:
            async with self._database.statement() as tx:
                held = await self._begin(tx, closing)
        else:
            async with self._database.transaction() as tx:
                await tx.jobs.lock(closing.job_id)
                later = await _later_deadline(tx, closing, closing.deadline)
                if later is not None:
                    return SettleResult(deadline_at=later)
                held = await self._begin(tx, closing)
        decided = None
        if held.lease.state != LeaseState.RELEASED:
            decided = await self._release(held.lease, held.spec)
        if closing.outcome is not None:
            outcome = closing.outcome
            if decided is not None:
                message = "; ".join(filter(None, (outcome.message, f"settled {decided.told()}")))
                outcome = outcome.model_copy(update={"message": message})
            if held.job_state is JobState.CANCELLING:
                await self._confirmed(closing.job_id)
            await self._close(closing, outcome, held.lease)
        elif closing.lease_only:
            await self._close_lease(held.lease)
        else:
            await self._place_again(closing, held.lease)
        return SettleResult()

    async def _begin(self, tx: Statement, closing: SettleInput) -> Held:
        message = "releasing the lease and booking its charge"
        return await tx.steps.begin_release(
            closing.job_id,
            closing.lease_key,
            settling=closing.outcome is not None,
            failure=closing.failure or None,
            message=message,
            events=[state_event(closing.job_id, JobState.SETTLING, message=message)],
        )

    async def _confirmed(self, job_id: str) -> None:
        """A cancelled job is `settling` only now: before, the network had not let go of it."""
        message = "the network has released the lease"
        async with self._database.transaction() as tx:
            await tx.jobs.lock(job_id)
            if await tx.jobs.move(job_id, JobState.SETTLING, message=message):
                told = state_event(job_id, JobState.SETTLING, message=message)
                await tx.events.add_many([told])

    async def _close(self, closing: SettleInput, outcome: Outcome, lease: Lease) -> None:
        data = outcome_data(outcome)
        async with self._database.statement() as tx:
            closed = await tx.steps.close(
                closing.job_id,
                closing.lease_key,
                outcome,
                released_events=[_released(lease)],
                events=[state_event(closing.job_id, outcome.state, **data)],
            )
            if not closed and not (await tx.jobs.get(closing.job_id)).state.terminal:
                raise RuntimeError(f"job {closing.job_id} could not be closed")

    async def _close_lease(self, lease: Lease) -> None:
        async with self._database.transaction() as tx:
            await tx.jobs.lock(lease.job_id)
            if await tx.leases.released_at_now(lease.key) is not None:
                await tx.events.add_many([_released(lease)])

    async def _place_again(self, closing: SettleInput, lease: Lease) -> None:
        async with self._database.transaction() as tx:
            await tx.jobs.lock(closing.job_id)
            if await tx.leases.released_at_now(lease.key) is None:
                return  # another try did all this, and the job may be at its next lease by now
            told = [_released(lease)]
            message = "; ".join(filter(None, (closing.retry, closing.next)))
            if await tx.jobs.restart(closing.job_id, cause=closing.cause, message=message):
                data = {
                    "cause": closing.cause or None,
                    "message": closing.retry,
                    "next": closing.next,
                    "lease": closing.lease_key,
                }
                told.append(state_event(closing.job_id, JobState.PLACING, message=message))
                told.append(NewEvent.of_job(EventType.JOB_RETRYING, closing.job_id, data))
            await tx.events.add_many(told)

    async def _release(self, lease: Lease, spec: JobSpec) -> Resolution | None:
        """At the network, or as somebody decided by hand; then that decision is returned."""
        steps = SettleSteps(self._database, lease)
        doing = "release the lease and tell its bill"
        try:
            async with telling(self._database, lease.job_id, lease.provider_id, doing):
                await self._at_network(lease, spec, steps)
        except DecidedByHand as decided:
            return await self._by_hand(lease, decided.resolution, spec, steps)
        return None

    async def _by_hand(
        self, lease: Lease, resolution: Resolution, spec: JobSpec, steps: SettleSteps
    ) -> Resolution:
        """Carry out the decision, or the one that has taken its place meanwhile."""
        await self._last_results(lease, spec)
        while True:
            said = await last_word(self._fleet, lease)
            reckoned = own_reckoning(lease)
            usage, rate = bill_by_hand(lease, resolution, said, reckoned)
            try:
                await self._book(lease, usage, rate, decided=resolution, steps=steps.all)
            except DecidedByHand as other:
                resolution = other.resolution
            else:
                return resolution

    async def _last_results(self, lease: Lease, spec: JobSpec) -> None:
        """One try for a short while: the network may well answer, as where a job is forced."""
        if lease.ref is None or lease.committed_at is None or lease.collected_at is not None:
            return
        try:
            async with asyncio.timeout(_LAST_RESULTS):
                provider = self._fleet.get(lease.provider_id)
                if lease.run_state != RunState.EXITED:
                    await self._stop(provider, lease.ref)
                await self._collect(provider, lease, lease.ref, spec, most=1)
        except (ProviderError, TimeoutError) as error:
            why = error if str(error) else TimeoutError("the network did not answer in time")
            await self._tell_incomplete(lease, why)

    async def _at_network(self, lease: Lease, spec: JobSpec, steps: SettleSteps) -> None:
        async with steps.step("look"):
            provider = self._fleet.get(lease.provider_id)
            ref = lease.ref or await _look_for(provider, lease.key)
        if lease.cost is None:
            if ref is None:
                await self._book(lease, nothing(lease), steps=steps.all)
            else:
                await self._end_and_book(provider, lease, ref, spec, steps)
        if ref is not None:
            async with steps.step("forget"):
                await provider.forget(ref)
            if spec.kept():  # else nothing was ever collected, and the folder may be a long one
                await asyncio.to_thread(drop_parts, self._settings.outputs_dir, lease.key)

    async def _end_and_book(
        self,
        provider: AnyProvider,
        lease: Lease,
        ref: LeaseRef,
        spec: JobSpec,
        steps: SettleSteps,
    ) -> None:
        ended = lease.run_state == RunState.EXITED
        live = lease.committed_at is not None and not ended
        if live and not provider.capabilities().keeps_results:
            # Results go with the lease: end the command first, so that there are some.
            async with steps.step("stop"):
                await self._stop(provider, ref)
            ended = True
        if ended:
            async with steps.step("collect"):
                await self._collect(provider, lease, ref, spec)
        async with steps.step("cancel"):
            await provider.cancel(ref)
        if not ended and lease.committed_at is not None:
            async with steps.step("collect"):
                await self._collect(provider, lease, ref, spec)
        if spec.render is not None:
            await settle_frames(self._database, lease)
        async with steps.step("usage"):
            usage = await final_usage(provider, lease, ref)
            rate = await bill_rate(provider, lease, usage.cost.currency)
        await self._book(lease, usage, rate, steps=steps.all)

    async def _stop(self, provider: AnyProvider, ref: LeaseRef) -> None:
        """Best effort: a network that is away now must not keep the lease open."""
        try:
            async with asyncio.timeout(_STOP_PATIENCE):
                await provider.stop(ref)
        except (ProviderError, TimeoutError) as error:
            _log.warning("settle.stop_failed", lease=ref.key, error=str(error))

    async def _collect(
        self,
        provider: AnyProvider,
        lease: Lease,
        ref: LeaseRef,
        spec: JobSpec,
        *,
        most: int = _COLLECT_TRIES,
    ) -> None:
        if lease.collected_at is not None:  # by an earlier try; by now the network has less or none
            return
        for tries in range(1, most + 1):
            try:
                if provider.capabilities().logs:
                    await self._copier.catch_up(provider, lease.key, ref)
                if spec.render is not None:
                    await last_frames(self._database, provider, lease, ref)
                if spec.kept():
                    await self._keep_outputs(provider, lease, ref, spec)
                async with self._database.statement() as tx:
                    await tx.leases.collected(lease.key)
                return
            except DatabaseUnavailable:
                raise
            except Exception as error:
                # Whatever is wrong with results, it must not keep a lease open for ever.
                expected = isinstance(error, ProviderError | OSError | NoRoom)
                log = _log.warning if expected else _log.exception
                log("settle.collect_failed", lease=lease.key, tries=tries, error=str(error))
                if tries == most or isinstance(error, NoRoom):
                    await self._tell_incomplete(lease, error)
                    return
                await asyncio.sleep(_COLLECT_PAUSE * 2 ** (tries - 1))

    async def _keep_outputs(
        self, provider: AnyProvider, lease: Lease, ref: LeaseRef, spec: JobSpec
    ) -> None:
        # A folder of its own for every try: one that was cancelled may still be writing.
        parts = self._settings.outputs_dir / f".{lease.key}.{uuid.uuid4().hex}.part"
        parts.mkdir(parents=True)
        try:
            keep = self._settings.disk.keep_free
            collecting = provider.outputs(ref, spec.kept(), parts)
            written = await while_there_is_room(parts, keep, collecting)
            kept = await examined(parts, written)
            await self._put_in_place(lease, parts, kept, merge=spec.render is not None)
        finally:
            await asyncio.to_thread(shutil.rmtree, parts, ignore_errors=True)

    async def _put_in_place(self, lease: Lease, parts: Path, results: Kept, *, merge: bool) -> None:
        """Keep the files; with `merge`, beside those of attempts before this one."""
        async with self._database.transaction() as tx:
            await tx.jobs.lock(lease.job_id)
            now = await tx.leases.get(lease.key)
            if not now.settling or now.collected_at is not None:
                return  # by another try: what is kept is whole, and ours may not be
            kept = self._settings.outputs_dir / lease.job_id
            if merge:
                await add_missing(parts, kept)
            await put_in_place(parts, kept)
            await results.record(tx, lease.job_id, lease.attempt, merge=merge)
            if results.message:
                told = "; ".join(filter(None, (now.message, results.message)))
                await tx.leases.set_message(lease.key, told)
            await tx.events.add(
                EventType.JOB_OUTPUTS_STORED, lease.job_id, job_id=lease.job_id, data=results.data()
            )

    async def _tell_incomplete(self, lease: Lease, error: Exception) -> None:
        message = f"logs or outputs could not be collected completely: {error}"[:900]
        then = "Cortex releases the lease and closes the job with what there is"
        async with self._database.transaction() as tx:
            await tx.jobs.lock(lease.job_id)
            if not (await tx.leases.get(lease.key)).settling:
                return  # a step that nobody waits for any more
            await tx.leases.set_message(lease.key, message)
            await tx.events.add(
                EventType.LEASE_FAILED,
                lease.key,
                job_id=lease.job_id,
                data={"message": message, "next": then},
            )

    async def _book(
        self,
        lease: Lease,
        usage: Usage,
        usd_rate: Decimal | None = None,
        *,
        decided: Resolution | None = None,
        steps: Sequence[SettleStep] = (),
    ) -> None:
        """Once, and only if `decided` is still what somebody decided about this bill.

        Raises:
            DecidedByHand: it was decided, or decided otherwise, meanwhile; nothing is booked.
        """
        cost = usage.cost.billed()
        data = {"amount": str(cost), "provider": lease.provider_id, "lease": lease.key}
        async with self._database.statement() as tx:
            booked = await tx.steps.book(
                lease,
                cost,
                hold_currency=lease.offer.price_per_hour.currency,
                usd_rate=usd_rate,
                charge=lease.committed_at is not None or bool(cost.amount),
                note="; ".join(filter(None, (how_it_ended(lease), usage.detail.get("source")))),
                decided=decided,
                steps=steps,
                events=[NewEvent.of_job(EventType.CHARGE_BOOKED, lease.job_id, data)],
            )
            now = lease if booked else await tx.leases.get(lease.key)
        if booked or now.cost is not None:
            return
        other = resolution_of(now)
        if other is None or not other.ends:  # no decision about a bill is ever taken back
            raise RuntimeError(f"the bill of {lease.key} could not be booked")
        raise DecidedByHand(other)


async def _look_for(provider: AnyProvider, key: str) -> LeaseRef | None:
    lease = await provider.find(key)
    return lease.ref if lease else None


async def _later_deadline(tx: Reading, closing: SettleInput, passed: datetime) -> datetime | None:
    """The job's deadline, if it is a later one and the job still runs towards it."""
    job, lease = await tx.jobs.get(closing.job_id), await tx.leases.get(closing.lease_key)
    if job.state not in CANCELLABLE_JOB_STATES or lease.state is not LeaseState.ACTIVE:
        return None
    later = job.deadline_at is not None and job.deadline_at > passed
    return job.deadline_at if later else None


def _released(lease: Lease) -> NewEvent:
    data = {"provider": lease.provider_id}
    return NewEvent.of_lease(EventType.LEASE_RELEASED, lease, data)
