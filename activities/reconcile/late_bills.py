"""Bills that a network shows after the books of a lease were closed."""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from activities.jobs.bills import bill_rate
from cortex.db.engine import Database
from cortex.domain.events import EventType, NewEvent
from cortex.domain.leases import Lease
from cortex.domain.offers import Usage
from cortex.domain.reconcile import Compared, Finding, FindingKind, late_charge
from cortex.domain.trace.resolution import resolution_of
from providers.errors import LeaseLost, ProviderError
from providers.registry import AnyProvider

_log = structlog.get_logger(__name__)
_BY_HAND = timedelta(days=7)
_TOLD = timedelta(days=30)
_AT_ONCE = 5
_CALL = 30.0
_NOTE = "billed late by the network; booked by reconcile"


class LateBills:
    """Of one provider, in one run."""

    def __init__(self, database: Database, provider: AnyProvider, window: timedelta) -> None:
        self._database = database
        self._provider = provider
        self._window = window
        self._bills: dict[str, tuple[Lease, Usage]] = {}

    async def look(self) -> Compared:
        """Ask for the bills of leases that were settled lately, or are known to differ."""
        now = datetime.now(UTC)
        async with self._database.transaction() as tx:
            open_ = await tx.findings.open({FindingKind.LATE_CHARGE}, provider_id=self._provider.id)
            leases = await tx.survey.settled(
                self._provider.id,
                now - self._window,
                now - _BY_HAND,
                [finding.subject for finding in open_],
            )
        compared = Compared()
        slots = asyncio.Semaphore(_AT_ONCE)

        async def ask(lease: Lease) -> None:
            async with slots:
                await self._ask(lease, compared)

        await asyncio.gather(*(ask(lease) for lease in leases))
        # What a network has forgotten since it told another bill stays told, for a while.
        told = {known.subject for known in open_ if now - known.first_seen_at < _TOLD}
        compared.unsure |= told - self._bills.keys()
        return compared

    async def _ask(self, lease: Lease, compared: Compared) -> None:
        if lease.ref is None:
            return
        try:
            async with asyncio.timeout(_CALL):
                bill = await self._provider.usage(lease.ref)
        except LeaseLost:
            return  # the usual answer: it was told to forget the lease
        except (ProviderError, TimeoutError) as error:
            compared.unsure.add(lease.key)
            _log.info("reconcile.no_bill", lease=lease.key, error=str(error))
            return
        self._bills[lease.key] = (lease, bill)
        issue = late_charge(lease, bill)
        if issue is not None:
            compared.issues.append(issue)

    async def close(self, finding: Finding) -> str | None:
        """Book it if nothing was; a bill that differs is for a person to judge: it is only told."""
        lease, bill = self._bills[finding.subject]
        return await self._book(lease, bill)

    async def after_orphan(self, lease: Lease, bill: Usage) -> str:
        """The bill of an orphan whose lease is closed: book it, or tell that it differs."""
        issue = late_charge(lease, bill)
        if issue is None:
            return ""
        return await self._book(lease, bill) or issue.message

    async def _book(self, lease: Lease, bill: Usage) -> str | None:
        cost = bill.cost.billed()
        rate = await bill_rate(self._provider, lease, cost.currency)
        if not cost.amount or rate is None:
            return None
        async with self._database.transaction() as tx:
            await tx.jobs.lock(lease.job_id)
            now = await tx.leases.get(lease.key)
            decided = resolution_of(now)
            if now.cost is not None and (now.cost.amount or (decided and decided.ends)):
                return None
            if not await tx.ledger.charge_late(now, cost, rate, note=_NOTE):
                return None
            await tx.leases.set_cost(lease.key, cost)
            await tx.jobs.add_cost(lease.job_id, (cost * rate).rounded().amount)
            data = {"amount": str(cost), "provider": lease.provider_id, "lease": lease.key}
            event = NewEvent.of_job(EventType.CHARGE_BOOKED, lease.job_id, {**data, "note": _NOTE})
            await tx.events.add_many([event])
        return f"{cost} are booked"
