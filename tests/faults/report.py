"""`make faults`: runs everything in this folder in full, and prints one table of what came of it.

A test tells what it did with `record`; beside that `Progress` says how far long work is. Rows are
lines of JSON in the file that `CORTEX_FAULTS_REPORT` names, so that any process may add some.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
REPORT = "CORTEX_FAULTS_REPORT"
MODE = "CORTEX_FAULTS"
_EVERY = 10.0
_COUNTS = ("boundaries", "faults", "jobs", "leaks", "losses", "double_charges")


class Row(BaseModel):
    """What one scenario came to. The last three counts must be 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: str
    """Which proof: `crash points`, `network`, `chaos`, `model`…"""
    scenario: str
    boundaries: int = 0
    """How many places were enumerated where a fault can strike."""
    faults: int = 0
    """How many did."""
    jobs: int = 0
    leaks: int = 0
    """Leases alive, reservations and holds open after the end."""
    losses: int = 0
    """Jobs without an end, results, events or history lost, and whatever else is broken."""
    double_charges: int = 0
    """Charged or run twice, or not what the network bills."""
    seconds: float = 0
    seed: str = ""

    @property
    def clean(self) -> bool:
        return not (self.leaks or self.losses or self.double_charges)


def full() -> bool:
    """Whether everything is to be run (`make faults`), and not a part that is quick."""
    return os.environ.get(MODE) == "full"


def record(row: Row) -> None:
    """Add a row to the report; without `make faults` nobody collects any."""
    path = os.environ.get(REPORT)
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(row.model_dump_json() + "\n")


class Progress:
    """Tells how far long work is, at most every ten seconds and only if everything is run."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._began = self._told = time.monotonic()
        self.done = 0
        self.violations = 0

    def step(self, violations: int = 0) -> None:
        """One more is done, and found so many violations."""
        self.done += 1
        self.violations += violations
        now = time.monotonic()
        if full() and (now - self._told >= _EVERY or violations or self.done == self._total):
            self._told = now
            _say(self._line(now))

    def _line(self, now: float) -> str:
        rate = self.done / max(now - self._began, 0.001)
        left = (self._total - self.done) / rate if rate else 0.0
        violations = f", {self.violations} VIOLATIONS" if self.violations else ""
        return (
            f"{self._what}: {self.done} of {self._total}, "
            f"{rate:.2f} a second, {left:.0f} s left{violations}"
        )


def read(path: Path) -> list[Row]:
    """All rows of a report."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Row.model_validate_json(line) for line in lines if line.strip()]


def table(rows: Sequence[Row]) -> Table:
    """The rows by part, and their totals."""
    shown = Table(title="Faults", show_footer=True)
    totals = {name: sum(getattr(row, name) for row in rows) for name in _COUNTS}
    shown.add_column("part", footer="all")
    shown.add_column("scenario", footer=str(len(rows)))
    for name in _COUNTS:
        shown.add_column(name.replace("_", " "), footer=str(totals[name]), justify="right")
    shown.add_column("seconds", footer=f"{sum(r.seconds for r in rows):.0f}", justify="right")
    shown.add_column("seed")
    for row in sorted(rows, key=lambda row: row.part):
        counts = [str(getattr(row, name)) for name in _COUNTS]
        style = None if row.clean else "bold red"
        cells = [row.part, row.scenario, *counts, f"{row.seconds:.0f}", row.seed]
        shown.add_row(*cells, style=style)
    return shown


def verdict(rows: Sequence[Row], tests_passed: bool) -> int:
    """The exit code: 0 only if everything ran, passed and left nothing behind."""
    return 0 if rows and tests_passed and all(row.clean for row in rows) else 1


def main(arguments: Sequence[str]) -> int:
    """Run the tests in full; `arguments` go to pytest."""
    folder = Path(tempfile.mkdtemp(prefix="ctx-faults-"))
    report = Path(os.environ.get(REPORT) or folder / "rows.jsonl")
    kept = folder / "tests"
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-s", f"--basetemp={kept}"]
    environment = {**os.environ, MODE: "full", REPORT: str(report)}
    done = subprocess.run(
        [*command, "tests/faults", *arguments], cwd=ROOT, env=environment, check=False
    )
    rows = read(report)
    Console(width=max(Console().width, 140)).print(table(rows))
    code = verdict(rows, done.returncode == 0)
    if code:
        _say(f"red (pytest ended with {done.returncode}); what is left of it is in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return code


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
