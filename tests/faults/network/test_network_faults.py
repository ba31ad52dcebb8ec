"""Every fault of a network at every call of a job, alone and in random pairs.

The job may complete, or fail for a reason that is told; nothing may leak, nobody pays twice. In
the suite some of the faults are tried, with `CORTEX_FAULTS=full` all of them. What is random
comes from `CORTEX_FAULTS_SEED`, which is printed.
"""

import asyncio
import itertools
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from temporalio.client import Client

from cortex.db.engine import Database
from cortex.domain.ids import job_id_of
from cortex.domain.jobs import Reason
from cortex.domain.states import JobState
from tests.faults.books import Books, read_books
from tests.faults.invariants import Violation, counts, violations
from tests.faults.network.lanes import STORIES, Lanes, Run, lanes
from tests.faults.network.plan import Call, Fault, pairs, places, singles, spread
from tests.faults.report import Progress, Row, full, record
from tests.integration.conftest import stage_on

pytestmark = [pytest.mark.faults, pytest.mark.timeout(7200)]

ALL = ("akash", "golem", "nosana", "render")
FIELDS: list[tuple[str, ...]] = [(name,) for name in ALL] if full() else [ALL[:3]]
"""Networks that are tried together."""
EACH = 6 if full() else 3
SINGLES, PAIRS = 6, 1
"""For each network, unless everything is run."""
ALL_PAIRS = 100
HONEST = {Reason.EXITED, Reason.CANCELLED, Reason.NO_CAPACITY, Reason.LEASE_LOST}
"""Why a job may end that met faults; any other reason is an error of ours."""


def seed() -> str:
    """The seed of this run."""
    return os.environ.get("CORTEX_FAULTS_SEED") or str(random.SystemRandom().randrange(10**9))


@pytest.fixture
async def field(
    request: pytest.FixtureRequest,
    database_url: str,
    database: Database,
    temporal: Client,
    tmp_path: Path,
) -> AsyncIterator[Lanes]:
    stage = await stage_on(database_url, database, temporal, tmp_path)
    async with lanes(stage, tmp_path, request.param, EACH) as made:
        yield made


@pytest.mark.parametrize("field", FIELDS, indirect=True, ids="-".join)
async def test_every_fault_at_every_call(field: Lanes, database_url: str) -> None:
    chosen, began = seed(), time.monotonic()
    sys.stdout.write(f"CORTEX_FAULTS_SEED={chosen}\n")
    plan, boundaries = await _plan(field, chosen)
    progress = Progress("network faults", len(plan))
    again = await asyncio.gather(*(_follow(field, run, progress) for run in plan))
    plan += [run for run in again if run is not None]
    books = await read_books(database_url, field.urls())
    _report(plan, books, boundaries, chosen, time.monotonic() - began)


async def _plan(field: Lanes, chosen: str) -> tuple[list[Run], Counter[str]]:
    """All runs, in an order that keeps all lanes busy; and how many calls each network got."""
    made: list[list[Run]] = []
    boundaries: Counter[str] = Counter()
    probes = await asyncio.gather(
        *(field.run(Run(name, story, ())) for name in field.free for story in _stories())
    )
    for probe in probes:
        assert probe.state == STORIES[probe.story].ends, f"the probe of {probe}"
        assert not probe.missing, f"{probe.missing} of {probe}"
        at = places(probe.calls)
        if probe.story == "cancel":  # what comes before is met by the others
            at = at[probe.before :]
        boundaries[probe.network] += len(at)
        made.append(_runs(probe, singles(at), f"{chosen}-{probe.network}-{probe.story}"))
    mixed = [run for some in itertools.zip_longest(*made) for run in some if run is not None]
    return mixed, boundaries


def _stories() -> Sequence[str]:
    return ("success", "cancel") if full() else ("success",)


def _runs(probe: Run, faults: Sequence[Fault], chosen: str) -> list[Run]:
    alone = list(faults) if full() else spread(faults, SINGLES, chosen)
    share = -(-ALL_PAIRS // (len(ALL) * len(_stories())))
    both = pairs(faults, share if full() else PAIRS, chosen)
    return [
        Run(probe.network, probe.story, each) for each in [*((fault,) for fault in alone), *both]
    ]


async def _follow(field: Lanes, run: Run, progress: Progress) -> Run | None:
    """One run; and one more if the job got along with fewer calls, so that it met no fault."""
    await field.run(run)
    again = None
    if not run.struck and (met := run.faults[0].at_the_last(run.calls)) is not None:
        again = await field.run(Run(run.network, run.story, (met,)))
    runs = [run] if again is None else [run, again]
    progress.step(sum(1 for each in runs for _ in _own(each)))
    return again


def _own(run: Run) -> Iterator[Violation]:
    """What is wrong with one run by itself, whatever the books say."""
    if not JobState(run.state).terminal:
        yield Violation("loss", run.job_id, f"it is {run.state} after {run.seconds:.0f} s")
    if run.reason and Reason(run.reason) not in HONEST:
        yield Violation("loss", run.job_id, f"it ended for a reason that is ours: {run.reason}")
    if run.missing:
        yield Violation("loss", run.job_id, run.missing)


def _report(
    plan: Sequence[Run], books: Books, boundaries: Counter[str], chosen: str, seconds: float
) -> None:
    """A row for each network; fails with all that is wrong."""
    networks = sorted({run.network for run in plan})
    lost = {row["lease_key"] for row in books.ledger if row["note"].startswith("reckoned by")}
    broken = violations(books, lost=lost)
    broken += [violation for run in plan for violation in _own(run)]
    wrong: list[str] = []
    for name in networks:
        runs = [run for run in plan if run.network == name]
        ours = {run.job_id: run for run in runs}
        bad = [violation for violation in broken if _job(violation.subject) in ours]
        record(
            Row(
                part="network faults",
                scenario=name,
                boundaries=boundaries[name],
                faults=sum(run.struck for run in runs),
                jobs=len(runs),
                seconds=seconds,
                seed=chosen,
                **counts(bad),
            )
        )
        wrong += [f"{violation}\n    in {ours[_job(violation.subject)]}" for violation in bad]
        struck = sum(1 for run in runs if run.struck)
        ends = dict(Counter(run.state for run in runs))
        sys.stdout.write(f"{name}: {len(runs)} runs, {struck} struck: {ends}\n")
        assert struck >= len(runs) / 2, f"{name}: the faults of {len(runs)} runs struck {struck}"
    wrong += [
        str(violation)
        for violation in broken
        if _job(violation.subject) not in {r.job_id for r in plan}
    ]
    assert not wrong, f"CORTEX_FAULTS_SEED={chosen}:\n" + "\n".join(wrong)


def _job(subject: str) -> str:
    """The job of a violation's subject: a job id, a lease key or the id of a network."""
    try:
        return job_id_of(subject)
    except ValueError:
        return subject


class TestPlan:
    """How places are found and met again."""

    def test_ids_become_stars(self) -> None:
        patterns = {
            Call("GET", "/v1/deployments/1234567").pattern,
            Call("GET", "/v1/deployments/7654321").pattern,
        }
        assert patterns == {"GET /v1/deployments/*"}
        assert Call("POST", "/market-api/v1/demands").pattern == "POST /market-api/v1/demands"

    def test_places_count_what_the_rule_counts(self) -> None:
        calls = [Call("GET", f"/a/{number}/b") for number in (123456, 234567)]
        calls.insert(1, Call("GET", "/a/123456"))
        assert [str(place) for place in places(calls)] == [
            "GET /a/*/b #1",
            "GET /a/* #2",
            "GET /a/*/b #2",
        ]

    def test_the_same_seed_makes_the_same_plan(self) -> None:
        faults = singles(places([Call("GET", "/x"), Call("POST", "/y"), Call("GET", "/x")]))
        assert len(faults) == 8 + 7 + 8
        assert pairs(faults, 20, "7") == pairs(faults, 20, "7") != pairs(faults, 20, "8")
        assert {fault.kind for fault in spread(faults, 8, "7")} == {f.kind for f in faults}
