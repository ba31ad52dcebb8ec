"""The record of a provider, counted from rows that are written here with their times."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import insert

from cortex.db.engine import Database, Transaction
from cortex.db.jobs.repository import NewJob
from cortex.db.tables.leases import LeaseRow
from cortex.db.tables.providers import ProviderRow, ProviderStatusRow
from cortex.domain.ids import new_id
from cortex.domain.money import Money
from cortex.domain.offers import Offer
from cortex.domain.providers.track import TrackRecord
from cortex.domain.spec import JobSpec

WINDOW = timedelta(hours=10)


def ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


async def status(tx: Transaction, provider: str, state: str, hours: float) -> None:
    await tx.connection.execute(
        insert(ProviderStatusRow).values(provider_id=provider, status=state, created_at=ago(hours))
    )


async def lease(
    tx: Transaction, provider: str, hours: float, *, failure: str | None = None, **fields: object
) -> None:
    job_id = new_id("job")
    spec = JobSpec(command=("x",))
    job = NewJob(job_id, "tester", spec)
    await tx.acceptance.store([job], [spec.model_dump(mode="json")], delay=timedelta(0))
    offer = Offer(provider_id=provider, price_per_hour=Money.zero())
    values = {
        "key": f"{job_id}-1",
        "job_id": job_id,
        "attempt": 1,
        "provider_id": provider,
        "state": "released",
        "offer": offer.model_dump(mode="json"),
        "created_at": ago(hours),
        "failure": failure,
        **fields,
    }
    await tx.connection.execute(insert(LeaseRow).values(**values))


async def records(tx: Transaction) -> dict[str, TrackRecord]:
    return await tx.track.records(datetime.now(UTC) - WINDOW, WINDOW)


class TestHealth:
    async def test_share_of_the_time(self, database: Database) -> None:
        async with database.transaction() as tx:
            await tx.connection.execute(insert(ProviderRow).values(id="p", type="null"))
            await status(tx, "p", "online", 30)  # before the window: how it began
            await status(tx, "p", "offline", 4)
            await status(tx, "p", "degraded", 2)
            record = (await records(tx))["p"]
        # Online for 6 h, away for 2 h, degraded for 2 h, which counts half.
        assert record.online is not None
        assert abs(record.online - Decimal("0.7")) < Decimal("0.001")
        assert record.leases == 0

    async def test_before_the_first_row_nothing_is_measured(self, database: Database) -> None:
        async with database.transaction() as tx:
            await status(tx, "new", "online", 1)
            record = (await records(tx))["new"]
        assert record.online == 1

    async def test_nobody_knows_it(self, database: Database) -> None:
        async with database.transaction() as tx:
            assert await records(tx) == {}


class TestLeases:
    async def test_counts_what_the_network_is_to_be_blamed_for(self, database: Database) -> None:
        async with database.transaction() as tx:
            for minutes in (1, 2, 9):
                made = ago(5)
                began = made + timedelta(minutes=minutes)
                await lease(tx, "p", 5, created_at=made, committed_at=made, started_at=began)
            await lease(tx, "p", 4, failure="lost", committed_at=ago(4))
            await lease(tx, "p", 3, failure="refused")
            await lease(tx, "p", 3, failure="unfit", committed_at=ago(3))  # the job's own fault
            await lease(tx, "p", 2)  # cancelled before it began
            await lease(tx, "p", 1, state="active", committed_at=ago(1))  # not over yet
            await lease(tx, "p", 50, failure="lost")  # before the window
            record = (await records(tx))["p"]
        assert (record.leases, record.lost, record.refused) == (5, 1, 1)
        assert (record.starts, record.start) == (3, timedelta(minutes=2))
        assert record.online is None
