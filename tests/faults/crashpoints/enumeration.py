"""Every boundary of a scenario: found by a run without a fault, then broken in one run each."""

import asyncio
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.crashpoints.house import House, Lane
from tests.faults.crashpoints.scenarios import Scenario, wrong_end
from tests.faults.crashpoints.stage import Boundary, Role, Stage, boundaries, open_stage
from tests.faults.invariants import Violation, counts, violations
from tests.faults.report import Progress, Row, record
from tests.support import eventually

_LINGER = 0.3
"""After the end: what belongs to it and is under way may still be done."""
Deaths = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Result:
    """What one run came to."""

    label: str
    folder: Path
    violations: tuple[Violation, ...]
    kills: int
    jobs: int
    trace: tuple[Boundary, ...]
    """The boundaries of the victim's first process."""
    second: tuple[Boundary, ...]
    """Those of the one that took over."""

    def __str__(self) -> str:
        told = "\n".join(f"    {violation}" for violation in self.violations)
        return f"{self.label} (plan, logs and histories in {self.folder}):\n{told}"


@dataclass
class Enumeration:
    """All runs of one scenario."""

    house: House
    scenario: Scenario
    lanes: Sequence[Lane]
    folder: Path
    args: Mapping[str, Any] = field(default_factory=dict)
    limit: float | None = None
    """Seconds after which a run is stuck; None: as the scenario says."""
    results: list[Result] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    _runs: int = 0

    async def probe(self) -> list[Boundary]:
        """The boundaries up to the scenario's natural end.

        Raises:
            AssertionError: it does not end well even without a fault.
        """
        result = await self._run(self.lanes[0], "without a fault", ())
        assert not result.violations, str(result)
        assert result.trace
        return _of_the_job(result.trace) if not self.scenario.startup else list(result.trace)

    async def each(self, chosen: Sequence[Sequence[Boundary]]) -> None:
        """Die at each of these, in as many lanes as there are.

        Of several boundaries the second is that of the process that took over, and so on.
        """
        progress = Progress(f"crash points, {self.scenario.name}", len(chosen))
        waiting = list(reversed(chosen))

        async def work(lane: Lane) -> None:
            while waiting:
                one = waiting.pop()
                result = await self._strike(lane, one)
                self.results.append(result)
                progress.step(len(result.violations))

        async with asyncio.TaskGroup() as tasks:
            for lane in self.lanes:
                tasks.create_task(work(lane))

    async def _strike(self, lane: Lane, chosen: Sequence[Boundary]) -> Result:
        """One run with its kills; again if it never came to the place."""
        label = ", then ".join(str(boundary) for boundary in chosen)
        deaths = [boundary.plan() for boundary in chosen]
        for _ in range(2):
            result = await self._run(lane, label, deaths)
            if result.kills >= len(chosen) or result.violations:
                return result
        self.unreached.append(label)
        return result

    async def _run(self, lane: Lane, label: str, deaths: Deaths) -> Result:
        self._runs += 1
        folder = self.folder / f"{self._runs:04}"
        scenario = self.scenario
        async with open_stage(
            self.house,
            lane,
            folder,
            scenario.networks,
            api=scenario.api,
            deaths={scenario.victim: deaths},
            settings=scenario.settings,
            args=self.args,
        ) as stage:
            stuck = await _play(scenario, stage, self.limit or scenario.limit)
            result = await self._judge(stage, label, stuck)
        if not result.violations:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        return result

    async def _judge(self, stage: Stage, label: str, stuck: str) -> Result:
        victim = _victim(stage, self.scenario.victim)
        first, second = boundaries(victim.trace(0)), boundaries(victim.trace(1))
        books = await stage.books()
        broken = violations(books, accepted=stage.jobs, runs=stage.begun(), lost=stage.lost)
        if stuck:
            broken.append(Violation("loss", "the scenario", stuck))
        else:
            wrong = wrong_end(self.scenario, stage, books)
            broken += [Violation("loss", "the scenario", why) for why in wrong]
        keepers = [stage.worker, *([stage.api] if stage.api else [])]
        broken += [Violation("loss", "a process", why) for keep in keepers for why in keep.broke]
        if broken:
            await stage.save_histories()
            lines = [label, *(str(violation) for violation in broken)]
            (stage.folder / "violations.txt").write_text("\n".join(lines) + "\n")
        return Result(
            f"{self.scenario.name}, {label}",
            stage.folder,
            tuple(broken),
            victim.killed,
            len(books.jobs),
            tuple(first),
            tuple(second),
        )

    def report(self, enumerated: int, began: float, *, suffix: str = "") -> None:
        """Tell the report of these runs, and fail if anything was violated."""
        broken = [violation for result in self.results for violation in result.violations]
        record(
            Row(
                part="crash points",
                scenario=self.scenario.name + suffix,
                boundaries=enumerated,
                faults=sum(result.kills for result in self.results),
                jobs=sum(result.jobs for result in self.results),
                seconds=time.monotonic() - began,
                **counts(broken),
            )
        )
        wrong = [str(result) for result in self.results if result.violations]
        assert not wrong, f"{len(wrong)} of {len(self.results)} runs\n" + "\n".join(wrong)


async def _play(scenario: Scenario, stage: Stage, limit: float) -> str:
    """Play it to its end; says why it is stuck, if it is."""
    if scenario.before is not None:
        await scenario.before(stage)
    for keeper in (stage.worker, stage.api):
        if keeper is not None:
            await keeper.start()
    try:
        async with asyncio.timeout(limit):
            await scenario.play(stage)
            await _ends(scenario, stage)
    except TimeoutError:
        return f"it was not over after {limit:.0f} s: {await _where(stage)}"
    except Exception as error:  # whatever it is, it is told with the boundary
        return f"{type(error).__name__}: {error}: {await _where(stage)}"
    finally:
        if scenario.before is not None:
            await stage.calm()
    return ""


async def _ends(scenario: Scenario, stage: Stage) -> None:
    """Until all is over, and a kill that was still to come has come."""
    victim = _victim(stage, scenario.victim)
    killed = -1
    while killed != victim.killed:
        killed = victim.killed
        await eventually(stage.over, within=600, what="the end of everything")
        await asyncio.sleep(_LINGER)


async def _where(stage: Stage) -> str:
    rows = await stage.rows("SELECT id, state, message FROM jobs ORDER BY id")
    told = [f"{row['id']} is {row['state']} ({row['message'][:120]})" for row in rows]
    return "; ".join(told) or "no job was accepted"


def _of_the_job(trace: Sequence[Boundary]) -> list[Boundary]:
    """Those from the first that has to do with the job: the rest is enumerated elsewhere."""
    starts = [
        n for n, boundary in enumerate(trace) if boundary.where.startswith("before start Job")
    ]
    return list(trace[starts[0] if starts else 0 :])


def spread(items: Sequence[Boundary], count: int) -> list[Boundary]:
    """So many of them, evenly from the first to the last."""
    if count >= len(items):
        return list(items)
    return [items[round(n * (len(items) - 1) / max(count - 1, 1))] for n in range(count)]


def _victim(stage: Stage, role: Role) -> Any:
    return stage.api if role == "api" else stage.worker
