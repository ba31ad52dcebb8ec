"""Tells a job's user what went wrong and what Cortex does next: in its message and as an event."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from temporalio import activity

from activities.runtime.errors import RETRYABLE, is_relentless, patience_left
from cortex.db.engine import Database, Transaction
from cortex.domain.errors import DatabaseUnavailable
from cortex.domain.events import EventType
from cortex.domain.units import format_duration
from providers.errors import ProviderError, RateLimited

_MAX_TEXT = 600


async def tell(database: Database, job_id: str, what: str, then: str, provider_id: str) -> None:
    """Write it down, unless it is what the job's message says already, or the job has ended.

    Args:
        database: Where jobs are.
        job_id: Whom it concerns.
        what: What happened, in plain words.
        then: What Cortex does next.
        provider_id: Where it happened; empty: at none of them.
    """
    async with database.transaction() as tx:
        await tx.jobs.lock(job_id)
        await trouble(tx, job_id, what, then, provider_id)


async def trouble(tx: Transaction, job_id: str, what: str, then: str, provider_id: str) -> None:
    """The same inside a transaction that holds the job's lock."""
    what = what[:_MAX_TEXT]
    job = await tx.jobs.get(job_id)
    if job.state.terminal or job.message.startswith(what):
        return
    await tx.jobs.set_message(job_id, f"{what}; {then}")
    data = {"message": what, "next": then, "provider": provider_id}
    await tx.events.add(EventType.JOB_TROUBLE, job_id, job_id=job_id, data=data)


@asynccontextmanager
async def telling(
    database: Database, job_id: str, provider_id: str, doing: str, *, failover: bool = True
) -> AsyncIterator[None]:
    """Around calls to a network in a step that is tried again: tells what keeps it waiting.

    The error goes on its way. A database that is away must not hide it.
    """
    try:
        yield
    except RETRYABLE as error:
        then = _next(error, failover=failover)
        if then:
            with suppress(DatabaseUnavailable):
                what = f"`{provider_id}` could not {doing}: {error}"
                await tell(database, job_id, what, then, provider_id)
        raise


def _next(error: ProviderError, *, failover: bool) -> str:
    pause = f" in {format_duration(error.retry_after)}" if isinstance(error, RateLimited) else ""
    if is_relentless(activity.info().activity_type):
        return f"Cortex tries again{pause} until the network confirms"
    left = patience_left()
    if left <= timedelta(0):
        return ""  # it is not tried again: the next offer, or the end, says why
    last = "takes the next offer" if failover else "gives up"
    whole = timedelta(seconds=max(1, round(left.total_seconds())))
    return f"Cortex tries again{pause}, for up to {format_duration(whole)}, then {last}"
