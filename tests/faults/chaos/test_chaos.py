"""A thousand jobs on four simulated networks, while everything under them is killed and stopped.

Three workers compete, one of them with a wrong clock. Every POST comes at least twice, every tenth
job is cancelled, some workflows are terminated by hand. When the storm is over all must end, and
the books of database, networks and event sink must agree. `CORTEX_FAULTS_SEED` chooses the storm.
"""

import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from providers.conformance import Patience
from tests.faults.books import Books, read_books
from tests.faults.chaos.clock import wrong_clock
from tests.faults.chaos.log import ActionLog
from tests.faults.chaos.storm import Storm, Weather
from tests.faults.chaos.users import NETWORKS, Users, Wish, wishes
from tests.faults.chaos.workers import ExtraWorker, extra_workers
from tests.faults.invariants import Violation, counts, violations
from tests.faults.report import Progress, Row, full, record
from tests.faults.sink import Sink, install, settings, sink
from tests.support import eventually
from tests.support.runs import clear
from tests.support.stack import Stack, running_stack

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

_WRONG_BY = timedelta(seconds=75)
_RECONCILED = 60.0
"""Seconds: the grace of reconcile below, and twice the time between two of its runs, and more."""
_ENDED = "state IN ('completed', 'failed', 'cancelled')"
_EVENTS = "SELECT id, job_id, subject FROM events ORDER BY tx, seq"


@dataclass(frozen=True)
class Size:
    """How big a storm is."""

    jobs: int
    at_once: int
    seconds: float
    within: float
    """How long all may take to end when the storm is over."""
    weather: Weather


SMALL = Size(60, 60, 20.0, 150.0, Weather((0.5, 2.0), (0.5, 2.5), (8.0, 10.0), 2, 2))
FULL = Size(int(os.environ.get("CORTEX_FAULTS_JOBS", "1000")), 60, 240.0, 900.0, Weather())


async def test_a_storm(stack_folder: Path) -> None:
    size = FULL if full() else SMALL
    seed = os.environ.get("CORTEX_FAULTS_SEED") or str(random.SystemRandom().randrange(10**9))
    sys.stdout.write(f"CORTEX_FAULTS_SEED={seed}\n")
    site = install(stack_folder / "site")
    async with sink(seed) as hook:
        environment = {**_settings(), **settings(site, hook.url)}
        try:
            async with running_stack(stack_folder / "stack", environment, simulators=True) as stack:
                await _online(stack)
                await _Run(stack, hook, seed, size, stack_folder).live()
        finally:  # a storm that ended badly leaves commands that nobody will end
            for runs in (stack_folder / "stack" / "simulators").glob("*/runs"):
                await clear(runs)


def _settings() -> dict[str, str]:
    return {
        "CORTEX_JOBS__HEARTBEAT_TIMEOUT": "6s",
        "CORTEX_MONITOR__HEARTBEAT_TIMEOUT": "6s",
        "CORTEX_RECONCILE__EVERY": "10s",
        "CORTEX_RECONCILE__GRACE": "20s",
    }


async def _online(stack: Stack) -> None:
    async def check() -> bool:
        providers = await stack.client.providers()
        return {provider.id for provider in providers if provider.status == "online"} >= set(
            NETWORKS
        )

    await eventually(check, within=90, what="all simulated networks online")


class _Run:
    """One storm from the first job to the last check."""

    def __init__(self, stack: Stack, hook: Sink, seed: str, size: Size, folder: Path) -> None:
        self.stack = stack
        self.hook = hook
        self.seed = seed
        self.size = size
        self.folder = folder
        self.log = ActionLog()
        self.ran = folder / "ran"
        config = stack.config
        self.users = Users(
            config.api_url, config.api_key, seed, self.log, self._unfinished, size.at_once
        )
        self.progress = Progress("chaos", size.jobs)
        self.books = Books()
        self._ended = 0

    async def live(self) -> None:
        """Raises AssertionError with all that is wrong, and says where to look."""
        try:
            await self._live()
        except Exception as error:
            kept = self._keep(str(error))
            error.add_note(
                f"CORTEX_FAULTS_SEED={self.seed}; books, actions and log files are in {kept}"
            )
            raise
        if os.environ.get("CORTEX_FAULTS_KEEP"):
            sys.stdout.write(f"kept in {self._keep('')}\n")

    async def _live(self) -> None:
        began = time.monotonic()
        self.ran.mkdir(mode=0o777)
        wanted = wishes(self.size.jobs, self.seed, self.ran)
        workers = self._workers()
        storm = Storm(self.stack, workers, self.hook, self.seed, self.size.weather, self.log)
        broken: list[Violation] = []
        async with AsyncExitStack() as running:
            await running.enter_async_context(extra_workers(workers))
            living = asyncio.create_task(self.users.live(wanted))
            await asyncio.gather(*(worker.ready() for worker in workers))
            async with storm.raging():
                # At least so long, and until the last job is accepted.
                await asyncio.gather(living, asyncio.sleep(self.size.seconds))
            broken += await self._all_end()
            broken += await self._all_told()
            broken += await self._check(wanted, storm)
        self._report(broken, wanted, storm, time.monotonic() - began)

    def _workers(self) -> list[ExtraWorker]:
        environment = self.stack.environment()
        wrong = wrong_clock(self.folder, _WRONG_BY)
        self.log.note("clock", "worker-3", f"+{_WRONG_BY}" if wrong else "right: no C compiler")
        return [
            ExtraWorker("worker-2", environment, self.folder),
            ExtraWorker("worker-3", {**environment, **wrong}, self.folder),
        ]

    async def _unfinished(self) -> int:
        """How many accepted jobs have not ended; a full house while the database is away."""
        try:
            rows = await self.stack.rows(
                f"SELECT count(*) AS n, count(*) FILTER (WHERE {_ENDED}) AS ended FROM jobs"
            )
        except psycopg.Error:
            return self.size.at_once
        ended = int(str(rows[0]["ended"]))
        for _ in range(ended - self._ended):
            self.progress.step()
        self._ended = max(ended, self._ended)
        return int(str(rows[0]["n"])) - ended

    async def _all_end(self) -> list[Violation]:
        """Within a limit; one that does not is told by the invariants."""

        async def check() -> bool:
            return await self._unfinished() == 0

        return await self._within(check, "jobs have not ended")

    async def _all_told(self) -> list[Violation]:
        """The sink gets the rest; events may still be written while it does."""

        async def check() -> bool:
            return not self.hook.missing(await self.stack.rows(_EVENTS))

        return await self._within(check, "events have not arrived")

    async def _within(self, check: Callable[[], Awaitable[bool]], what: str) -> list[Violation]:
        waiting = Patience(self.size.within)
        while not waiting.over:
            try:
                if await check():
                    return []
            except psycopg.Error:
                pass
            await asyncio.sleep(0.5)
        return [Violation("loss", "(all)", f"{what} {self.size.within:g} s after the storm")]

    async def _check(self, wanted: list[Wish], storm: Storm) -> list[Violation]:
        broken = await self._settled(wanted)
        books = self.books
        broken += [Violation("loss", "(user)", problem) for problem in self.users.problems]
        broken += [
            Violation("loss", "(sink)", problem)
            for problem in self.hook.problems(await self.stack.rows(_EVENTS))
        ]
        return broken + self._unlike(books, storm)

    async def _settled(self, wanted: list[Wish]) -> list[Violation]:
        """What is wrong once reconcile has had its time.

        A worker that was stopped in the midst of a creation may be cancelled with the answer: what
        it made beside the lease in use then belongs to no step, and reconcile closes it.
        """
        waiting = Patience(_RECONCILED)
        while True:
            broken = await self._wrong(wanted)
            if waiting.over or not any(violation.kind == "leak" for violation in broken):
                return broken
            await asyncio.sleep(1)

    async def _wrong(self, wanted: list[Wish]) -> list[Violation]:
        urls = self.stack.config.simulator_urls()
        books = await read_books(
            self.stack.config.database_url,
            {name: urls[name.removesuffix("-sim")] for name in NETWORKS},
        )
        self.books = books
        runs = {wish.job_id: self._count(wish) for wish in wanted if wish.job_id}
        lost = {str(row["lease_key"]) for row in books.ledger if _reckoned(row["note"])}
        return violations(books, accepted=set(self.users.accepted), runs=runs, lost=lost)

    def _count(self, wish: Wish) -> int:
        """How often its command began."""
        file = self.ran / str(wish.number)
        return len(file.read_text().splitlines()) if file.exists() else 0

    def _unlike(self, books: Books, storm: Storm) -> list[Violation]:
        """Undisturbed jobs end as their command says, or fail for a reason that is told."""
        unlike = []
        for job in books.jobs:
            wish = self.users.accepted.get(job["id"])
            if wish is None or wish.cancel_after is not None or job["id"] in storm.terminated:
                continue
            if job["reason"] == "exited":
                state = "failed" if wish.exit_code else "completed"
                if (job["state"], job["exit_code"]) != (state, wish.exit_code):
                    why = f"{job['state']} with {job['exit_code']}, its command {wish.exit_code}"
                    unlike.append(Violation("loss", job["id"], why))
            elif job["reason"] not in ("lease_lost", "no_capacity"):
                why = f"{job['state']} for {job['reason']}: {job['message'][:200]}"
                unlike.append(Violation("loss", job["id"], why))
        return unlike

    def _report(
        self, broken: list[Violation], wanted: list[Wish], storm: Storm, seconds: float
    ) -> None:
        done = {name: n for name, n in self.log.counts.items() if name not in ("cancel", "calm")}
        faults = sum(done.values()) + self.hook.refused + self.hook.lost
        scenario = f"{len(wanted)} jobs, {len(NETWORKS)} networks, 3 workers"
        row = Row(
            part="chaos",
            scenario=scenario,
            faults=faults,
            jobs=len(self.users.accepted),
            seconds=seconds,
            seed=self.seed,
            **counts(broken),
        )
        record(row)
        ends = Counter((job["state"], job["reason"]) for job in self.books.jobs)
        sys.stdout.write(
            f"{len(wanted)} jobs, {self.users.posts} POSTs, {dict(self.log.counts)}, "
            f"{len(self.hook.got)} deliveries ({self.hook.refused} refused, {self.hook.lost} "
            f"answers lost), {len(storm.terminated)} terminated, {seconds:.0f} s: "
            f"{ {' '.join(map(str, end)): n for end, n in sorted(ends.items())} }\n"
        )
        assert not broken, f"{len(broken)} violations:\n" + "\n".join(map(str, broken))

    def _keep(self, wrong: str) -> Path:
        """What is needed to find out: books, actions, log files."""
        kept = Path(tempfile.mkdtemp(prefix=f"ctx-chaos-{self.seed}-"))
        (kept / "actions.log").write_text("\n".join(self.log.lines) + "\n")
        (kept / "wrong.txt").write_text(f"{wrong}\n")
        books = {name: getattr(self.books, name) for name in ("jobs", "history", "leases")}
        books |= {name: getattr(self.books, name) for name in ("ledger", "events", "networks")}
        (kept / "books.json").write_text(json.dumps(books, default=str, indent=1))
        shutil.copytree(self.stack.config.logs_dir, kept / "logs")
        for file in self.folder.glob("worker-*.log"):
            shutil.copy(file, kept / "logs")
        return kept


def _reckoned(note: str) -> bool:
    return note.startswith("reckoned by Cortex")
