"""Reconcile: compare what is there with what is written down, and close what should not be there.

One part of a run asks one network, on that provider's queue; another one looks at the books. Both
go the same way: look, write the findings down, and do something about those that last.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.reconcile.books import Books, Mend
from activities.reconcile.findings import FindingsBook, Scope
from activities.reconcile.late_bills import LateBills
from activities.reconcile.orphans import Orphans
from activities.runtime.fleet import Fleet
from cortex.db.engine import Database
from cortex.domain.errors import DatabaseUnavailable, TemporalUnavailable
from cortex.domain.reconcile import BOOK_KINDS, PROVIDER_KINDS, Compared, Finding, FindingKind
from cortex.services.trace.stuck import tell_stuck
from cortex.settings import Settings
from cortex.temporal.contracts import Mode, ScopeInput, ScopeResult, SeenFinding
from providers.errors import ProviderError

_log = structlog.get_logger(__name__)
_AT_ONCE = 4
_TIME_TO_ACT = 240.0
_CALL = 120.0
_SHOWN = 200
_SHORTEST_WINDOW = timedelta(minutes=10)


class ReconcileActivities:
    def __init__(
        self, database: Database, fleet: Fleet, client: Client, settings: Settings
    ) -> None:
        self._database = database
        self._fleet = fleet
        self._client = client
        self._jobs = settings.jobs
        self._rules = settings.reconcile
        self._stuck = settings.stuck
        self._book = FindingsBook(database)

    @activity.defn
    async def reconcile_provider(self, chosen: ScopeInput) -> ScopeResult:
        """Ask one network. If it does not answer, that is said, and nothing follows from it."""
        provider_id = chosen.provider_id or ""
        mode = self._mode(chosen.mode)
        try:
            provider = self._fleet.get(provider_id)
            bills = LateBills(
                self._database, provider, max(2 * self._rules.every, _SHORTEST_WINDOW)
            )
            orphans = Orphans(self._database, provider, bills)
            compared = await orphans.look()
            late = await bills.look()
        except (ProviderError, TimeoutError) as error:
            why = str(error) or "it did not answer in time"
            _log.warning("reconcile.network_away", provider=provider_id, error=why)
            return ScopeResult(provider_id=provider_id, error=why)
        both = Compared([*compared.issues, *late.issues], compared.unsure | late.unsure)
        scope = Scope(PROVIDER_KINDS, provider_id)
        mends: dict[FindingKind, Mend] = {
            FindingKind.ORPHAN: orphans.close,
            FindingKind.LATE_CHARGE: bills.close,
        }
        seen = await self._settle(scope, both, mends, mode)
        if mode == "act":
            await self._drop(orphans, compared.kept)
        return _result(provider_id, orphans.owned, seen)

    @activity.defn
    async def reconcile_books(self, chosen: ScopeInput) -> ScopeResult:
        """Look at jobs, groups and holds; and tell which jobs do not get on."""
        if chosen.mode == "act":
            await tell_stuck(self._database, self._stuck)
        books = Books(self._database, self._client, self._jobs)
        try:
            compared = await books.look()
        except TemporalUnavailable as error:
            return ScopeResult(error=error.detail)
        mode = self._mode(chosen.mode)
        seen = await self._settle(Scope(BOOK_KINDS), compared, books.mends, mode)
        return _result(None, books.checked, seen)

    def _mode(self, asked: Mode) -> Mode:
        return "tell" if asked == "act" and self._rules.dry_run else asked

    async def _settle(
        self, scope: Scope, compared: Compared, mends: Mapping[FindingKind, Mend], mode: Mode
    ) -> list[SeenFinding]:
        findings = await self._book.take(scope, compared.issues, compared.unsure, mode)
        until = time.monotonic() + _TIME_TO_ACT
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(finding: Finding) -> SeenFinding:
            then, due_at = self._next(finding, mends, mode)
            if then or time.monotonic() > until:
                then = then or "Cortex goes on in the next run"
                return SeenFinding(finding=finding, next=then, due_at=due_at)
            async with slots:
                return await self._mend(finding, mends[finding.kind])

        return list(await asyncio.gather(*(one(finding) for finding in findings)))

    def _next(
        self, finding: Finding, mends: Mapping[FindingKind, Mend], mode: Mode
    ) -> tuple[str, datetime | None]:
        """What is to come and when, if nothing is done now; empty: now."""
        if finding.kind not in mends or self._foreign(finding):
            return "Cortex only tells it", None
        if mode == "tell":
            return "Cortex only tells it (`reconcile.dry_run`)", None
        due = finding.due_at(self._rules.grace)
        if due > datetime.now(UTC):
            return f"Cortex settles it in the first run after {due:%H:%M:%S} UTC", due
        return "Cortex settles it in the next run" if mode == "list" else "", None

    def _foreign(self, finding: Finding) -> bool:
        unknown = finding.kind is FindingKind.ORPHAN and finding.data.get("lease") == "unknown"
        return unknown and self._rules.unknown_keys == "tell"

    async def _mend(self, finding: Finding, mend: Mend) -> SeenFinding:
        try:
            async with asyncio.timeout(_CALL):
                how = await mend(finding)
        except DatabaseUnavailable:
            raise
        except (ProviderError, RPCError, TimeoutError, ApplicationError) as error:
            why = str(error) or "it took too long"
            return SeenFinding(finding=finding, next=f"{why}; Cortex tries again in the next run")
        except Exception as error:  # one that cannot be settled must not hide the others
            _log.exception("reconcile.bug", finding=finding.id, kind=finding.kind.value)
            why = f"internal error ({type(error).__name__}); the worker's log has the trace"
            return SeenFinding(finding=finding, next=why)
        if how is None:
            return SeenFinding(finding=finding, next=_WAITING.get(finding.kind, _TOLD))
        await self._book.close(finding, how)
        return SeenFinding(finding=finding, done=how)

    async def _drop(self, orphans: Orphans, keys: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(_CALL):
                await orphans.drop(keys, self._rules.grace)
        except (ProviderError, TimeoutError) as error:
            _log.info("reconcile.kept", error=str(error))


_TOLD = "Cortex only tells it: a bill that differs is for you to judge"
_WAITING = {
    FindingKind.GONE_WORKFLOW: "Cortex releases what it holds and closes it",
    FindingKind.LOST_START: "Cortex closes it",
}


def _result(provider_id: str | None, checked: int, seen: Sequence[SeenFinding]) -> ScopeResult:
    return ScopeResult(
        provider_id=provider_id,
        checked=checked,
        findings=tuple(seen[:_SHOWN]),
        more=max(0, len(seen) - _SHOWN),
    )
