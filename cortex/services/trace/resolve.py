"""Decisions by hand about jobs that do not get on: written down, audited, then set going."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from cortex.db.engine import Database, Transaction
from cortex.domain.errors import (
    Conflict,
    FieldError,
    InvalidRequest,
    JobAlreadyEnded,
    TemporalUnavailable,
)
from cortex.domain.events import EventType
from cortex.domain.jobs import Job
from cortex.domain.leases import Lease
from cortex.domain.money import Money
from cortex.domain.rights import Action, Principal
from cortex.domain.states import CANCELLABLE_JOB_STATES, LeaseState
from cortex.domain.trace.resolution import Resolution, ResolveAction
from cortex.domain.units import format_duration
from cortex.schemas.trace import ResolutionView, ResolveRequest
from cortex.services.jobs.control import JobControl
from cortex.settings import Settings
from cortex.temporal.contracts import RESCUE_WORKFLOW, TASK_QUEUE, RescueInput, rescue_id
from cortex.temporal.describe import WorkflowRun, away, look, run_now
from cortex.temporal.outbox.dispatcher import Delivery

_CALL: Final = timedelta(seconds=3)
_ORPHAN: Final = (
    "Cortex waits for `{provider}` no longer. If the network still holds `{key}`, reconcile finds "
    "it as an orphan and closes it; look at the account there as well"
)


@dataclass(frozen=True)
class _Seen:
    """A workflow, and what Temporal says of it."""

    workflow: str = ""
    sight: WorkflowRun = WorkflowRun("missing")


_NOT_SEEN: Final = _Seen()


@dataclass(frozen=True)
class _Case:
    """A job, its newest lease that is not released, and what Temporal says of both."""

    job: Job
    lease: Lease | None
    commands: int
    seen: _Seen

    @property
    def gone(self) -> bool:
        """Whether nobody works on the job."""
        return self.seen.sight.life != "running" and not self.commands and not self.job.held


class Resolutions:
    """Lets an admin end what Cortex would go on trying for ever."""

    def __init__(
        self, database: Database, client: Client, control: JobControl, settings: Settings
    ) -> None:
        self._database = database
        self._client = client
        self._control = control
        self._settings = settings

    async def resolve(self, job_id: str, request: ResolveRequest, by: Principal) -> ResolutionView:
        """Carry out one decision.

        Raises:
            Forbidden: the role does not allow it.
            NotFound: there is no such job.
            JobAlreadyEnded: it has ended: nothing about it changes any more.
            Conflict: nothing is stuck, or there is no lease to decide about.
            InvalidRequest: an amount where none belongs, none where one does, or an unfit one;
                without `force`, one above the most that the lease can have cost.
            TemporalUnavailable: what waits cannot be seen, so that nothing was done.
        """
        by.require(Action.JOBS_RESOLVE)
        async with self._database.transaction() as tx:
            before = await _read(tx, job_id)
            rate = await _rate(tx, before, request)
            if not request.force:
                await _check_amount(tx, before.lease, request.amount, rate)
        seen = await self._seen(before)
        resolution = Resolution(
            action=request.action,
            amount=request.amount,
            usd_rate=rate,
            reason=request.reason,
            actor=by.name,
            at=datetime.now(UTC),
        )
        async with self._database.transaction() as tx:
            await tx.jobs.lock(job_id)
            now = await _read(tx, job_id, seen)
            if (now.lease and now.lease.key) != (before.lease and before.lease.key):
                raise Conflict(f"job `{job_id}` went on meanwhile; look at it again")
            self._check(now, request)
            # With the decision: one that came after would find the bill booked.
            delivery = await self._cancel(tx, now, request, by)
            await write_down(tx, now.job, now.lease, resolution, by)
            after = await _read(tx, job_id, seen)
        self._control.deliver(delivery)
        done = await self._set_going(now)
        return _view(after, resolution, done)

    async def _seen(self, case: _Case) -> _Seen:
        """What Temporal says of the workflow that works on it: the job's own, or its rescue."""
        job_id = case.job.id
        for workflow_id in (job_id, rescue_id(job_id)):
            sight = await look(self._client, workflow_id)
            if sight.life == "running":
                break
        return _Seen(workflow_id, sight)

    def _check(self, case: _Case, request: ResolveRequest) -> None:
        job, lease = case.job, case.lease
        if request.action is ResolveAction.RETRY:
            if not (case.seen.sight.pending or case.commands or case.gone):
                raise Conflict(f"nothing of job `{job.id}` waits to be tried again")
            return
        if lease is None:
            raise Conflict(
                f"job `{job.id}` holds no lease: there is nothing to release or to settle. "
                f"`cortex cancel {job.id}` ends it"
            )
        if request.action is ResolveAction.SETTLE and lease.cost is not None:
            raise Conflict(
                f"the charge of `{lease.key}` is booked already ({lease.cost}) and is never booked "
                "twice; `force_release` closes the lease"
            )
        if not request.force and not case.gone:
            self._require_stuck(case, lease)

    def _require_stuck(self, case: _Case, lease: Lease) -> None:
        """A lease that its network is still about to release well needs nobody's decision."""
        job = case.job
        if lease.state != LeaseState.RELEASING:
            raise Conflict(
                f"job `{job.id}` is `{job.state}` and its lease is not being released: nothing is "
                f"stuck. `cortex cancel {job.id}` ends it properly; with `force` it is cancelled "
                "and this decision carried out"
            )
        tried = any(step.attempt > 1 or step.error for step in case.seen.sight.pending)
        failed = any(step.error for step in lease.settle_steps)
        limit = self._settings.stuck.settling
        since = lease.releasing_at or lease.created_at
        if not (tried or failed or datetime.now(UTC) - since > limit):
            raise Conflict(
                f"the lease of job `{job.id}` is being released and nothing of it has failed: "
                f"give it {format_duration(limit)}, or say `force`"
            )

    async def _cancel(
        self, tx: Transaction, case: _Case, request: ResolveRequest, by: Principal
    ) -> Delivery | None:
        ends = request.force and request.action is not ResolveAction.RETRY
        # Of a job whose workflow is gone nobody hears a cancel: the rescue ends it.
        if not ends or case.gone or case.job.state not in CANCELLABLE_JOB_STATES:
            return None
        reason = f"resolved by hand: {request.reason}"
        return await self._control.cancel_within(tx, case.job.id, reason, by)

    async def _set_going(self, case: _Case) -> str:
        """Wake what waits. A Temporal that is away now costs only the time to the next try."""
        job_id = case.job.id
        try:
            if case.gone:
                await self._rescue(job_id)
                return "its workflow is gone: a rescue was started, which ends the job"
            woken = [
                step.activity
                for step in case.seen.sight.pending
                if await run_now(self._client, case.seen.workflow, case.seen.sight.run_id, step)
            ]
        except TemporalUnavailable as error:
            return f"{error.detail}; the decision counts at the next try"
        if woken:
            names = ", ".join(f"`{name}`" for name in woken)
            return f"{names} {'is' if len(woken) == 1 else 'are'} tried again now"
        if case.commands:
            return "what its workflow must be told is delivered now"
        return "the decision counts as soon as the lease is being released"

    async def _rescue(self, job_id: str) -> None:
        timeout = self._settings.jobs.heartbeat_timeout
        try:
            await self._client.start_workflow(
                RESCUE_WORKFLOW,
                RescueInput(job_id=job_id, heartbeat_timeout=timeout),
                id=rescue_id(job_id),
                task_queue=TASK_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=f"{job_id}: resolved by hand",
                rpc_timeout=_CALL,
            )
        except (RPCError, RuntimeError) as error:
            raise away(error) from error


async def _read(tx: Transaction, job_id: str, seen: _Seen = _NOT_SEEN) -> _Case:
    job = await tx.jobs.get(job_id)
    if job.state.terminal:
        raise JobAlreadyEnded(
            f"job `{job_id}` has ended as `{job.state}`: its books are closed, and nothing about "
            "it is changed any more"
        )
    leases = await tx.leases.of_job(job_id)
    open_ = [lease for lease in leases if lease.state != LeaseState.RELEASED]
    return _Case(job, open_[-1] if open_ else None, await tx.commands.pending(job_id), seen)


async def _rate(tx: Transaction, case: _Case, request: ResolveRequest) -> Decimal | None:
    """USD for one unit of the given amount; checks it as well."""
    if request.action is not ResolveAction.SETTLE:
        if request.amount is not None:
            raise _unfit(f"belongs to `settle` only, not to `{request.action}`")
        return None
    if request.amount is None:
        raise _unfit("is required: what is to be booked, such as `1.20 USD`; `0 USD` for nothing")
    if request.amount.amount < 0:
        raise _unfit(f"must not be negative ({request.amount})")
    if case.lease is None:
        return None
    rates = {"USD": Decimal(1)}
    for provider in await tx.providers.all():
        if provider.id == case.lease.provider_id and provider.prices is not None:
            rates[provider.prices.currency] = provider.prices.usd_rate
    rates[case.lease.offer.price_per_hour.currency] = case.lease.offer.usd_rate
    currency = request.amount.currency
    if currency not in rates:
        known = ", ".join(f"`{name}`" for name in sorted(rates))
        raise _unfit(
            f"is in {currency}, of which no rate is known at `{case.lease.provider_id}`; "
            f"give it in one of {known}"
        )
    return rates[currency]


async def _check_amount(
    tx: Transaction, lease: Lease | None, amount: Money | None, rate: Decimal | None
) -> None:
    """A slip of the hand is booked for good: without `force` not more than there can be a bill of.

    That is what is held, what the network has told so far, and the offer's price for the time that
    it has run, whichever is most.
    """
    if lease is None or amount is None or rate is None:
        return
    rates = {**lease.offer.rates(), amount.currency: rate}
    known = [await tx.ledger.held(lease), lease.reckoned(datetime.now(UTC))]
    if lease.usage is not None and lease.usage.currency in rates:
        known.append(lease.usage)
    most = max(known, key=lambda each: each.in_usd(rates[each.currency]))
    if amount.in_usd(rate) > most.in_usd(rates[most.currency]):
        raise _unfit(
            f"is {amount}, and the lease `{lease.key}` can have cost {most} at most (what is held, "
            "what its network told, or its price for the time it ran); if its bill is really "
            "higher, say `force`"
        )


async def write_down(
    tx: Transaction, job: Job, lease: Lease | None, resolution: Resolution, by: Principal
) -> None:
    """The decision, who made it, and the event; what waits to be delivered is due now.

    The caller holds the lock of the job, and has read the lease under it: its bill is not booked.
    """
    said: dict[str, Any] = {
        "amount": str(resolution.amount) if resolution.amount else None,
        "reason": resolution.reason,
        "lease": lease.key if lease else None,
        "provider": lease.provider_id if lease else None,
    }
    if lease is not None:
        await tx.leases.decide(lease.key, resolution)
    await tx.commands.hurry(job.id)
    decision = resolution.action.value
    await tx.audit.add(by, "job.resolve", job.id, decision=decision, **said)
    data = {"action": decision, **said, "by": by.name}
    await tx.events.add(EventType.JOB_RESOLVED, job.id, job_id=job.id, data=data)


def _view(case: _Case, resolution: Resolution, done: str) -> ResolutionView:
    lease = case.lease
    note = ""
    if resolution.ends and lease is not None:
        note = _ORPHAN.format(provider=lease.provider_id, key=lease.key)
    return ResolutionView(
        job_id=case.job.id,
        state=case.job.state,
        lease_key=lease.key if lease else None,
        lease_state=lease.state if lease else None,
        action=resolution.action,
        amount=resolution.amount,
        reason=resolution.reason,
        by=resolution.actor,
        at=resolution.at,
        done=done,
        note=note,
    )


def _unfit(message: str) -> InvalidRequest:
    return InvalidRequest(
        f"`amount` {message}", errors=[FieldError(field="amount", message=message)]
    )
