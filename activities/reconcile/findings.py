"""The book of findings: what is seen for the first time, what is so no longer, each told once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio import activity

from cortex.db.engine import Database, Transaction
from cortex.domain.events import EventType
from cortex.domain.reconcile import Finding, FindingKind, Issue
from cortex.temporal.contracts import Mode

_METRIC = "cortex_reconcile_findings"
_NO_LONGER = "it is so no longer"


@dataclass(frozen=True)
class Scope:
    """What one part of a run can see."""

    kinds: frozenset[FindingKind]
    provider_id: str | None = None


class FindingsBook:
    """Writes findings down, with an event and a metric for each that comes or goes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(
        self, scope: Scope, issues: Sequence[Issue], unsure: Collection[str], mode: Mode
    ) -> list[Finding]:
        """What is open now. Whatever is open in the scope and not seen is closed.

        Args:
            scope: Of the run.
            issues: What it saw.
            unsure: Subjects of which it could see nothing: what is open of them stays so.
            mode: With `list` nothing is written.
        """
        async with self._database.transaction() as tx:
            known = await tx.findings.open(scope.kinds, provider_id=scope.provider_id)
        if mode == "list":
            return _as_if(issues, known)
        findings = [await self._see(issue) for issue in issues]
        seen = {(finding.kind, finding.subject) for finding in findings}
        for finding in known:
            if (finding.kind, finding.subject) not in seen and finding.subject not in unsure:
                await self.close(finding, _NO_LONGER)
        return findings

    async def close(self, finding: Finding, how: str) -> None:
        """It is settled: say how. Harmless to repeat."""
        async with self._database.transaction() as tx:
            closed = await tx.findings.close(finding.id, how)
            if closed is not None:
                await _tell(tx, EventType.RECONCILE_CLOSED, closed, closed=how)
        if closed is not None:
            _count(finding, "closed")

    async def _see(self, issue: Issue) -> Finding:
        async with self._database.transaction() as tx:
            finding, fresh = await tx.findings.see(issue)
            if fresh:
                await _tell(tx, EventType.RECONCILE_FOUND, finding)
        if fresh:
            _count(finding, "found")
        return finding


def _as_if(issues: Sequence[Issue], known: Sequence[Finding]) -> list[Finding]:
    """What writing down would have made of them."""
    now = datetime.now(UTC)
    since = {(finding.kind, finding.subject): finding for finding in known}
    return [
        since.get((issue.kind, issue.subject))
        or Finding(**issue.model_dump(), id="", first_seen_at=now, last_seen_at=now)
        for issue in issues
    ]


async def _tell(tx: Transaction, event: EventType, finding: Finding, **more: str) -> None:
    # No job id: these are no steps of a job, and may come after its last event.
    data = {
        **finding.data,
        "finding": finding.id,
        "kind": finding.kind.value,
        "provider": finding.provider_id,
        "message": finding.message,
        **more,
    }
    await tx.events.add(event, finding.subject, data=data)


def _count(finding: Finding, event: str) -> None:
    labels = {
        "kind": finding.kind.value,
        "provider": finding.provider_id or "",
        "event": event,
    }
    counter = activity.metric_meter().create_counter(
        _METRIC, "Findings of reconcile that were opened (`found`) and closed."
    )
    counter.add(1, labels)
