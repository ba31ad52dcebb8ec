"""Samples in line with those before: counters that begin anew, clocks that are set, steps."""

from datetime import UTC, datetime, timedelta

import pytest

from cortex.domain.metrics import (
    MOST_POINTS,
    Measured,
    Progress,
    Sample,
    measured,
    step_for,
    tells_nothing_new,
)

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
STARTED = Progress(at=NOON, cpu_seconds=0.0, counter=0.0)


def told(
    before: Progress | None,
    cpu: float | None,
    *,
    after: float,
    memory: int | None = None,
    now: datetime | None = None,
) -> Measured:
    """A sample so many seconds after the noon, by the clock that is never set."""
    sample = Sample(key="k", cpu_seconds=cpu, memory=memory)
    return measured(sample, before, now=now or NOON + timedelta(seconds=after), clock=after)


class TestMeasured:
    def test_the_first_is_the_average_since_the_start(self) -> None:
        assert told(STARTED, 5.0, after=10).cpu == pytest.approx(0.5)

    def test_without_a_start_nothing_is_known_of_it(self) -> None:
        first = told(None, 5.0, after=10)
        assert (first.cpu, first.progress.cpu_seconds) == (None, 5.0)

    def test_the_next_is_the_average_since_the_last(self) -> None:
        first = told(STARTED, 5.0, after=10)
        second = told(first.progress, 25.0, after=20)
        assert second.cpu == pytest.approx(2.0)
        assert second.progress.cpu_seconds == 25.0

    def test_a_counter_that_begins_anew_goes_on_from_there(self) -> None:
        first = told(STARTED, 100.0, after=100)
        second = told(first.progress, 3.0, after=110)
        third = told(second.progress, 8.0, after=120)
        assert [second.cpu, third.cpu] == [pytest.approx(0.3), pytest.approx(0.5)]
        assert third.progress.cpu_seconds == pytest.approx(108.0)

    def test_one_that_loses_a_little_does_not_begin_anew(self) -> None:
        first = told(STARTED, 100.0, after=100)
        second = told(first.progress, 99.0, after=110)
        assert (second.cpu, second.progress.cpu_seconds) == (0.0, 100.0)

    def test_a_clock_that_is_set_back_changes_no_rate_and_no_order(self) -> None:
        first = told(STARTED, 5.0, after=10)
        back = told(first.progress, 15.0, after=20, now=NOON - timedelta(hours=1))
        assert back.cpu == pytest.approx(1.0)
        assert back.progress.at > first.progress.at

    def test_another_process_goes_on_from_what_is_kept(self) -> None:
        kept = Progress(at=NOON, cpu_seconds=100.0, memory_peak=7)
        first = told(kept, 110.0, after=20, memory=5)
        assert first.cpu == pytest.approx(0.5)
        assert (first.progress.cpu_seconds, first.progress.memory_peak) == (110.0, 7)
        # Its counter had begun anew before: what it shows is no more than was known.
        assert told(kept, 30.0, after=20).progress.cpu_seconds == 100.0

    def test_the_peak_is_the_most_that_was_seen(self) -> None:
        first = told(STARTED, 1.0, after=1, memory=50)
        second = told(first.progress, 2.0, after=2, memory=20)
        assert second.progress.memory_peak == 50
        own = Sample(key="k", memory=20, memory_peak=90)
        third = measured(own, second.progress, now=NOON, clock=3)
        assert third.progress.memory_peak == 90

    def test_what_is_not_told_is_not_made_up(self) -> None:
        first = told(STARTED, 4.0, after=4)
        second = told(first.progress, None, after=5, memory=3)
        assert (second.cpu, second.progress.cpu_seconds) == (None, 4.0)
        assert told(second.progress, 6.0, after=6).progress.cpu_seconds == 6.0

    def test_times_of_the_network_itself_count(self) -> None:
        def at(seconds: float, cpu: float) -> Sample:
            return Sample(key="k", cpu_seconds=cpu, measured_at=NOON + timedelta(seconds=seconds))

        first = measured(at(30, 10), STARTED, now=NOON, clock=31)
        second = measured(at(60, 25), first.progress, now=NOON, clock=99)
        assert second.cpu == pytest.approx(0.5)
        assert tells_nothing_new(at(60, 25), second.progress)
        assert not tells_nothing_new(at(90, 25), second.progress)
        assert not tells_nothing_new(Sample(key="k"), second.progress)


class TestStep:
    @pytest.mark.parametrize(
        ("minutes", "step"), [(0, 1), (1, 1), (10, 10), (60, 60), (24 * 60, 900), (43_200, 43_200)]
    )
    def test_makes_a_usual_number_of_points(self, minutes: int, step: int) -> None:
        assert step_for(timedelta(minutes=minutes)) == step

    def test_is_as_asked_while_the_points_are_few_enough(self) -> None:
        assert step_for(timedelta(minutes=10), 1) == 1
        assert step_for(timedelta(days=1), 7) >= timedelta(days=1).total_seconds() / MOST_POINTS

    def test_of_years(self) -> None:
        assert step_for(timedelta(days=3650), points=10) == pytest.approx(3650 * 86_400 / 9, abs=1)
