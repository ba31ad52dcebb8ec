"""What a job took, on the terminal: bars, sums, and why there are none."""

from datetime import UTC, datetime, timedelta

import pytest

from cli.metrics_view import rows_of, show_metrics, sparkline, summary
from cli.state import State
from cortex.schemas.metrics import JobMetrics, MetricPoint, SpreadView

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def spread(value: float) -> SpreadView:
    return SpreadView(min=value / 2, avg=value, max=value * 2)


def metrics(*cores: float, note: str = "") -> JobMetrics:
    points = tuple(
        MetricPoint(
            time=NOON + timedelta(minutes=number),
            attempt=2,
            cpu=spread(core),
            memory=spread(core * 2**20),
            cpu_seconds=number * 60.0,
            disk_read=2**20,
            disk_written=0,
        )
        for number, core in enumerate(cores)
    )
    return JobMetrics(
        job_id="j",
        provider_id="net",
        note=note,
        since=NOON,
        until=NOON + timedelta(minutes=5),
        step=60,
        points=points,
    )


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([0, 0], "▁▁"),
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([1, 1], "██"),
        (list(range(80)), "▁" * 3),
    ],
)
def test_bars(values: list[float], line: str) -> None:
    drawn = sparkline(values)
    assert drawn[: len(line)] == line
    assert len(drawn) == min(40, len(values))


def test_a_row_for_each_kind_that_is_known() -> None:
    rows = rows_of(metrics(1.0, 3.0, 2.0).points)
    assert rows == [
        ("cpu", "▃█▆", "2.00 cores", "2.00 cores", "6.00 cores"),
        ("memory", "▃█▆", "2.0 MiB", "2.0 MiB", "6.0 MiB"),
    ]


def test_the_sums_are_told() -> None:
    told = summary(metrics(1.0, 3.0))
    assert "1m 0s a point" in told or "1m a point" in told
    assert "attempt 2" in told
    assert "of CPU" in told
    assert "1.0 MiB read, 0 B written" in told
    assert "sent" not in told


def test_why_there_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    show_metrics(State(), metrics(note="the provider `net` reports no metrics"))
    assert "reports no metrics" in capsys.readouterr().err


def test_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    show_metrics(State(), metrics(1.0, 3.0))
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0].split() == ["OVER", "TIME", "NOW", "AVERAGE", "MOST"]
    assert "3.00 cores" in shown.out
