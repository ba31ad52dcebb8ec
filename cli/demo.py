"""`cortex demo`: a whole stack, jobs that do real work, and a check of everything promised."""

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.text import Text

from cli import demo_jobs, render
from cli.commands.money import ledger_sums, open_holds
from cli.demo_jobs import Expected
from cli.errors import CliError, ExitCode
from cli.follow import summary
from cli.local import reporter
from cli.state import State
from cli.watch import Watch
from cortex.client import AsyncCortex
from cortex.domain.money.ledger import EntryKind
from cortex.domain.states import JobState
from cortex.embedded.config import StackConfig
from cortex.embedded.control import StackInfo, detach, stop_stack
from cortex.schemas.jobs import JobView
from cortex.schemas.money import LedgerView

_JOBS_TIMEOUT = 120.0


class _Interrupted(Exception):
    """Ctrl-C."""


@dataclass
class Checks:
    """What was expected, and whether it was so."""

    results: list[tuple[bool, str]] = field(default_factory=list)

    def expect(self, good: bool, what: str) -> None:
        self.results.append((good, what))

    @property
    def good(self) -> bool:
        return all(good for good, _ in self.results)


def run_demo(state: State, *, keep: bool) -> int:
    """Run it; 0 if everything was as expected, 130 after Ctrl-C.

    Args:
        state: The global options; its data folder, if given, is used and must not hold a stack.
        keep: Leave the stack running.
    """
    own_folder = state.data_dir is None
    folder = Path(tempfile.mkdtemp(prefix="cortex-demo-")) if own_folder else state.folder()
    # PostgreSQL runs as another user when we are root, and must get there.
    if own_folder:
        folder.chmod(0o711)
    checks = Checks()
    kept = False
    try:
        kept = asyncio.run(_guarded(_demo(state, folder, checks, keep=keep)))
    except _Interrupted:
        _tell(state, "\ninterrupted: cleaning up")
        return ExitCode.INTERRUPTED
    finally:
        if not kept:
            _clean_up(state, folder, remove=own_folder)
    return _verdict(state, checks)


async def _guarded(work: Any) -> bool:
    """Run it; a signal ends it in order, also while it starts something."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        return bool(await task)
    except asyncio.CancelledError:
        raise _Interrupted from None


async def _demo(state: State, folder: Path, checks: Checks, *, keep: bool) -> bool:
    began = time.monotonic()
    with _step(state, "Starting PostgreSQL, Temporal, API and worker"):
        info = await detach(StackConfig.free(folder), on_event=reporter(state, stderr=False))
    async with AsyncCortex(info.api_url, info.api_key) as cortex:
        plan = demo_jobs.plan()
        accepted = await cortex.submit_batch([expected.spec for expected in plan])
        ids = {job.id: expected for job, expected in zip(accepted.jobs, plan, strict=True)}
        _tell(state, f"\n{len(ids)} jobs accepted; they run on this machine\n", style="bold")
        try:
            jobs = await _follow(state, cortex, ids)
        except TimeoutError:
            raise CliError(f"the jobs had not ended after {_JOBS_TIMEOUT:.0f} s") from None
        for job in jobs:
            _check_job(checks, job, ids[job.id])
        await _show_results(state, cortex, checks, jobs, folder)
        await _show_money(state, cortex, checks, jobs)
        _show_links(state, info, jobs)
    _tell(state, f"\ntook {render.span(_since(began))}")
    if keep:
        _say_kept(state, info, folder)
    return keep


async def _follow(state: State, cortex: AsyncCortex, ids: dict[str, Expected]) -> list[JobView]:
    """Show the jobs live until all have ended, and cancel the one that is to be cancelled."""
    with Watch(state, {job_id: expected.spec.name for job_id, expected in ids.items()}) as watch:
        async with asyncio.timeout(_JOBS_TIMEOUT):
            async for event in cortex.events(follow=True):
                watch.take(event)
                expected = ids.get(event.cortexjob or "")
                state_now = event.data.get("state")
                if (
                    expected
                    and expected.cancel
                    and event.cortexjob
                    and state_now == JobState.RUNNING
                ):
                    await cortex.cancel(event.cortexjob, reason="the demo shows how")
                if watch.ended:
                    break
    return [await cortex.job(job_id) for job_id in ids]


def _check_job(checks: Checks, job: JobView, expected: Expected) -> None:
    as_expected = (
        job.state is expected.state
        and (expected.exit_code is None or job.exit_code == expected.exit_code)
        and job.attempt == expected.attempts
    )
    checks.expect(as_expected, f"`{job.name}` {expected.why}: {summary(job)}")
    gone = all(lease.released_at is not None for lease in job.leases)
    if not gone:
        checks.expect(False, f"`{job.name}` has a lease that was not released")


async def _show_results(
    state: State, cortex: AsyncCortex, checks: Checks, jobs: list[JobView], folder: Path
) -> None:
    primes = next(job for job in jobs if job.name == "primes")
    render.heading(state, "The result file of `primes`, downloaded and checked")
    target = folder / "results"
    for output in await cortex.outputs(primes.id):
        path = await cortex.download(primes.id, output, target)
        text = path.read_text(encoding="utf-8").strip()
        print(f"  {output.path} ({render.size(output.size)}): {render.printable(text)}")
        checks.expect(text == demo_jobs.PRIMES_RESULT, "the result of `primes` is right")
    checks.expect((target / "result.txt").is_file(), "`primes` left its result file")
    render.heading(state, "The output of `flaky`, both attempts")
    flaky = next(job for job in jobs if job.name == "flaky")
    lines = [line async for line in cortex.logs(flaky.id)]
    for line in lines:
        print(f"  attempt {line.attempt} {line.stream:<6} | {render.printable(line.text)}")
    attempts = {line.attempt for line in lines}
    checks.expect(attempts == {1, 2}, "the output of every attempt is kept")


async def _show_money(
    state: State, cortex: AsyncCortex, checks: Checks, jobs: list[JobView]
) -> None:
    entries = [entry async for entry in cortex.iter_ledger()]
    names = {job.id: job.name for job in jobs}
    render.heading(state, "The ledger (of all but the batch)")
    rows = [
        (names[entry.job_id], entry.kind.value, str(entry.amount), entry.lease_key[-6:])
        for entry in entries
        if not names[entry.job_id].startswith("batch-")
    ]
    render.table(state, ("JOB", "KIND", "AMOUNT", "LEASE"), rows, right=(2,))
    print(f"all: {ledger_sums(entries)}")
    checks.expect(not open_holds(entries), "no hold is open")
    charged = [entry.lease_key for entry in entries if entry.kind is EntryKind.CHARGE]
    leases = {lease.key for job in jobs for lease in job.leases if lease.committed_at}
    once = len(charged) == len(set(charged)) and leases == set(charged)
    checks.expect(once, f"each of the {len(leases)} leases is charged exactly once")
    checks.expect(_sums_match(entries, jobs), "the bills of the jobs add up to the ledger")


def _sums_match(entries: list[LedgerView], jobs: list[JobView]) -> bool:
    for job in jobs:
        booked = sum(
            entry.amount.amount
            for entry in entries
            if entry.job_id == job.id and entry.kind is EntryKind.CHARGE
        )
        if booked != job.cost.amount:
            return False
    return True


def _show_links(state: State, info: StackInfo, jobs: list[JobView]) -> None:
    render.heading(state, "While it runs (with --keep it goes on), a browser shows")
    primes = next(job for job in jobs if job.name == "primes")
    render.fields(
        state,
        [
            ("  API docs", info.docs_url),
            ("  Temporal Web UI", info.temporal_ui_url),
            ("  `primes` as a workflow", primes.temporal_url or ""),
        ],
    )


def _say_kept(state: State, info: StackInfo, folder: Path) -> None:
    _tell(state, "\nThe stack goes on (--keep). To use it:")
    _tell(state, f"  export CORTEX_DATA_DIR={folder}")
    _tell(state, "  cortex jobs")
    _tell(state, f"To stop it and remove its data:\n  cortex down && rm -r {folder}")


def _verdict(state: State, checks: Checks) -> int:
    render.heading(state, "As promised?")
    shown = [result for result in checks.results if not result[0]] or checks.results
    console = render.console(state)
    batch = sum("`batch-" in what for _, what in shown)
    for good, what in shown:
        if good and "`batch-" in what:
            continue
        mark, style = ("yes", "green") if good else ("NO ", "bold red")
        console.print(f"  {mark}  {render.printable(what)}", style=style, soft_wrap=True)
    if batch and checks.good:
        console.print(f"  yes  all {batch} jobs of the batch completed", style="green")
    return ExitCode.OK if checks.good and checks.results else ExitCode.FAILED


def _clean_up(state: State, folder: Path, *, remove: bool) -> None:
    """Stop everything; a second Ctrl-C must not leave processes behind."""
    with _deaf():
        _tell(state, "\nstopping the stack")
        asyncio.run(stop_stack(folder))
        if remove:
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                _tell(state, f"{folder} could not be removed completely", style="bold red")


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in old:
        signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _step(state: State, text: str) -> Iterator[None]:
    _tell(state, text, style="bold")
    began = time.monotonic()
    yield
    _tell(state, f"  all ready in {render.span(_since(began))}", style="green")


def _tell(state: State, text: str, *, style: str = "") -> None:
    """On stdout: all of the demo is what was asked for, and stays in order."""
    render.console(state).print(Text(text, style=style), soft_wrap=True)
    sys.stdout.flush()


def _since(began: float) -> timedelta:
    return timedelta(seconds=time.monotonic() - began)
