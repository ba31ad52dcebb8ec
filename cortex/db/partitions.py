"""Partitions of the history tables: made ahead of time, dropped by retention.

A month each; a day each where there are many rows, and none is kept for long.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

PARTITIONED: Final = ("job_status", "provider_status", "events")
"""Those of which a partition is a month."""
METRICS: Final = "job_metrics"
"""That of which a partition is a day."""


@dataclass(frozen=True)
class _Span:
    """How long the partitions of a table are.

    Attributes:
        form: Of the end of their names.
        longest: Within so much time after a begin lies the next one, and no second.
    """

    form: str
    longest: timedelta

    def begin(self, time: datetime) -> datetime:
        """Of the partition that the time falls into."""
        return datetime.strptime(f"{time.astimezone(UTC):{self.form}}", self.form).replace(
            tzinfo=UTC
        )

    def end(self, begin: datetime) -> datetime:
        return self.begin(begin + self.longest)

    def begin_of(self, name: str, table: str) -> datetime | None:
        """By the name of a partition; None if it is not one that was made here."""
        try:
            return datetime.strptime(name.removeprefix(f"{table}_"), self.form).replace(tzinfo=UTC)
        except ValueError:
            return None


_MONTH: Final = _Span("%Y_%m", timedelta(days=32))
_DAY: Final = _Span("%Y_%m_%d", timedelta(hours=36))
_AHEAD: Final = 2
_REGISTERED: Final = text("SELECT to_regclass(:name)")
_SPANS: Final = {**dict.fromkeys(PARTITIONED, _MONTH), METRICS: _DAY}


async def ensure_partitions(connection: AsyncConnection, now: datetime) -> list[str]:
    """Make the partitions of now and the next two; returns the names of new ones.

    Tables that are still to come with a newer schema are left out.
    """
    made: list[str] = []
    for table, span in _SPANS.items():
        if await connection.scalar(_REGISTERED, {"name": table}) is None:
            continue
        first = span.begin(now)
        for _ in range(_AHEAD + 1):
            after = span.end(first)
            name = f"{table}_{first:{span.form}}"
            if await connection.scalar(_REGISTERED, {"name": name}) is None:
                await connection.execute(
                    text(
                        f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table} "
                        f"FOR VALUES FROM ('{first.isoformat()}') TO ('{after.isoformat()}')"
                    )
                )
                made.append(name)
            first = after
    return made


async def drop_partitions(
    connection: AsyncConnection, older_than: datetime, *, metrics: datetime
) -> list[str]:
    """Drop partitions that end before `older_than`, those of metrics before `metrics`; returns
    their names.
    """
    dropped: list[str] = []
    for table, span in _SPANS.items():
        rows = await connection.execute(
            text(
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(:t)"
            ),
            {"t": table},
        )
        for name in rows.scalars().all():
            begin = span.begin_of(name, table)
            limit = metrics if table == METRICS else older_than
            if begin is not None and span.end(begin) <= limit:
                await connection.execute(text(f"DROP TABLE {name}"))
                dropped.append(name)
    return dropped
