"""Partitions of months and of days: there before they are needed, gone when they are old."""

from datetime import UTC, datetime, timedelta

from cortex.db.engine import Database
from cortex.db.partitions import METRICS, PARTITIONED, drop_partitions, ensure_partitions

THEN = datetime(2031, 12, 30, 17, 5, tzinfo=UTC)
MONTHS = [f"{table}_{end}" for table in PARTITIONED for end in ("2031_12", "2032_01", "2032_02")]
DAYS = [f"{METRICS}_{end}" for end in ("2031_12_30", "2031_12_31", "2032_01_01")]


async def test_this_one_and_the_next_two_are_made_once(database: Database) -> None:
    async with database.transaction() as tx:
        assert sorted(await ensure_partitions(tx.connection, THEN)) == sorted([*MONTHS, *DAYS])
        assert await ensure_partitions(tx.connection, THEN) == []
        later = THEN + timedelta(days=1)
        assert await ensure_partitions(tx.connection, later) == [f"{METRICS}_2032_01_02"]


async def test_each_is_dropped_by_its_own_age(database: Database) -> None:
    async with database.transaction() as tx:
        await ensure_partitions(tx.connection, THEN)
        old = await drop_partitions(
            tx.connection,
            datetime(2031, 12, 31, 23, tzinfo=UTC),
            metrics=datetime(2032, 1, 1, tzinfo=UTC),
        )
        ours = {name for name in old if "_203" in name}
        # A month goes when all of it is old, and so does a day.
        assert ours == {f"{METRICS}_2031_12_30", f"{METRICS}_2031_12_31"}
        more = await drop_partitions(
            tx.connection,
            datetime(2032, 1, 1, tzinfo=UTC),
            metrics=datetime(2032, 1, 1, tzinfo=UTC),
        )
        assert set(more) == {f"{table}_2031_12" for table in PARTITIONED}


async def test_tables_that_are_still_to_come_are_left_out(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.connection.exec_driver_sql(f"DROP TABLE {METRICS}")
        made = await ensure_partitions(tx.connection, THEN)
        assert sorted(made) == sorted(MONTHS)
        await drop_partitions(tx.connection, THEN, metrics=THEN)
