"""Housekeeping keeps what jobs took as long as it is told to, and drops it by the day."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import text

from activities.maintenance import MaintenanceActivities
from cortex.db.engine import Database
from cortex.db.partitions import METRICS, ensure_partitions
from cortex.settings import Settings


async def days(database: Database) -> set[str]:
    query = text(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(:t)"
    )
    async with database.reading() as tx:
        return set((await tx.connection.execute(query, {"t": METRICS})).scalars())


async def test_old_days_are_dropped_and_new_ones_made(database: Database, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    settings = Settings(data_dir=tmp_path)
    kept = settings.retention.metrics
    async with database.transaction() as tx:
        await ensure_partitions(tx.connection, now - kept - timedelta(days=2))
        await tx.connection.execute(
            text(f"DROP TABLE {METRICS}_{now + timedelta(days=2):%Y_%m_%d}")
        )
    done = await MaintenanceActivities(database, settings).maintain()
    assert (done["partitions_made"], done["partitions_dropped"]) == (1, 2)
    there = await days(database)
    # The day in which the time begins that is kept stays whole.
    assert f"{METRICS}_{now - kept:%Y_%m_%d}" in there
    assert f"{METRICS}_{now - kept - timedelta(days=1):%Y_%m_%d}" not in there
    assert f"{METRICS}_{now + timedelta(days=2):%Y_%m_%d}" in there
