"""Changing a job that is under way: cancel and extend."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from cortex.db.commands import Command, CommandKind
from cortex.db.engine import Database, Transaction
from cortex.db.tables import NOW, JobRow
from cortex.domain.errors import (
    Conflict,
    FieldError,
    InvalidRequest,
    JobAlreadyEnded,
    OverBudget,
)
from cortex.domain.events import EventType
from cortex.domain.jobs import Job
from cortex.domain.leases import Lease
from cortex.domain.ledger import EntryKind, LedgerEntry
from cortex.domain.money import Money
from cortex.domain.rights import Action, Principal
from cortex.domain.states import CANCELLABLE_JOB_STATES, JobState, LeaseState
from cortex.domain.units import format_duration
from cortex.services.delivery import HEAD_START, Delivery, Dispatcher
from cortex.services.registry import ProviderRegistry
from cortex.services.views import job_view
from cortex.settings import Settings

_LIVE = (LeaseState.INTENDED, LeaseState.RESERVED, LeaseState.ACTIVE)


class JobControl:
    """Cancels and extends jobs."""

    def __init__(
        self,
        database: Database,
        *,
        registry: ProviderRegistry,
        dispatcher: Dispatcher,
        settings: Settings,
    ) -> None:
        self._database = database
        self._registry = registry
        self._dispatcher = dispatcher
        self._settings = settings

    async def cancel(self, job_id: str, reason: str, by: Principal) -> str:
        """Ask for the end of a job; the answer is its `JobView` in JSON. Harmless to repeat.

        Raises:
            NotFound: there is no such job.
            Forbidden: it is of somebody else, and the role reaches to own jobs only.
            JobAlreadyEnded: it has ended, or is settling its bill.
        """
        delivery: Delivery | None = None
        async with self._database.transaction() as tx:
            await tx.jobs.lock(job_id)
            job = await tx.jobs.get(job_id)
            by.require(Action.JOBS_CANCEL, owner=job.owner)
            if job.state != JobState.CANCELLING:
                _refuse_ended(job, "cancelled")
                delivery = await self._cancel(tx, job, reason)
                await tx.audit.add(by.name, "job.cancel", job_id, source=by.source, reason=reason)
            view = await self._view(tx, job_id)
        self._deliver(delivery)
        return view

    async def extend(self, job_id: str, duration: timedelta, by: Principal) -> str:
        """Move the deadline of a job; the answer is its `JobView` in JSON.

        Raises:
            NotFound: there is no such job.
            Forbidden: it is of somebody else, and the role reaches to own jobs only.
            JobAlreadyEnded: it has ended, or is settling its bill.
            Conflict: it is being cancelled.
            InvalidRequest: longer than this server or the job's provider allows.
            OverBudget: the job's budget does not allow it.
        """
        if duration <= timedelta(0):
            raise _invalid("must be more than zero")
        limits = {
            item.id: item.capabilities.max_duration
            for item in await self._registry.all()
            if item.capabilities
        }
        async with self._database.transaction() as tx:
            await tx.jobs.lock(job_id)
            job = await tx.jobs.get(job_id)
            by.require(Action.JOBS_EXTEND, owner=job.owner)
            _refuse_ended(job, "extended")
            if job.state == JobState.CANCELLING:
                raise Conflict(f"job `{job_id}` is being cancelled and cannot be extended")
            lease = _live(await tx.leases.of_job(job_id))
            self._check_length(job, duration, limits.get(lease.provider_id) if lease else None)
            delivery = await self._extend(tx, job, duration, lease)
            await tx.audit.add(
                by.name, "job.extend", job_id, source=by.source, duration=format_duration(duration)
            )
            view = await self._view(tx, job_id)
        self._deliver(delivery)
        return view

    async def _cancel(self, tx: Transaction, job: Job, reason: str) -> Delivery | None:
        message = "cancel requested"
        moved = await tx.jobs.move(
            job.id, JobState.CANCELLING, message=message, cancel_requested_at=NOW
        )
        if moved is None:  # cannot be under the lock; the guard decides all the same
            raise Conflict(f"job `{job.id}` changed meanwhile; try again")
        state = {"state": JobState.CANCELLING.value, "message": message}
        await tx.events.add_many(
            [
                (EventType.JOB_CANCEL_REQUESTED, job.id, job.id, {"reason": reason}),
                (EventType.JOB_STATE_CHANGED, job.id, job.id, state),
            ]
        )
        return await self._command(tx, moved, "cancel", {"reason": reason})

    async def _extend(
        self, tx: Transaction, job: Job, duration: timedelta, lease: Lease | None
    ) -> Delivery | None:
        extra: Money | None = None
        if lease is not None:
            extra = lease.offer.estimate(duration)
            _check_budget(job, lease, extra, await tx.ledger.page(job_id=job.id, limit=10_000))
            note = f"extended by {format_duration(duration)}"
            await tx.ledger.add(lease, EntryKind.HOLD, extra, note=note)
        await tx.jobs.put(
            job.id,
            extension=JobRow.extension + duration,
            deadline_at=JobRow.deadline_at + duration,
        )
        extended = await tx.jobs.get(job.id)
        data = {
            "by": format_duration(duration),
            "extension": format_duration(extended.extension),
            "deadline_at": extended.deadline_at.isoformat() if extended.deadline_at else None,
            "hold": str(extra) if extra else None,
        }
        await tx.events.add(EventType.JOB_EXTENDED, job.id, job_id=job.id, data=data)
        return await self._command(tx, extended, "extend", {})

    def _check_length(
        self, job: Job, duration: timedelta, provider_limit: timedelta | None
    ) -> None:
        total = job.spec.duration + job.extension + duration
        for limit, whose in (
            (self._settings.jobs.max_duration, "this server"),
            (provider_limit, f"provider `{job.provider_id}`"),
        ):
            if limit is not None and total > limit:
                raise _invalid(
                    f"would make the job {format_duration(total)} long in all; "
                    f"{whose} allows {format_duration(limit)}"
                )

    async def _command(
        self, tx: Transaction, job: Job, kind: CommandKind, payload: dict[str, Any]
    ) -> Delivery | None:
        """Write a command; a delivery of ours only if no earlier one must go first."""
        ours = self._dispatcher.has_room() and await tx.commands.pending(job.id) == 0
        delay = HEAD_START if ours else timedelta(0)
        command_id = await tx.commands.add(job.id, kind, payload, delay=delay)
        return Delivery(Command(command_id, job.id, kind, payload, 0), job) if ours else None

    def _deliver(self, delivery: Delivery | None) -> None:
        if delivery is not None:
            self._dispatcher.offer(delivery)

    async def _view(self, tx: Transaction, job_id: str) -> str:
        return job_view(await tx.reads.job(job_id), self._settings.temporal, job_id)


def _refuse_ended(job: Job, what: str) -> None:
    if job.state in CANCELLABLE_JOB_STATES or job.state == JobState.CANCELLING:
        return
    ended = "has ended as" if job.state.terminal else "has ended and is"
    raise JobAlreadyEnded(f"job `{job.id}` {ended} `{job.state}`; it cannot be {what} any more")


def _live(leases: Sequence[Lease]) -> Lease | None:
    return next((lease for lease in reversed(leases) if lease.state in _LIVE), None)


def _check_budget(job: Job, lease: Lease, extra: Money, entries: Sequence[LedgerEntry]) -> None:
    """Refuse what would take the job over its budget: charges, open holds and the new hold."""
    budget = job.spec.budget
    if budget is None:
        return
    closed = {item.lease_key for item in entries if item.kind == EntryKind.RELEASE}
    counted = [
        item
        for item in entries
        if item.kind == EntryKind.CHARGE
        or (item.kind == EntryKind.HOLD and item.lease_key not in closed)
    ]
    if {budget.currency} >= {extra.currency, *(item.amount.currency for item in counted)}:
        total = sum((item.amount.amount for item in counted), extra.amount)
        limit = budget.amount
    else:
        rates = {item.amount.currency: Decimal(item.usd_rate) for item in counted}
        rates |= {extra.currency: lease.offer.usd_rate, "USD": Decimal(1)}
        if budget.currency not in rates:
            raise OverBudget(
                f"the budget is in {budget.currency}, which cannot be compared with {extra}"
            )
        total = extra.amount * lease.offer.usd_rate
        total += sum((i.amount.amount * Decimal(i.usd_rate) for i in counted), Decimal(0))
        limit = budget.amount * rates[budget.currency]
    if total > limit:
        raise OverBudget(
            f"{extra} more would take job `{job.id}` over its budget of {budget}",
            errors=[FieldError(field="duration", message=f"costs {extra} more")],
        )


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(
        f"`duration` {message}", errors=[FieldError(field="duration", message=message)]
    )
