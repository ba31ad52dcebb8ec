"""The cost so far of running leases: as the network tells, else price times time."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text, update

from activities.monitor.usage import Meter
from cortex.db.engine import Database
from cortex.db.jobs.repository import NewJob
from cortex.db.tables.jobs import JobRow
from cortex.db.tables.leases import LeaseRow
from cortex.domain.ids import new_id
from cortex.domain.leases import Lease, LeaseRef
from cortex.domain.money import Money
from cortex.domain.offers import Offer, Usage
from cortex.domain.spec import JobSpec
from cortex.schemas.jobs import JobView
from providers.errors import Unavailable
from providers.null import NullConfig, NullProvider
from tests.support import eventually

MINUTE = timedelta(minutes=1)
SPEC = JobSpec.model_validate({"command": ["x"], "duration": "1h"})


class Network(NullProvider):
    """Tells what it is told to tell."""

    def __init__(self, tell: Callable[[], Usage]) -> None:
        super().__init__("net", NullConfig())
        self._tell = tell
        self.asked: list[str] = []
        self.at_once = 0
        self.most = 0

    async def usage(self, ref: LeaseRef) -> Usage:
        self.asked.append(ref.key)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        return self._tell()


def tells(cost: str) -> Callable[[], Usage]:
    return lambda: Usage(cost=Money.model_validate(cost), final=False)


def fails() -> Usage:
    raise Unavailable("it is away")


async def running(
    database: Database, minutes: float = 30, price: str = "2 AKT", rate: str = "0.5"
) -> Lease:
    """A lease that has run for so long."""
    job = NewJob(new_id("job"), "tester", SPEC)
    key, began = f"{job.id}-1", datetime.now(UTC) - timedelta(minutes=minutes)
    offer = Offer(
        provider_id="net", price_per_hour=Money.model_validate(price), usd_rate=Decimal(rate)
    )
    async with database.transaction() as tx:
        spec = SPEC.model_dump(mode="json")
        await tx.acceptance.store([job], [spec], delay=timedelta(0))
        await tx.leases.add(key, job.id, 1, offer=offer)
        ref = LeaseRef(key=key, network_id=key).model_dump()
        await tx.connection.execute(
            update(LeaseRow)
            .where(LeaseRow.key == key)
            .values(state="active", ref=ref, committed_at=began, started_at=began)
        )
        await tx.connection.execute(
            update(JobRow).where(JobRow.id == job.id).values(state="running")
        )
        return await tx.leases.get(key)


async def measured(database: Database, network: Network, *leases: Lease) -> None:
    """One round."""
    meter = Meter(database, MINUTE)
    meter.tick(network, leases)
    meter.tick(network, leases)  # while the first is under way

    async def known() -> bool:
        async with database.reading() as tx:
            query = text("SELECT count(*) FROM leases WHERE usage_at > now() - interval '30 s'")
            return int((await tx.connection.execute(query)).scalar_one()) == len(leases)

    await eventually(known, what="the end of the round")
    await meter.aclose()


async def shown(database: Database, lease: Lease) -> JobView:
    async with database.reading() as tx:
        stored = json.loads(await tx.reads.job(lease.job_id))
    return JobView.model_validate(stored)


class TestMeter:
    async def test_as_the_network_tells(self, database: Database) -> None:
        lease = await running(database)
        await measured(database, Network(tells("1.5 AKT")), lease)
        view = await shown(database, lease)
        assert view.cost_so_far is not None
        assert str(view.cost_so_far) == "0.75 USD"
        assert view.cost_so_far.estimated is False
        assert str(view.leases[0].usage) == "1.5 AKT"
        assert (str(view.cost), view.leases[0].cost) == ("0 USD", None)

    async def test_price_times_time_where_it_does_not(self, database: Database) -> None:
        lease = await running(database)
        await measured(database, Network(fails), lease)
        view = await shown(database, lease)
        assert view.cost_so_far is not None
        assert view.cost_so_far.estimated is True
        assert view.cost_so_far.amount == pytest.approx(Decimal("0.5"), abs=Decimal("0.01"))
        assert view.leases[0].usage_estimated is True

    async def test_and_where_it_was_not_asked_yet(self, database: Database) -> None:
        view = await shown(database, await running(database))
        assert view.cost_so_far is not None
        assert view.cost_so_far.estimated is True
        assert view.cost_so_far.amount == pytest.approx(Decimal("0.5"), abs=Decimal("0.01"))

    async def test_a_currency_without_a_rate_is_not_taken_for_another(
        self, database: Database
    ) -> None:
        lease = await running(database)
        await measured(database, Network(tells("7 GLM")), lease)
        view = await shown(database, lease)
        assert view.cost_so_far is not None
        assert view.cost_so_far.estimated is True

    async def test_seldom_and_few_at_once(self, database: Database) -> None:
        leases = [await running(database) for _ in range(12)]
        fresh = await running(database, minutes=0.5)
        free = await running(database, price="0 AKT")
        network = Network(tells("1 AKT"))
        await measured(database, network, *leases)
        assert sorted(network.asked) == sorted(lease.key for lease in leases)
        assert network.most <= 4
        # A minute later only they are asked again; the young one and the free one never were.
        meter = Meter(database, MINUTE)
        async with database.reading() as tx:
            now = [await tx.leases.get(lease.key) for lease in (*leases, fresh, free)]
        meter.tick(network, now)
        await meter.aclose()
        assert len(network.asked) == 12

    async def test_a_network_that_fails_is_soon_left_alone(self, database: Database) -> None:
        leases = [await running(database) for _ in range(20)]
        network = Network(fails)
        await measured(database, network, *leases)
        assert len(network.asked) < 10

    async def test_a_billed_lease_counts_with_its_bill(self, database: Database) -> None:
        lease = await running(database)
        await measured(database, Network(tells("1.5 AKT")), lease)
        async with database.transaction() as tx:
            await tx.connection.execute(
                update(LeaseRow)
                .where(LeaseRow.key == lease.key)
                .values(state="releasing", cost=Decimal(2))
            )
            await tx.jobs.add_cost(lease.job_id, Decimal(1))
        view = await shown(database, lease)
        assert (str(view.cost), view.cost_so_far) == ("1 USD", None)
