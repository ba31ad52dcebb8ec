"""What a job took of its machine, as a small plain picture."""

from collections.abc import Callable, Sequence

from cli import render
from cli.state import State
from cortex.schemas.metrics import JobMetrics, MetricPoint, SpreadView

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40
COLUMNS = ("", "OVER TIME", "NOW", "AVERAGE", "MOST")
RIGHT = (2, 3, 4)
_Kind = tuple[str, Callable[[MetricPoint], SpreadView | None], Callable[[float], str]]


def _cores(value: float) -> str:
    return f"{value:.2f} cores"


def _bytes(value: float) -> str:
    return render.size(round(value))


def _percent(value: float) -> str:
    return f"{value:.0f} %"


_KINDS: tuple[_Kind, ...] = (
    ("cpu", lambda point: point.cpu, _cores),
    ("memory", lambda point: point.memory, _bytes),
    ("gpu", lambda point: point.gpu, _percent),
    ("gpu memory", lambda point: point.gpu_memory, _bytes),
)


def show_metrics(state: State, metrics: JobMetrics) -> None:
    """Print a line for each kind of figures, and one with the sums."""
    if not metrics.points:
        render.say(state, metrics.note)
        return
    render.table(state, COLUMNS, rows_of(metrics.points), right=RIGHT)
    render.say(state, summary(metrics), style="dim")


def rows_of(points: Sequence[MetricPoint]) -> list[tuple[str, ...]]:
    """The rows of the table: kinds of which something is known."""
    rows: list[tuple[str, ...]] = []
    for name, part_of, shown in _KINDS:
        spreads = [spread for point in points if (spread := part_of(point)) is not None]
        if spreads:
            average = sum(spread.avg for spread in spreads) / len(spreads)
            most = max(spread.max for spread in spreads)
            line = sparkline([spread.avg for spread in spreads])
            rows.append((name, line, shown(spreads[-1].avg), shown(average), shown(most)))
    return rows


def sparkline(values: Sequence[float]) -> str:
    """Values as bars from nothing to the largest, at most 40 of them: each the mean of its part."""
    count = min(_WIDTH, len(values))
    bars: list[float] = []
    for number in range(count):
        part = values[number * len(values) // count : (number + 1) * len(values) // count]
        bars.append(sum(part) / len(part))
    most = max(bars, default=0.0)
    if most <= 0:
        return _BARS[0] * count
    return "".join(_BARS[round(bar / most * (len(_BARS) - 1))] for bar in bars)


def summary(metrics: JobMetrics) -> str:
    """When, in which steps, and what came together in the newest attempt."""
    last = metrics.points[-1]
    sums = [
        f"{render.duration(last.cpu_seconds)} of CPU" if last.cpu_seconds is not None else "",
        _pair(last.network_received, "received", last.network_sent, "sent"),
        _pair(last.disk_read, "read", last.disk_written, "written"),
    ]
    began, ended = metrics.points[0].time, metrics.until
    attempt = f"attempt {last.attempt}" if last.attempt > 1 else ""
    told = [
        f"{render.clock(began)} to {render.clock(ended)}, {render.duration(metrics.step)} a point",
        attempt,
        *sums,
    ]
    return "; ".join(part for part in told if part)


def _pair(one: int | None, did: str, other: int | None, did_too: str) -> str:
    parts = [
        f"{render.size(count)} {verb}"
        for count, verb in ((one, did), (other, did_too))
        if count is not None
    ]
    return ", ".join(parts)
