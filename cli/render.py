"""How things look: tables and times for people, JSON for programs."""

import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

import orjson
from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.state import State, is_terminal
from cortex.domain.money import Money
from cortex.domain.states import JobState
from cortex.schemas.jobs import JobSummary

Row = Sequence[str]

# Between two columns, as much as at both edges together.
_GAP = 2

STYLES = {
    "completed": "green",
    "failed": "bold red",
    "cancelled": "yellow",
    "cancelling": "yellow",
    "running": "cyan",
    "ready": "green",
    "ok": "green",
    "up": "green",
    "died": "bold red",
    "failing": "bold red",
    "absent": "yellow",
    "unavailable": "bold red",
    "down": "bold red",
}


def print_json(*items: BaseModel) -> None:
    """Each as one line of JSON."""
    for model in items:
        sys.stdout.write(model.model_dump_json() + "\n")
    sys.stdout.flush()


def table(
    state: State,
    columns: Row,
    rows: Iterable[Row],
    *,
    right: Sequence[int] = (),
    spare: Sequence[int] = (),
) -> None:
    """A table on stdout: drawn for a terminal; aligned, whole and plain for anything else.

    Args:
        state: The global options.
        columns: Their headings.
        rows: Their texts.
        right: Numbers of the columns that are aligned to the right.
        spare: Numbers of the columns that a narrow terminal does without, the first one first.
    """
    clean = [[printable(cell) for cell in row] for row in rows]
    if is_terminal(sys.stdout):
        out = console(state)
        out.print(drawn(columns, clean, right=right, spare=spare, width=out.width))
        return
    widths = [max(map(len, column)) for column in zip(columns, *clean, strict=True)]
    for row in (columns, *clean):
        cells = (
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join(cells).rstrip())


def drawn(
    columns: Row,
    rows: Iterable[Row],
    *,
    right: Sequence[int] = (),
    spare: Sequence[int] = (),
    width: int | None = None,
) -> Table:
    """The table as Rich draws it, without `spare` columns where it would be wider than `width`."""
    body = [[printable(cell) for cell in row] for row in rows]
    shown = _fitting([columns, *body], spare, width)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="bold")
    for number in shown:
        justify: Literal["left", "right"] = "right" if number in right else "left"
        table.add_column(columns[number], justify=justify, overflow="fold")
    for row in body:
        table.add_row(*(Text(row[number], style=STYLES.get(row[number], "")) for number in shown))
    return table


def _fitting(rows: Sequence[Row], spare: Sequence[int], width: int | None) -> list[int]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    shown = list(range(len(widths)))
    for number in spare:
        if width is None or sum(widths[kept] + _GAP for kept in shown) <= width:
            break
        shown.remove(number)
    return shown


def fields(state: State, pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values, one a line; empty values are left out."""
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    out = console(state)
    for name, value in shown:
        text = Text.assemble((name.ljust(width), "bold"), "  ")
        text.append(printable(value), style=STYLES.get(value, ""))
        out.print(text, soft_wrap=True)


def heading(state: State, text: str) -> None:
    console(state).print(Text(f"\n{text}", style="bold"), soft_wrap=True)


def console(state: State, *, stderr: bool = False) -> Console:
    """A console without surprises: no markup, no guessing at what to colour."""
    return Console(
        stderr=stderr,
        no_color=not state.color,
        highlight=False,
        markup=False,
        emoji=False,
    )


def say(state: State, text: str, *, style: str = "") -> None:
    """A line for people, on stderr: stdout belongs to the data."""
    console(state, stderr=True).print(Text(text, style=style), soft_wrap=True)


def notes(state: State, lines: Iterable[str]) -> None:
    """What is to be noted of the input, such as how a value was read; on stderr."""
    for line in lines:
        say(state, f"note: {line}")


def printable(text: str) -> str:
    """The text without characters that would steer the terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def command(words: Sequence[str]) -> str:
    """A command as one would type it, on one line; a script's line ends become `⏎`."""
    return shlex.join(words)[:2000].replace("\n", " ⏎ ")


def cores(count: object) -> str:
    return f"{count} core" if str(count) == "1" else f"{count} cores"


def money(amount: Money | None) -> str:
    """`0.0042 USD`; `-` if there is none."""
    return str(amount) if amount is not None else "-"


def cost(job: JobSummary) -> str:
    """What it has cost until now; `~` before an estimate."""
    now = job.cost_so_far
    if now is None:
        return str(job.cost)
    return f"{'~' if now.estimated else ''}{now}"


def percent(progress: Decimal | None) -> str:
    return f"{progress:.0%}" if progress is not None else ""


def clock(time: datetime | None) -> str:
    """Local time of day, with the date if that is not today."""
    if time is None:
        return ""
    local = time.astimezone()
    today = local.date() == datetime.now().astimezone().date()
    return f"{local:%H:%M:%S}" if today else f"{local:%Y-%m-%d %H:%M:%S}"


def age(time: datetime) -> str:
    """How long ago: `42s`, `3m`, `5h`, `2d`."""
    seconds = max(0, int((datetime.now(UTC) - time).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def span(duration: timedelta) -> str:
    """A length of time as people say it: `850 ms`, `3.2 s`, `4m 10s`, `2h 5m`."""
    seconds = duration.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest}s"
    return f"{minutes // 60}h {minutes % 60}m"


def size(count: int) -> str:
    """Bytes, rounded: `812 B`, `1.4 MiB`."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def job_state(job: JobSummary) -> str:
    """`running`, or `running (unknown for 5m)` while its network says nothing of it."""
    if job.unknown_since is None or job.state.terminal:
        return job.state.value
    return f"{job.state.value} (unknown for {age(job.unknown_since)})"


def state_style(state: JobState) -> str:
    return STYLES.get(state.value, "")


def to_json(value: object) -> str:
    """One line of JSON of models, dataclasses and what JSON has."""
    return orjson.dumps(value, default=_dumped).decode()


def indented(value: object) -> str:
    """JSON for people."""
    return orjson.dumps(value, default=_dumped, option=orjson.OPT_INDENT_2).decode()


def duration(seconds: float) -> str:
    return span(timedelta(seconds=seconds))


def _dumped(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value)
