"""Every boundary of every step, broken in every way: the promise holds each time.

"Whatever crashes, whenever, every job ends, every lease is released, every charge is booked
exactly once." The books are read from outside, with SQL.
"""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from cortex.db.engine import Database
from cortex.domain.jobs import Reason
from cortex.domain.money import Money
from cortex.domain.states import JobState
from cortex.settings import JobSettings, ReconcileSettings, Settings
from providers.null import NullConfig
from tests.faults.boundaries import Fault, Kind
from tests.faults.harness import Driver
from tests.faults.one_network import Network
from tests.faults.promise import check_promise
from tests.faults.report import Row, full, record
from workflows.decisions import End, LeaseEnd

pytestmark = pytest.mark.faults

Watch = Callable[[Driver, str], Awaitable[LeaseEnd]]


async def until_deadline(_driver: Driver, _key: str) -> LeaseEnd:
    return LeaseEnd(End.DEADLINE, Reason.DEADLINE, "the job ran into its deadline")


async def cancelled_running(driver: Driver, _key: str) -> LeaseEnd:
    await request_cancel(driver)
    return LeaseEnd(End.STOPPED, Reason.CANCELLED, "cancelled")


async def lost_once(driver: Driver, key: str) -> LeaseEnd:
    network = driver.provider
    assert isinstance(network, Network)
    if key.endswith("-1"):
        await network.lose(key)
    else:
        network.config = NullConfig(run_seconds=0)
        await network.end((await must_find(network, key)).ref)
    return await driver.watched(key)


async def must_find(network: Network, key: str) -> Any:
    at_network = await network.find(key)
    assert at_network is not None
    return at_network


async def request_cancel(driver: Driver) -> None:
    """As the API does; the signal reaches the workflow."""
    async with driver.database.transaction() as tx:
        await tx.jobs.lock(driver.job_id)
        await tx.jobs.move(driver.job_id, JobState.CANCELLING, message="cancel requested")
    driver.stopped = True


async def settle_by_hand(driver: Driver) -> None:
    """As `cortex resolve --settle --force` does, while it runs or ends."""
    await driver.settle_by_hand(Money.model_validate("0.0001 USD"))


async def run_monitor(driver: Driver) -> None:
    if driver.lease_key is not None:
        await driver.record(driver.lease_key)


@dataclass(frozen=True)
class Scenario:
    name: str
    states: frozenset[JobState]
    """What the job may end as."""
    config: NullConfig = NullConfig()
    watch: Watch | None = None
    retries: int = 0
    ends_with: int | None = 0
    one_step: bool = True

    def driver(self, database: Database, settings: Settings, fault: Fault) -> Driver:
        return Driver(
            database,
            Network("null", self.config),
            settings,
            fault,
            retries=self.retries,
            one_step=self.one_step,
            watch=self.watch,
        )


RUNS = NullConfig(run_seconds=-1)
COMPLETED = frozenset({JobState.COMPLETED})
FAILED = frozenset({JobState.FAILED})
CANCELLED = frozenset({JobState.CANCELLED})
SCENARIOS = (
    Scenario("success", COMPLETED),
    Scenario("failure_and_retry", FAILED, NullConfig(exit_code=3), retries=1, ends_with=3),
    Scenario("deadline", FAILED, RUNS, until_deadline, ends_with=None),
    Scenario("cancelled_running", CANCELLED, RUNS, cancelled_running, ends_with=None),
    Scenario("lost_then_failed", FAILED, RUNS, lost_once, ends_with=143),
    Scenario("success_in_two_steps", COMPLETED, one_step=False),
)
SETTLED = [
    scenario
    for scenario in SCENARIOS
    if full() or scenario.name in ("success", "cancelled_running")
]


@dataclass
class Book:
    """How many boundaries were broken, by scenario and fault."""

    runs: int = 0
    broken: int = 0
    wrong: list[str] = field(default_factory=list)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of expected faults are not worth a trace each."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        jobs=JobSettings(quote_timeout=timedelta(seconds=2)),
        reconcile=ReconcileSettings(grace=timedelta(0)),
    )


def check_run(driver: Driver, job: Any, scenario: Scenario) -> None:
    """The command ran once per lease, and its results are kept."""
    network = driver.provider
    assert isinstance(network, Network)
    starts = getattr(network, "starts", {})
    assert all(count == 1 for count in starts.values()), starts
    if job["reason"] == Reason.EXITED:
        assert job["exit_code"] == scenario.ends_with
        kept = driver.settings.outputs_dir / driver.job_id / "result"
        assert kept.is_file(), "the outputs are gone"


async def broken_at(
    scenario: Scenario, database: Database, settings: Settings, fault: Fault
) -> Driver:
    driver = scenario.driver(database, settings, fault)
    await driver.accept()
    await driver.run()
    return driver


async def together(runs: Iterable[Coroutine[Any, Any, None]]) -> None:
    """A few at once: each waits for the database most of its time."""
    slots = asyncio.Semaphore(3)

    async def one(run: Coroutine[Any, Any, None]) -> None:
        async with slots:
            await run

    await asyncio.gather(*(one(run) for run in runs))


class TestPoints:
    @pytest.mark.parametrize(
        ("scenario", "kind"),
        [
            *((scenario, "crash") for scenario in SCENARIOS),
            *((scenario, kind) for scenario in SCENARIOS[:1] for kind in ("database", "unknown")),
        ],
        ids=lambda value: getattr(value, "name", value),
    )
    async def test_a_worker_dies_or_an_answer_is_lost(
        self, scenario: Scenario, kind: Kind, database: Database, settings: Settings
    ) -> None:
        probe = await broken_at(scenario, database, settings, Fault())
        check_run(probe, await check_promise(probe, scenario.states), scenario)
        book = Book()
        await together(
            verify(book, scenario, database, settings, Fault(kind, at), scenario.states)
            for at in range(probe.fault.count)
        )
        report(book, f"{scenario.name}/{kind}")

    @pytest.mark.parametrize(
        ("scenario", "resume_after"),
        [(SCENARIOS[0], 1), (SCENARIOS[0], 2), *((scenario, 99) for scenario in SCENARIOS[1:])],
        ids=lambda value: getattr(value, "name", value),
    )
    async def test_a_worker_stalls_and_goes_on_later(
        self, scenario: Scenario, resume_after: int, database: Database, settings: Settings
    ) -> None:
        probe = await broken_at(scenario, database, settings, Fault())
        book = Book()
        faults = [Fault("stall", at, resume_after=resume_after) for at in range(probe.fault.count)]
        await together(
            verify(book, scenario, database, settings, fault, scenario.states) for fault in faults
        )
        report(book, f"{scenario.name}/stall {resume_after}")

    @pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
    async def test_the_user_cancels(
        self, scenario: Scenario, database: Database, settings: Settings
    ) -> None:
        await self._somebody_acts(scenario, database, settings, request_cancel, CANCELLED)

    @pytest.mark.parametrize("scenario", SETTLED, ids=lambda scenario: scenario.name)
    async def test_an_admin_settles_it_by_hand(
        self, scenario: Scenario, database: Database, settings: Settings
    ) -> None:
        """A decision that was accepted is what is booked, wherever it comes."""
        await self._somebody_acts(scenario, database, settings, settle_by_hand, CANCELLED)

    @pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
    async def test_the_monitor_records(
        self, scenario: Scenario, database: Database, settings: Settings
    ) -> None:
        await self._somebody_acts(scenario, database, settings, run_monitor, frozenset())

    async def _somebody_acts(
        self,
        scenario: Scenario,
        database: Database,
        settings: Settings,
        what: Callable[[Driver], Awaitable[None]],
        also: frozenset[JobState],
    ) -> None:
        probe = await broken_at(scenario, database, settings, Fault())
        book = Book()
        drivers = [
            scenario.driver(database, settings, Fault("act", at)) for at in range(probe.fault.count)
        ]
        for driver in drivers:
            driver.fault.act = functools.partial(what, driver)
        await together(
            verify(book, scenario, database, settings, driver.fault, scenario.states | also, driver)
            for driver in drivers
        )
        report(book, f"{scenario.name}/{what.__name__}")


async def verify(
    book: Book,
    scenario: Scenario,
    database: Database,
    settings: Settings,
    fault: Fault,
    allowed: frozenset[JobState],
    driver: Driver | None = None,
) -> None:
    driver = driver or scenario.driver(database, settings, fault)
    try:
        await driver.accept()
        await driver.run()
        check_run(driver, await check_promise(driver, allowed), scenario)
    except Exception as error:
        book.wrong.append(f"{fault.at} {fault.fired}: {type(error).__name__}: {error}"[:400])
    book.runs += 1
    book.broken += bool(fault.fired)


def report(book: Book, what: str) -> None:
    counts = {"boundaries": book.runs, "faults": book.broken, "jobs": book.runs}
    record(Row(part="steps", scenario=what, losses=len(book.wrong), **counts))
    assert book.broken, what
    assert not book.wrong, f"{what}: {len(book.wrong)} of {book.broken}\n" + "\n".join(book.wrong)
