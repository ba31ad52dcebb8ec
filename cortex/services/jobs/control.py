"""Changing a job that is under way: cancel and extend."""

from datetime import timedelta
from typing import Any

from cortex.db.engine import Database, Transaction
from cortex.db.outbox.commands import Command, CommandKind
from cortex.domain.errors import Conflict
from cortex.domain.events import EventType, NewEvent
from cortex.domain.jobs import Job
from cortex.domain.rights import Action, Principal
from cortex.domain.states import JobState
from cortex.domain.units import format_duration
from cortex.services.jobs.extend import LengthLimits, extend_job, refuse_ended
from cortex.services.jobs.idempotency import check_key, fingerprint_of
from cortex.services.providers.queries import ProviderRegistry
from cortex.services.views import job_view
from cortex.settings import Settings
from cortex.temporal.outbox.dispatcher import HEAD_START, Delivery, Dispatcher


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
        async with self._database.transaction() as tx:
            await tx.jobs.lock(job_id)
            delivery = await self.cancel_within(tx, job_id, reason, by)
            view = await self._view(tx, job_id)
        self.deliver(delivery)
        return view

    async def ask_to_end(self, job_id: str, reason: str, by: Principal) -> None:
        """The same without an answer.

        Raises:
            As `cancel`.
        """
        async with self._database.transaction() as tx:
            await tx.jobs.lock(job_id)
            delivery = await self.cancel_within(tx, job_id, reason, by)
        self.deliver(delivery)

    async def cancel_within(
        self, tx: Transaction, job_id: str, reason: str, by: Principal
    ) -> Delivery | None:
        """The same as a part of a transaction that holds the lock of the job.

        Returns:
            What is to be told at once when the transaction is committed (`deliver`).

        Raises:
            As `cancel`.
        """
        job = await tx.jobs.get(job_id)
        by.require(Action.JOBS_CANCEL, owner=job.owner, project=job.project)
        if job.state == JobState.CANCELLING:
            return None
        refuse_ended(job, "cancelled")
        delivery = await self._cancel(tx, job, reason)
        await tx.audit.add(
            by, "job.cancel", job_id, name=job.name, project=job.project, reason=reason
        )
        return delivery

    def deliver(self, delivery: Delivery | None) -> None:
        """Tell the job's workflow soon what was committed; what is lost here, the relay tells."""
        if delivery is not None:
            self._dispatcher.offer(delivery)

    async def extend(
        self, job_id: str, duration: timedelta, by: Principal, *, key: str | None = None
    ) -> tuple[str, bool]:
        """Move the deadline of a job: its `JobView` in JSON, and whether that was done before.

        With the same `key` (of an `Idempotency-Key`) it is done once.

        Raises:
            NotFound: there is no such job.
            Forbidden: it is of somebody else, and the role reaches to own jobs only; or the key of
                `by` has a budget, and the job does not count there.
            JobAlreadyEnded: it has ended, or is settling its bill.
            Conflict: it is being cancelled.
            IdempotencyConflict: the key was used for another request.
            InvalidRequest: longer than this server or the job's provider allows.
            OverBudget: the job's budget does not allow it, or one that covers it.
        """
        check_key(key)
        limits = LengthLimits.of(self._settings.jobs.max_duration, await self._registry.all())
        delivery: Delivery | None = None
        async with self._database.transaction() as tx:
            job = await tx.jobs.get(job_id)
            by.require(Action.JOBS_EXTEND, owner=job.owner, project=job.project)
            by.require_same_budget(job.api_key, f"job `{job_id}`", Action.JOBS_EXTEND)
            done = key is not None and await self._seen(tx, job_id, duration, by, key)
            if not done:
                await tx.jobs.lock(job_id)
                extended = await extend_job(tx, job_id, duration, limits)
                delivery = await self._command(tx, extended, "extend", {})
                await tx.audit.add(
                    by,
                    "job.extend",
                    job_id,
                    name=job.name,
                    project=job.project,
                    duration=format_duration(duration),
                )
            view = await self._view(tx, job_id)
        self.deliver(delivery)
        return view, done

    async def _seen(
        self, tx: Transaction, job_id: str, duration: timedelta, by: Principal, key: str
    ) -> bool:
        """Whether this request was carried out before; remembered from now on."""
        content = [job_id, duration.total_seconds()]
        mark = fingerprint_of("extend", content, self._settings.encryption_keys)
        if await tx.idempotency.seen(by.name, key, mark) is not None:
            return True
        await tx.idempotency.remember(by.name, key, fingerprint=mark, job_ids=[job_id])
        return False

    async def _cancel(self, tx: Transaction, job: Job, reason: str) -> Delivery | None:
        message = "cancel requested"
        moved = await tx.jobs.request_cancel(job.id, message=message)
        if moved is None:  # cannot be under the lock; the guard decides all the same
            raise Conflict(f"job `{job.id}` changed meanwhile; try again")
        state = {"state": JobState.CANCELLING.value, "message": message}
        await tx.events.add_many(
            [
                NewEvent.of_job(EventType.JOB_CANCEL_REQUESTED, job.id, {"reason": reason}),
                NewEvent.of_job(EventType.JOB_STATE_CHANGED, job.id, state),
            ]
        )
        if job.group_id is not None:
            await tx.groups.nudge(job.group_id)  # it decides what this means for the others
        if job.held:
            return None  # there is no workflow to be told: the group ends it
        return await self._command(tx, moved, "cancel", {"reason": reason})

    async def _command(
        self, tx: Transaction, job: Job, kind: CommandKind, payload: dict[str, Any]
    ) -> Delivery | None:
        """Write a command; a delivery of ours only if no earlier one must go first."""
        ours = self._dispatcher.has_room() and await tx.commands.pending(job.id) == 0
        delay = HEAD_START if ours else timedelta(0)
        command_id = await tx.commands.add(job.id, kind, payload, delay=delay)
        return Delivery(Command(command_id, job.id, kind, payload, 0), job) if ours else None

    async def _view(self, tx: Transaction, job_id: str) -> str:
        return job_view(await tx.reads.job(job_id), self._settings.temporal, job_id)
