"""What running jobs take: asked in bounded rounds, written down, never in anybody's way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from activities.monitor import metrics
from activities.monitor.metrics import Sampler
from cortex.db.engine import Database
from cortex.domain.leases import Lease, LeaseRef
from cortex.domain.metrics import Metric, Sample
from cortex.domain.offers import Capabilities
from cortex.domain.states import LeaseState, RunState
from cortex.settings import JobSettings
from providers.errors import Unavailable
from providers.null import NullConfig, NullProvider
from tests.activities.monitor import test_usage
from tests.support import eventually

OFTEN = JobSettings(metrics_interval=timedelta(milliseconds=20))
GIB = 2**30


class Network(NullProvider):
    """Tells of each lease one CPU second more than the last time."""

    def __init__(self, told: tuple[Metric, ...] = ("cpu", "memory")) -> None:
        super().__init__("net", NullConfig())
        self.told = told
        self.asked: list[list[str]] = []
        self.ended: set[str] = set()
        self.hangs = False
        self.error: Exception | None = None
        self.counters: dict[str, float] = {}

    def capabilities(self) -> Capabilities:
        return super().capabilities().model_copy(update={"metrics": self.told})

    async def metrics(self, refs: Sequence[LeaseRef]) -> list[Sample]:
        self.asked.append([ref.key for ref in refs])
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        for ref in refs:
            self.counters[ref.key] = self.counters.get(ref.key, 0.0) + 1
        return [
            Sample(key=ref.key, cpu_seconds=self.counters[ref.key], memory=GIB)
            for ref in refs
            if ref.key not in self.ended
        ]


async def running(database: Database, minutes: float = 1) -> Lease:
    lease = await test_usage.running(database, minutes=minutes)
    return lease.model_copy(update={"run_state": RunState.RUNNING})


@asynccontextmanager
async def sampling(
    database: Database, network: Network, *leases: Lease, settings: JobSettings = OFTEN
) -> AsyncIterator[Sampler]:
    sampler = Sampler(database, settings)
    sampler.watch(network, leases)
    try:
        yield sampler
    finally:
        await sampler.aclose()


async def rows(database: Database, lease: Lease) -> list[tuple[float | None, float, int]]:
    """CPU, its sum and the peak of what was written down, in the order of time."""
    query = text(
        "SELECT cpu, cpu_seconds, memory_peak FROM job_metrics WHERE job_id = :job "
        "ORDER BY created_at"
    )
    async with database.reading() as tx:
        told = await tx.connection.execute(query, {"job": lease.job_id})
        return [(row[0], row[1], row[2]) for row in told]


async def written(database: Database, lease: Lease, count: int = 1) -> None:
    async def enough() -> bool:
        return len(await rows(database, lease)) >= count

    await eventually(enough, what=f"{count} samples of the lease")


class TestSampler:
    async def test_writes_down_what_is_told(self, database: Database) -> None:
        lease = await running(database)
        async with sampling(database, Network(), lease):
            await written(database, lease, 3)
        told = await rows(database, lease)
        assert [total for _, total, _ in told[:3]] == [1, 2, 3]
        assert all(peak == GIB for _, _, peak in told)
        # The first is the average since the start; the others are hundredths of a second apart.
        assert told[0][0] == pytest.approx(1 / 60, rel=0.2)
        assert told[1][0] is not None
        assert told[1][0] > 1

    async def test_asks_only_for_those_that_run(self, database: Database) -> None:
        lease = await running(database)
        begins = lease.model_copy(update={"key": "b", "run_state": RunState.STARTING})
        ends = lease.model_copy(update={"key": "e", "state": LeaseState.RELEASING})
        network = Network()
        async with sampling(database, network, begins, lease, ends):
            await written(database, lease)
        assert network.asked[0] == [lease.key]

    async def test_a_job_that_ended_meanwhile_has_no_figures(self, database: Database) -> None:
        ended, lease = await running(database), await running(database)
        network = Network()
        network.ended = {ended.key}
        async with sampling(database, network, ended, lease):
            await written(database, lease, 2)
        assert await rows(database, ended) == []

    async def test_who_reports_nothing_is_not_asked(self, database: Database) -> None:
        lease = await running(database)
        silent, other = Network(told=()), Network()
        async with sampling(database, silent, lease), sampling(database, other, lease):
            await written(database, lease)
        assert silent.asked == []

    async def test_switched_off_and_on(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(metrics, "_OFF", 0.01)
        lease, network = await running(database), Network()
        settings = JobSettings(metrics_interval=timedelta(0))
        async with sampling(database, network, lease, settings=settings):
            await asyncio.sleep(0.05)
            assert network.asked == []
            # As settings are changed while Cortex runs.
            settings.__dict__["metrics_interval"] = timedelta(milliseconds=20)
            await written(database, lease)

    async def test_goes_on_where_another_worker_stopped(self, database: Database) -> None:
        lease, network = await running(database), Network()
        network.counters[lease.key] = 99.0
        async with sampling(database, network, lease):
            await written(database, lease)
        before = await rows(database, lease)
        async with sampling(database, network, lease):
            await written(database, lease, len(before) + 1)
        after = (await rows(database, lease))[len(before)]
        assert after[1] == before[-1][1] + 1
        assert after[0] is not None


class TestTrouble:
    async def test_one_that_hangs_starves_nobody(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lease, hanging = await running(database), Network()
        hanging.hangs = True
        async with sampling(database, hanging, lease), sampling(database, Network(), lease):
            await written(database, lease, 2)
            assert len(hanging.asked) == 1
        # And it is given up in the end, and asked anew.
        monkeypatch.setattr(metrics, "_PATIENCE", 0.02)
        async with sampling(database, hanging, lease):

            async def again() -> bool:
                return len(hanging.asked) >= 3

            await eventually(again, what="another round")

    @pytest.mark.parametrize("error", [Unavailable("it is away"), KeyError("a bug of it")])
    async def test_one_that_fails_is_asked_again(
        self, database: Database, error: Exception
    ) -> None:
        lease, network = await running(database), Network()
        network.error = error
        async with sampling(database, network, lease):

            async def asked() -> bool:
                return len(network.asked) >= 2

            await eventually(asked, what="a second round")
            network.error = None
            await written(database, lease)

    async def test_rounds_are_bounded_and_everybody_gets_a_turn(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(metrics, "_MOST", 4)
        monkeypatch.setattr(metrics, "_PART", 2)
        lease, network = await running(database), Network()
        leases = [
            lease.model_copy(
                update={"key": f"k{number}", "ref": LeaseRef(key=f"k{number}", network_id="n")}
            )
            for number in range(10)
        ]
        async with sampling(database, network, *leases):

            async def all_asked() -> bool:
                return {key for part in network.asked for key in part} == {
                    each.key for each in leases
                }

            await eventually(all_asked, what="a turn for each")
        assert max(map(len, network.asked)) == 2
        # Nobody comes twice before all have come once.
        first = [key for part in network.asked for key in part][:10]
        assert len(set(first)) == 10

    async def test_a_day_without_a_partition_costs_a_round(self, database: Database) -> None:
        lease, network = await running(database), Network()
        today = datetime.now(UTC)
        async with database.transaction() as tx:
            await tx.connection.execute(text(f"DROP TABLE job_metrics_{today:%Y_%m_%d}"))
        async with sampling(database, network, lease):
            await written(database, lease)
        assert len(network.asked) >= 2
