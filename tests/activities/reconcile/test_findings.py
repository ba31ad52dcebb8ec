"""The book of findings: each that comes or goes is told and counted once."""

from datetime import timedelta

from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig
from temporalio.testing import ActivityEnvironment

from activities.reconcile.findings import FindingsBook, Scope
from cortex.db.engine import Database
from cortex.domain.reconcile import BOOK_KINDS, Finding, FindingKind, Issue, unserved

SCOPE = Scope(BOOK_KINDS)


class Counted:
    """Runs as an activity of a worker with metrics."""

    def __init__(self, database: Database) -> None:
        self.book = FindingsBook(database)
        self._buffer = MetricBuffer(1000)
        runtime = Runtime(telemetry=TelemetryConfig(metrics=self._buffer))
        self._env = ActivityEnvironment()
        self._env.metric_meter = runtime.metric_meter

    async def take(self, *issues: Issue, unsure: frozenset[str] = frozenset()) -> list[Finding]:
        async def run() -> list[Finding]:
            return await self.book.take(SCOPE, issues, unsure, "act")

        return await self._env.run(run)

    async def close(self, finding: Finding) -> None:
        async def run() -> None:
            await self.book.close(finding, "by hand")

        await self._env.run(run)

    def counts(self) -> list[tuple[str, str, str]]:
        """Name, kind and event of all that was counted since the last time."""
        return [
            (point.metric.name, str(point.attributes["kind"]), str(point.attributes["event"]))
            for point in self._buffer.retrieve_updates()
            if point.metric.name.startswith("cortex_")
        ]


async def events(database: Database) -> list[str]:
    async with database.transaction() as tx:
        return [event.type.value for event in await tx.events.page(None)]


async def test_each_is_told_and_counted_once(database: Database) -> None:
    world = Counted(database)
    issue = unserved("p", ["key"])
    (first,) = await world.take(issue)
    (again,) = await world.take(issue)
    assert (again.id, again.first_seen_at) == (first.id, first.first_seen_at)
    assert again.last_seen_at > first.last_seen_at
    assert world.counts() == [("cortex_reconcile_findings", "unserved", "found")]
    assert not await world.take()
    assert not await world.take()
    assert world.counts() == [("cortex_reconcile_findings", "unserved", "closed")]
    assert await events(database) == ["reconcile.found", "reconcile.closed"]
    (anew,) = await world.take(issue)
    assert anew.id != first.id


async def test_what_nothing_is_known_of_stays_open(database: Database) -> None:
    world = Counted(database)
    (opened,) = await world.take(unserved("p", ["key"]))
    assert not await world.take(unsure=frozenset({"p"}))
    async with database.transaction() as tx:
        assert [finding.id for finding in await tx.findings.open(BOOK_KINDS)] == [opened.id]


async def test_closing_twice_tells_once(database: Database) -> None:
    world = Counted(database)
    (finding,) = await world.take(unserved("p", ["key"]))
    await world.close(finding)
    await world.close(finding)
    assert await events(database) == ["reconcile.found", "reconcile.closed"]
    async with database.transaction() as tx:
        (closed,) = await tx.findings.page(open_only=False, kind=FindingKind.UNSERVED)
    assert closed.data["closed"] == "by hand"
    (still,) = await world.take(unserved("p", ["key"]))
    async with database.transaction() as tx:
        assert await tx.findings.expire(timedelta(days=1)) == 0
        assert await tx.findings.expire(timedelta(0)) == 1
        left = await tx.findings.page(open_only=False)
    assert [finding.id for finding in left] == [still.id]
