"""Moving a job's deadline: the checks, the hold and the event. For users and for `auto_extend`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from cortex.db.engine import Transaction
from cortex.db.providers.repository import StoredProvider
from cortex.domain.errors import Conflict, FieldError, InvalidRequest, JobAlreadyEnded, OverBudget
from cortex.domain.events import EventType
from cortex.domain.jobs import Job
from cortex.domain.leases import Lease
from cortex.domain.money import Money
from cortex.domain.money.ledger import EntryKind, LedgerEntry
from cortex.domain.states import CANCELLABLE_JOB_STATES, JobState, LeaseState
from cortex.domain.units import format_duration
from cortex.services.money.reserves import allow_extension

_LIVE = (LeaseState.INTENDED, LeaseState.RESERVED, LeaseState.ACTIVE)


@dataclass(frozen=True)
class LengthLimits:
    """How long a job may be in all, extensions included."""

    server: timedelta
    providers: Mapping[str, timedelta | None] = field(default_factory=dict)

    @classmethod
    def of(cls, server: timedelta, providers: Sequence[StoredProvider]) -> "LengthLimits":
        """Those of the server and of the providers, as far as they have told them."""
        told = {
            provider.id: provider.capabilities.max_duration
            for provider in providers
            if provider.capabilities
        }
        return cls(server, told)


async def extend_job(
    tx: Transaction, job_id: str, by: timedelta, limits: LengthLimits, *, auto: bool = False
) -> Job:
    """Give a job more time; the job as it is then. The caller holds its lock.

    Telling the job's workflow is left to the caller. A refusal may come after the first write:
    end the transaction then.

    Raises:
        NotFound: there is no such job.
        JobAlreadyEnded: it has ended, or is settling its bill.
        Conflict: it is being cancelled.
        InvalidRequest: longer than this server or the job's provider allows.
        OverBudget: the job's budget does not allow it, or one that covers it.
    """
    if by <= timedelta(0):
        raise _invalid("must be more than zero")
    job = await tx.jobs.get(job_id)
    refuse_ended(job, "extended")
    if job.state == JobState.CANCELLING:
        raise Conflict(f"job `{job_id}` is being cancelled and cannot be extended")
    lease = _live(await tx.leases.of_job(job_id))
    _check_length(job, by, limits, lease)
    extra: Money | None = None
    if lease is None:
        await allow_extension(tx, job, by, None)
    else:
        extra = await _hold(tx, job, lease, by)
    await tx.jobs.extend(job.id, by)
    extended = await tx.jobs.get(job.id)
    data = {
        "by": format_duration(by),
        "extension": format_duration(extended.extension),
        "deadline_at": extended.deadline_at.isoformat() if extended.deadline_at else None,
        "hold": str(extra) if extra else None,
        "auto": auto,
    }
    await tx.events.add(EventType.JOB_EXTENDED, job.id, job_id=job.id, data=data)
    return extended


def refuse_ended(job: Job, what: str) -> None:
    """Raise JobAlreadyEnded if nothing can be changed about the job any more."""
    if job.state in CANCELLABLE_JOB_STATES or job.state == JobState.CANCELLING:
        return
    ended = "has ended as" if job.state.terminal else "has ended and is"
    raise JobAlreadyEnded(f"job `{job.id}` {ended} `{job.state}`; it cannot be {what} any more")


async def _hold(tx: Transaction, job: Job, lease: Lease, by: timedelta) -> Money:
    """Set aside what the time may cost, if the budgets have it."""
    extra = lease.offer.estimate(by)
    _check_budget(job, lease, extra, await tx.ledger.page(job_id=job.id, limit=10_000))
    await allow_extension(tx, job, by, extra.in_usd(lease.offer.usd_rate))
    note = f"extended by {format_duration(by)}"
    await tx.ledger.add(lease, EntryKind.HOLD, extra, note=note)
    return extra


def _check_length(job: Job, by: timedelta, limits: LengthLimits, lease: Lease | None) -> None:
    whole = job.spec.duration + job.extension
    known = [(limits.server, "this server")]
    told = limits.providers.get(lease.provider_id) if lease else None
    if lease is not None and told is not None:
        known.append((told, f"provider `{lease.provider_id}`"))
    limit, whose = min(known)
    if whole + by <= limit:
        return
    left = limit - whole
    rest = f"at most {format_duration(left)} more" if left > timedelta(0) else "nothing is left"
    raise _invalid(
        f"would make the job {format_duration(whole + by)} long in all; "
        f"{whose} allows {format_duration(limit)}, so {rest}"
    )


def _live(leases: Sequence[Lease]) -> Lease | None:
    return next((lease for lease in reversed(leases) if lease.state in _LIVE), None)


def _check_budget(job: Job, lease: Lease, extra: Money, entries: Sequence[LedgerEntry]) -> None:
    """Refuse what would take the job over its budget: charges, open holds and the new hold."""
    budget = job.spec.budget
    if budget is None:
        return
    closed = {entry.lease_key for entry in entries if entry.kind == EntryKind.RELEASE}
    counted = [
        entry
        for entry in entries
        if entry.kind == EntryKind.CHARGE
        or (entry.kind == EntryKind.HOLD and entry.lease_key not in closed)
    ]
    if {budget.currency} >= {extra.currency, *(entry.amount.currency for entry in counted)}:
        total = sum((entry.amount.amount for entry in counted), extra.amount)
        limit = budget.amount
    else:
        rates = {entry.amount.currency: Decimal(entry.usd_rate) for entry in counted}
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
