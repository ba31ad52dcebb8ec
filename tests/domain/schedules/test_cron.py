"""Cron expressions, and when they are due."""

from datetime import UTC, datetime
from itertools import islice

import pytest

from cortex.domain.schedules.cron import parse_cron, parse_zone

NEW_YORK = parse_zone("America/New_York")


def due(cron: str, after: str, count: int = 4) -> list[str]:
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)
    times = parse_cron(cron).times(NEW_YORK, start)
    return [f"{time:%m-%dT%H:%M}" for time in islice(times, count)]


@pytest.mark.parametrize(
    ("cron", "after", "times"),
    [
        # 02:30 is not there on 14 March.
        ("30 2 * * *", "2027-03-13T12:00", ["03-15T06:30", "03-16T06:30"]),
        # 01:30 is there twice on 7 November.
        ("30 1 * * *", "2027-11-06T12:00", ["11-07T05:30", "11-07T06:30", "11-08T06:30"]),
        ("0 0 13 * 5", "2027-08-10T00:00", ["08-13T04:00", "08-20T04:00", "08-27T04:00"]),
        ("0 0 13 * *", "2027-08-10T00:00", ["08-13T04:00", "09-13T04:00"]),
        ("0 0 29 2 *", "2027-01-01T00:00", ["02-29T05:00", "02-29T05:00"]),
        ("0 12 * * 7", "2027-08-14T00:00", ["08-15T16:00", "08-22T16:00"]),
        ("0 12 * jan-feb sun", "2027-01-01T00:00", ["01-03T17:00", "01-10T17:00"]),
    ],
)
def test_when_it_is_due(cron: str, after: str, times: list[str]) -> None:
    assert due(cron, after, len(times)) == times


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has 0 fields"),
        ("* * * *", "it has 4 fields"),
        ("0 * * * * *", "it has 6 fields"),
        ("@daily", "it has 1 fields"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * 8", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("a b c d e", "bad minute"),
        ("*/99999999999 * * * *", "the step of the minute is 99999999999; 59 at most"),
        ("*/60 * * * *", "the step of the minute is 60; 59 at most"),
        ("0 1,2-8/24 * * *", "the step of the hour is 24; 23 at most"),
        ("0 0 */32 * *", "the step of the day of month is 32; 31 at most"),
        ("0 0 1 */13 *", "the step of the month is 13; 12 at most"),
        ("0 0 * * */8", "the step of the day of week is 8; 7 at most"),
        ("0 0 31 2,4 *", "bad day-of-month"),
        ("0 0 LW * *", "is not supported"),
        ("0 0 * * 1#2", "is not supported"),
        ("0 0 * * 5L,1", "is not supported"),
        ("0,".ljust(300, "0") + " * * * *", "longer than"),
    ],
)
def test_what_is_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_cron(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../etc/passwd", "europe/berlin ", "localtime", "Factory"]
)
def test_what_is_no_zone(name: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        parse_zone(name)
