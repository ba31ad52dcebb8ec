"""Step one: collect offers, rank them, write the intent to lease and the hold."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from temporalio import activity

from activities.contracts import FinishInput, PlaceInput, PlaceResult
from activities.events import announce, outcome_data, state_event
from activities.jobs.inputs import InputStore
from activities.jobs.market import Market
from activities.runtime.errors import relentless
from activities.runtime.fleet import Fleet
from activities.trouble import tell
from cortex.db.engine import Database, Transaction
from cortex.domain.events import EventType, NewEvent
from cortex.domain.ids import lease_key
from cortex.domain.jobs import Job, Reason
from cortex.domain.leases import Lease
from cortex.domain.money import Money
from cortex.domain.money.budgets import first_refusal
from cortex.domain.money.ledger import EntryKind
from cortex.domain.offers import Offer
from cortex.domain.states import JobState, LeaseState
from cortex.domain.units import format_duration
from cortex.settings import Settings
from cortex.temporal.contracts import QuoteInput, QuoteResult

_SILENT = 0.3
"""Seconds after which a job that waits for offers is shown as `placing`."""


class PlacementActivities:
    def __init__(
        self,
        database: Database,
        fleet: Fleet,
        settings: Settings,
        market: Market | None = None,
    ) -> None:
        self._database = database
        self._settings = settings
        self._market = market or Market(fleet, settings.placement)
        self._inputs = InputStore(settings.outputs_dir, settings.disk.keep_free)

    @activity.defn
    async def quote(self, wanted: QuoteInput) -> QuoteResult:
        """Ask all allowed providers; answers in the time they are given."""
        return await self._market.quote(wanted.spec, wanted.timeout)

    @activity.defn
    async def place(self, placing: PlaceInput) -> PlaceResult:
        """Choose a provider and write the lease row and its hold, both before any effect."""
        async with self._database.reading() as tx:
            job = await tx.jobs.get(placing.job_id)
        missing = await self._inputs.problem(job.spec.inputs) if job.spec.inputs else None
        if missing is not None:
            return PlaceResult(reason=Reason.INVALID_SPEC, message=missing)
        asking = asyncio.create_task(
            self._market.quote(
                job.spec,
                self._settings.jobs.quote_timeout,
                without=placing.excluded,
                without_offers=placing.excluded_offers,
            )
        )
        done, _ = await asyncio.wait({asking}, timeout=_SILENT)
        if not done:  # it takes a while: say what is being waited for
            await self._show_placing(placing)
        ranked = await asking
        affordable = [offer for offer in ranked.offers if _affordable(offer, job, ranked.usd_rates)]
        if affordable:
            at_once = await self._intend_at_once(placing, job, affordable[0])
            return at_once or await self._intend(placing, affordable)
        await self._show_placing(placing)
        return await self._existing(placing) or await self._tell_nowhere(
            placing, _nowhere(ranked, job, placing)
        )

    @relentless
    async def finish(self, ending: FinishInput) -> None:
        """Close a job that holds no lease."""
        async with self._database.transaction() as tx:
            await tx.jobs.lock(ending.job_id)
            job = await tx.jobs.get(ending.job_id)
            if job.state.terminal:
                return
            await _drop_untouched(tx, ending.job_id)
            if job.state == JobState.PENDING:  # it never came to placing
                await move(tx, ending.job_id, JobState.PLACING)
            await move(tx, ending.job_id, JobState.SETTLING)
            if await tx.jobs.finish(ending.job_id, ending.outcome):
                await announce(
                    tx, ending.job_id, ending.outcome.state, **outcome_data(ending.outcome)
                )

    async def _show_placing(self, placing: PlaceInput) -> None:
        async with self._database.transaction() as tx:
            await tx.jobs.lock(placing.job_id)
            await move(tx, placing.job_id, JobState.PLACING)

    async def _existing(self, placing: PlaceInput) -> PlaceResult | None:
        """What an earlier try of this attempt wrote."""
        async with self._database.reading() as tx:
            lease = await tx.leases.find(lease_key(placing.job_id, placing.attempt))
        return _placed(lease) if lease else None

    async def _tell_nowhere(self, placing: PlaceInput, placement: PlaceResult) -> PlaceResult:
        """Say that nobody offers, if the job waits for that to change."""
        again = placement.try_again or placing.asks_again
        if again and placing.until is not None and datetime.now(UTC) < placing.until:
            then = (
                f"Cortex asks again in {format_duration(placing.wait)}, "
                f"and gives up at {placing.until:%H:%M:%S} UTC"
            )
            await tell(self._database, placing.job_id, placement.message, then, "")
        return placement

    async def _intend_at_once(
        self, placing: PlaceInput, job: Job, offer: Offer
    ) -> PlaceResult | None:
        """The usual case in one statement; None if anything is not as usual."""
        key = lease_key(placing.job_id, placing.attempt)
        hold = offer.estimate(job.spec.duration + job.extension)
        async with self._database.statement() as tx:
            placed = await tx.steps.intend(
                placing.job_id,
                key,
                placing.attempt,
                offer=offer,
                hold=hold,
                extension=job.extension,
                message=f"placed on `{offer.provider_id}`",
                events=[
                    state_event(placing.job_id, JobState.PLACING),
                    _intended(placing, offer, hold),
                ],
            )
        return _at(key, offer) if placed else None

    async def _intend(self, placing: PlaceInput, offers: Sequence[Offer]) -> PlaceResult:
        """The first of the offers that the budgets allow."""
        key = lease_key(placing.job_id, placing.attempt)
        async with self._database.transaction() as tx:
            await tx.jobs.lock(placing.job_id)
            lease = await tx.leases.find(key)
            if lease is not None:  # an earlier try of this attempt wrote it
                return _placed(lease)
            if await tx.jobs.begin_attempt(placing.job_id, placing.attempt):
                await announce(tx, placing.job_id, JobState.PLACING)
            job = await tx.jobs.get(placing.job_id)
            if job.state != JobState.PLACING:
                why = f"the job is {job.state.value}"
                return PlaceResult(reason=Reason.CANCELLED, message=why)
            open_ = await tx.providers.hold_open({offer.provider_id for offer in offers})
            left = [offer for offer in offers if offer.provider_id in open_]
            if not left:
                return _closed(offers)
            offer, why = await _allowed(tx, job, left)
            if offer is None:
                return PlaceResult(reason=Reason.OVER_BUDGET, message=why)
            placed = f"placed on `{offer.provider_id}`"
            await tx.jobs.place_at(placing.job_id, placing.attempt, offer.provider_id, placed)
            lease = await tx.leases.add(key, placing.job_id, placing.attempt, offer=offer)
            hold = offer.estimate(job.spec.duration + job.extension)
            await tx.ledger.add(lease, EntryKind.HOLD, hold)
            await tx.reserves.used(placing.job_id)
            await tx.events.add_many([_intended(placing, offer, hold)])
        return _placed(lease)


async def _allowed(tx: Transaction, job: Job, offers: Sequence[Offer]) -> tuple[Offer | None, str]:
    """The first offer whose hold fits into the job's reserve and what its budgets have left.

    Locks the budgets until the transaction ends. Without one: why the first does not fit.
    """
    states = await tx.budgets.lock_covering([job.covered])
    reserve = await tx.reserves.of(job.id) or Decimal(0)
    refused = ""
    for offer in offers:
        hold = offer.estimate(job.spec.duration + job.extension)
        more = hold.in_usd(offer.usd_rate) - reserve
        why = first_refusal(states, [(job.covered, more)])
        if why is None:
            return offer, ""
        refused = refused or f"the offer of `{offer.provider_id}` may cost {hold}, and {why}"
    return None, refused


def _intended(placing: PlaceInput, offer: Offer, hold: Money) -> NewEvent:
    data = {
        "provider": offer.provider_id,
        "attempt": placing.attempt,
        "price_per_hour": str(offer.price_per_hour),
        "hold": str(hold),
    }
    key = lease_key(placing.job_id, placing.attempt)
    return NewEvent(type=EventType.LEASE_INTENDED, subject=key, job_id=placing.job_id, data=data)


async def _drop_untouched(tx: Transaction, job_id: str) -> None:
    """Close a lease that a try of `place` wrote which nobody waited for any more.

    No step ever got its key, so no network was asked for it and no bill can come.
    """
    for lease in await tx.leases.of_job(job_id):
        if lease.state != LeaseState.INTENDED:
            continue
        await tx.leases.move(lease.key, LeaseState.RELEASING)
        await tx.ledger.add(lease, EntryKind.RELEASE, await tx.ledger.held(lease))
        await tx.leases.set_cost(lease.key, Money.zero(lease.offer.price_per_hour.currency))
        await tx.leases.released_at_now(lease.key)
        data = {"provider": lease.provider_id}
        await tx.events.add_many([NewEvent.of_lease(EventType.LEASE_RELEASED, lease, data)])


async def move(tx: Transaction, job_id: str, state: JobState, message: str = "") -> bool:
    """Move a job with its event; False if the move is not legal now."""
    if await tx.jobs.move(job_id, state, message=message) is None:
        return False
    await announce(tx, job_id, state, message=message)
    return True


def _affordable(offer: Offer, job: Job, rates: dict[str, Decimal]) -> bool:
    budget = job.spec.budget
    if budget is None:
        return True
    estimate = offer.estimate(job.spec.duration + job.extension)
    if not job.cost.amount and budget.currency == estimate.currency:
        return estimate <= budget
    rate = rates.get(budget.currency)
    # Without a rate nothing can be compared: better not to spend.
    spent = job.cost.amount + estimate.amount * offer.usd_rate
    return rate is not None and spent <= budget.amount * rate


def _nowhere(ranked: QuoteResult, job: Job, placing: PlaceInput) -> PlaceResult:
    if ranked.offers:
        cheapest = min(ranked.offers, key=lambda offer: offer.usd_per_hour())
        most = cheapest.estimate(job.spec.duration + job.extension)
        return PlaceResult(
            reason=Reason.OVER_BUDGET,
            message=f"the budget is {job.spec.budget}, {job.cost} is spent, and the cheapest offer "
            f"(`{cheapest.provider_id}`) may cost {most} for the whole duration",
        )
    whys = [
        f"`{rejection.provider_id}`: {', '.join(rejection.reasons)}"
        for rejection in ranked.rejected
    ]
    whys += [f"`{provider_id}` was tried already" for provider_id in placing.excluded]
    return PlaceResult(
        reason=Reason.NO_CAPACITY,
        message=f"no provider offers to run this job ({'; '.join(whys) or 'there is none to ask'})",
        # With nobody left who may change his mind, only forgetting who was passed over could help.
        try_again=any(not rejection.for_good for rejection in ranked.rejected),
    )


def _closed(offers: Sequence[Offer]) -> PlaceResult:
    names = ", ".join(f"`{name}`" for name in sorted({offer.provider_id for offer in offers}))
    message = f"{names} takes no jobs any more: switched off or removed while it made its offer"
    return PlaceResult(reason=Reason.NO_CAPACITY, message=message, try_again=True)


def _placed(lease: Lease) -> PlaceResult:
    return _at(lease.key, lease.offer)


def _at(key: str, offer: Offer) -> PlaceResult:
    return PlaceResult(
        lease_key=key, provider_id=offer.provider_id, offer=offer.identity, one_step=True
    )
