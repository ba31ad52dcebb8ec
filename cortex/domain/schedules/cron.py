"""Cron expressions: what is taken, and when they are due.

The five fields of cron: minute, hour, day of month, month, day of week, with names, ranges, lists
and steps. If both days are given, either may match, as everywhere in cron. `cronsim` says whether
an expression is one; when it is due is reckoned here as Temporal does it, which fires it: a time
that the clock skips is left out, one that it shows twice is due twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

CRON: Final = r"^[0-9A-Za-z*,/-]+( [0-9A-Za-z*,/-]+){4}$"
"""What an expression is made of; not everything of this form is one."""
LONGEST: Final = 200
_STEPS: Final = {"minute": 59, "hour": 23, "day of month": 31, "month": 12, "day of week": 7}
"""The largest step of each field."""
_NO_ZONES: Final = frozenset({"localtime", "Factory"})
"""Files beside those of time zones: what the machine has, and that nobody has chosen one."""
HORIZON: Final = timedelta(days=366 * 8 + 1)
"""Of what is not due within it, such as 30 February, it is said that it never is."""


@dataclass(frozen=True)
class Cron:
    """The times that an expression names, in a time zone.

    Attributes:
        both_days: Whether day of month and of week must match, or either.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    """From 0, Sunday."""
    both_days: bool

    def has(self, day: date) -> bool:
        """Whether it is due on a day."""
        if day.month not in self.months:
            return False
        month_day, week_day = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return month_day and week_day if self.both_days else month_day or week_day

    def times(self, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
        """When it is due after a time, in UTC, up to the horizon."""
        first = after.astimezone(zone).date() - timedelta(days=1)
        for number in range(HORIZON.days + 2):
            day = first + timedelta(days=number)
            if self.has(day):
                for hour in self.hours:
                    yield from (time for time in self._of_hour(day, hour, zone) if time > after)

    def _of_hour(self, day: date, hour: int, zone: ZoneInfo) -> list[datetime]:
        found = set()
        for minute in self.minutes:
            for fold in (0, 1):
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone, fold=fold)
                time = local.astimezone(UTC)
                # One that the clock skips comes back as another.
                if time.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
                    found.add(time)
        return sorted(found)


def parse_cron(text: str) -> Cron:
    """An expression.

    Raises:
        ValueError: it is none; says why.
    """
    # A tenth of a millisecond that only schedules need.
    from cronsim import CronSim, CronSimError

    if len(text) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    fields = text.split()
    if len(fields) != 5:
        raise ValueError(
            f"is no cron expression: it has {len(fields)} fields in place of five: minute, hour, "
            "day of month, month, day of week (`0 6 * * 1-5`)"
        )
    try:
        parsed = CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"is no cron expression: {str(error).lower()}") from None
    _check_steps(fields)
    weekdays = {day % 7 for day in parsed.weekdays if isinstance(day, int)}
    if len({day for day in parsed.weekdays if not isinstance(day, int)}) or min(parsed.days) < 1:
        raise ValueError("has `L` or `#`, which is not supported; write days as numbers or names")
    return Cron(
        minutes=tuple(sorted(parsed.minutes)),
        hours=tuple(sorted(parsed.hours)),
        days=tuple(sorted(parsed.days)),
        months=tuple(sorted(parsed.months)),
        weekdays=tuple(sorted(weekdays)),
        both_days=parsed.day_and,
    )


def _check_steps(fields: Sequence[str]) -> None:
    """A step over the whole range of a field means nothing but its first value."""
    for (name, most), text in zip(_STEPS.items(), fields, strict=True):
        for part in text.split(","):
            step = part.partition("/")[2]
            if step and int(step) > most:
                raise ValueError(
                    f"is no cron expression: the step of the {name} is {step[:20]}; {most} at most"
                )


def parse_zone(name: str) -> ZoneInfo:
    """A time zone of the IANA database.

    Raises:
        ValueError: there is none of this name.
    """
    if name in _NO_ZONES or (name != "UTC" and name not in available_timezones()):
        raise ValueError(f"`{name[:60]}` is no time zone; write one such as `Europe/Berlin`, `UTC`")
    return ZoneInfo(name)
