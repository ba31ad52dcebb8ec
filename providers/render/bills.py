"""What a lease costs on Dispersed: the ledger's lines where it has them, else rate times time."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from cortex.domain.money import Money, format_amount
from cortex.domain.offers import Usage
from providers.render.api import DispersedApi
from providers.render.assigned import Assigned
from providers.render.jobs import rate_of
from providers.render.wire import WireJob, WireRun

_LEDGER_LATE = timedelta(minutes=2)
_ROUNDED_UP = 60
"""Seconds that a bill may count more than the run's own times."""
_TOLERANCE = Decimal("1.05")


async def usage_of(api: DispersedApi, jobs: Sequence[WireJob], *, now: datetime) -> Usage:
    """The sum over the jobs of a lease; final once each is over and billed."""
    total, seconds, final = Decimal(0), Decimal(0), True
    sources: set[str] = set()
    for job in jobs:
        runs = await api.runs(job.uuid)
        spent = _seconds(job, runs, now)
        newest = max(runs, key=lambda run: run.started_at_ms or 0, default=None)
        rate, quoted = Assigned(job, newest).rate, rate_of(job).amount
        ran = any(run.started_at for run in runs)
        charges = await api.charges(job.uuid) if job.over else None
        if charges:
            charged = sum((charge.amount_usd for charge in charges), Decimal(0))
            total += charged
            sources.add(f"ledger{_dearer(charged, quoted, spent)}")
        else:
            total += (quoted if rate is None else rate) * spent / 3600
            # Its own times may say that it ran for no time at all: they come from two clocks.
            final = final and job.over and not (ran and _may_come(job, charges, now))
            sources.add("rate x time")
        seconds += spent
    return Usage(
        cost=Money(amount=total, currency="USD"),
        final=final,
        seconds=seconds,
        detail={"source": " and ".join(sorted(sources))} if sources else {},
    )


def _dearer(charged: Decimal, quoted: Decimal, seconds: Decimal) -> str:
    """Told with the bill where the node was dearer than its offer: the network need not say so."""
    if not quoted or charged <= quoted * (seconds + _ROUNDED_UP) / 3600 * _TOLERANCE:
        return ""
    hourly = format_amount((charged * 3600 / max(seconds, Decimal(1))).quantize(Decimal("0.01")))
    return f" (about {hourly} USD per hour, {format_amount(quoted)} were quoted)"


def _may_come(job: WireJob, charges: object, now: datetime) -> bool:
    """Whether the ledger can be asked and its line may still be on its way."""
    if charges is None or job.updated_at is None:
        return False
    return now - job.updated_at < _LEDGER_LATE


def _seconds(job: WireJob, runs: Sequence[WireRun], now: datetime) -> Decimal:
    total = timedelta(0)
    for run in runs:
        if run.started_at is None:
            continue
        ended = run.finished_at or (job.updated_at if job.over else None) or now
        total += max(ended - run.started_at, timedelta(0))
    return Decimal(total // timedelta(microseconds=1)) / 1_000_000
