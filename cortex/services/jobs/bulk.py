"""Cancelling all jobs that a filter finds.

Which ones is decided and written down first, in one transaction with the idempotency key and the
audit entry; then each is cancelled in a transaction of its own, as by hand. A process that dies in
the middle has cancelled some: the same request again finishes the rest of what was decided, and
with a key it takes none that came since.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from cortex.db.engine import Database
from cortex.db.jobs.bulk import Asked, Reach
from cortex.db.jobs.repository import JobFilter
from cortex.domain.errors import JobAlreadyEnded
from cortex.domain.rights import Action, Principal
from cortex.domain.states import CANCELLABLE_JOB_STATES, JobState
from cortex.schemas.bulk import BulkCancelView, SkippedJobs, SkipReason
from cortex.services.jobs.control import JobControl
from cortex.services.jobs.idempotency import check_key, fingerprint_of
from cortex.settings import Settings

MAX_CANCELS: Final = 500
"""Of one request."""


class BulkCancels:
    """Cancels many jobs, of those that the caller may cancel."""

    def __init__(self, database: Database, control: JobControl, settings: Settings) -> None:
        self._database = database
        self._control = control
        self._settings = settings

    async def preview(self, where: JobFilter, by: Principal) -> BulkCancelView:
        """What `cancel` would do now; nothing is changed."""
        async with self._database.reading() as tx:
            counts = await tx.bulk.counts(where, Reach.of(by, Action.JOBS_CANCEL))
        could = sum(counts.get(state, 0) for state in CANCELLABLE_JOB_STATES)
        return BulkCancelView(
            dry_run=True,
            matched=sum(counts.values()),
            cancelled=min(could, MAX_CANCELS),
            remaining=max(0, could - MAX_CANCELS),
            skipped=_skipped(counts),
        )

    async def cancel(
        self, where: JobFilter, by: Principal, *, reason: str, asked: Sequence[Any], key: str | None
    ) -> tuple[BulkCancelView, bool]:
        """Ask for the end of up to `MAX_CANCELS` jobs, the oldest first.

        Args:
            where: Which jobs; those that `by` may not cancel are left out, and not counted.
            by: Who asks.
            reason: Is kept with each job.
            asked: The request as it was sent: with the same `key` it must be the same.
            key: Of an `Idempotency-Key`.

        Returns:
            What was done, and whether it was decided by an earlier request.

        Raises:
            IdempotencyConflict: the key was used for another request.
        """
        check_key(key)
        reach = Reach.of(by, Action.JOBS_CANCEL)
        mark = fingerprint_of("jobs.cancel", asked, self._settings.encryption_keys)
        async with self._database.transaction() as tx:
            seen = None if key is None else await tx.idempotency.seen(by.name, key, mark)
            counts = await tx.bulk.counts(where, reach)
            chosen = seen
            if chosen is None:
                chosen = await tx.bulk.cancellable(where, reach, limit=MAX_CANCELS)
                if key is not None:
                    await tx.idempotency.remember(by.name, key, fingerprint=mark, job_ids=chosen)
                await tx.audit.add(
                    by, "job.cancel.many", "", asked=asked, reason=reason, jobs=len(chosen)
                )
        skipped = _skipped(counts) if seen is None else ()
        missed = await self._cancel_each(chosen, reason, by)
        done = [job_id for job_id in chosen if job_id not in missed]
        could = sum(counts.get(state, 0) for state in CANCELLABLE_JOB_STATES)
        view = BulkCancelView(
            dry_run=False,
            matched=sum(counts.values()) if seen is None else len(chosen),
            cancelled=len(done),
            remaining=max(0, could - len(chosen)) if seen is None else 0,
            skipped=_added(skipped, Counter(missed.values())),
            jobs=tuple(done),
        )
        return view, seen is not None

    async def _cancel_each(
        self, job_ids: Sequence[str], reason: str, by: Principal
    ) -> dict[str, SkipReason]:
        """Cancel each that was not yet; those that ended by themselves meanwhile, and how."""
        async with self._database.reading() as tx:
            standing = await tx.bulk.standing(job_ids)
        missed: dict[str, SkipReason] = {}
        for job_id in job_ids:
            before = standing.get(job_id)
            if before is None or not _cancellable(before):
                if before is None or not before.cancelled:
                    missed[job_id] = SkipReason.ENDED
                continue
            try:
                # One after the other: a transaction that holds two jobs could wait for one that
                # holds a group of both.
                await self._control.ask_to_end(job_id, reason, by)
            except JobAlreadyEnded:
                missed[job_id] = SkipReason.ENDED
        return missed


def _cancellable(asked: Asked) -> bool:
    return asked.state in CANCELLABLE_JOB_STATES


def _reason(state: JobState) -> SkipReason:
    if state == JobState.CANCELLING:
        return SkipReason.CANCELLING
    return SkipReason.ENDED if state.terminal else SkipReason.SETTLING


def _skipped(counts: dict[JobState, int]) -> tuple[SkippedJobs, ...]:
    found: Counter[SkipReason] = Counter()
    for state, count in counts.items():
        if state not in CANCELLABLE_JOB_STATES:
            found[_reason(state)] += count
    return _added((), found)


def _added(skipped: Sequence[SkippedJobs], more: Counter[SkipReason]) -> tuple[SkippedJobs, ...]:
    sums = Counter({each.reason: each.count for each in skipped}) + more
    return tuple(SkippedJobs(reason=why, count=sums[why]) for why in SkipReason if sums[why])
