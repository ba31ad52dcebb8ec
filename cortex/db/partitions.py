"""Monthly partitions of the history tables: made ahead of time, dropped by retention."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

PARTITIONED = ("job_status", "provider_status", "events")
_AHEAD = 2


async def ensure_partitions(connection: AsyncConnection, now: datetime) -> list[str]:
    """Make the partitions of this month and the next two; returns the names of new ones."""
    made: list[str] = []
    first = _month(now)
    for _ in range(_AHEAD + 1):
        after = _month(first + timedelta(days=32))
        for table in PARTITIONED:
            name = f"{table}_{first:%Y_%m}"
            exists = await connection.scalar(text("SELECT to_regclass(:name)"), {"name": name})
            if exists is None:
                await connection.execute(
                    text(
                        f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table} "
                        f"FOR VALUES FROM ('{first.isoformat()}') TO ('{after.isoformat()}')"
                    )
                )
                made.append(name)
        first = after
    return made


async def drop_partitions(connection: AsyncConnection, older_than: datetime) -> list[str]:
    """Drop partitions that end before `older_than`; returns their names."""
    dropped: list[str] = []
    for table in PARTITIONED:
        rows = await connection.execute(
            text(
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = :t ::regclass"
            ),
            {"t": table},
        )
        for name in rows.scalars().all():
            month = _month_of(name, table)
            if month is not None and _month(month + timedelta(days=32)) <= older_than:
                await connection.execute(text(f"DROP TABLE {name}"))
                dropped.append(name)
    return dropped


def _month(time: datetime) -> datetime:
    return datetime(time.year, time.month, 1, tzinfo=UTC)


def _month_of(name: str, table: str) -> datetime | None:
    try:
        return datetime.strptime(name.removeprefix(f"{table}_"), "%Y_%m").replace(tzinfo=UTC)
    except ValueError:
        return None
