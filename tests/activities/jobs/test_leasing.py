"""Reserve and commit in one step: the rows and events of two, and no start after a cancel."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.contracts import LeaseInput, PlaceInput
from activities.jobs.leasing import LeaseActivities
from activities.jobs.placement import PlacementActivities
from activities.runtime.errors import PATIENCE, translated
from cortex.db.engine import Database
from cortex.security.keyring import KeyRing
from cortex.settings import Settings
from providers.base import Committed, Reservation
from providers.errors import Unavailable
from providers.null import NullConfig
from tests.faults.boundaries import Fault
from tests.faults.harness import Driver
from tests.faults.one_network import Network, OneFleet
from tests.faults.promise import rows
from tests.faults.test_crash_points import request_cancel

RUNS = NullConfig(run_seconds=-1)


async def placed(database: Database, folder: Path, network: Network) -> tuple[Driver, LeaseInput]:
    """A job that has a lease with `network`, and what its next step is told."""
    driver = Driver(database, network, Settings(data_dir=folder), Fault())
    await driver.accept()
    placing = PlaceInput(job_id=driver.job_id, attempt=1)
    placement = await driver.step("place", placing, PlacementActivities)
    return driver, LeaseInput(
        job_id=driver.job_id, lease_key=placement.lease_key, provider_id=network.id
    )


def steps_of(driver: Driver) -> LeaseActivities:
    return LeaseActivities(driver.database, OneFleet(driver.provider), KeyRing.from_setting(None))


class TestSameAsTwoSteps:
    @pytest.mark.parametrize("config", [RUNS, NullConfig(), NullConfig(exit_code=3)])
    async def test_writes_the_same_rows_and_tells_the_same_events(
        self, database: Database, tmp_path: Path, config: NullConfig
    ) -> None:
        written = []
        for names in (["prepare", "commit"], ["acquire"]):
            driver, lease = await placed(database, tmp_path, Network("null", config))
            answers = [await driver.step(name, lease, LeaseActivities) for name in names]
            assert answers[-1].deadline_at is not None
            written.append([(answers[-1].change or lease).model_dump(include={"state"})])
            written[-1] += await _written(database, driver.job_id)
        two, one = written
        assert one == two

    async def test_a_try_after_the_commit_answers_what_is_written(
        self, database: Database, tmp_path: Path
    ) -> None:
        network = Network("null", NullConfig())
        driver, lease = await placed(database, tmp_path, network)
        first = await driver.step("acquire", lease, LeaseActivities)
        again = await driver.step("acquire", lease, LeaseActivities)
        assert again.deadline_at == first.deadline_at
        assert again.change is not None
        assert again.change.state == first.change.state
        assert network.starts == {lease.lease_key: 1}


async def _written(database: Database, job_id: str) -> list[Any]:
    """Rows and events of a job without what differs from one job to the next."""
    job = await rows(database, "SELECT state, message FROM jobs WHERE id = :job", job_id)
    query = "SELECT state, run_state, exit_code, version FROM leases WHERE job_id = :job"
    lease = await rows(database, query, job_id)
    query = """SELECT type, data - 'lease' - 'started_at' - 'finished_at' AS data FROM events
        WHERE job_id = :job ORDER BY tx, seq"""
    events = await rows(database, query, job_id)
    told = [
        (e["type"], {k: v for k, v in e["data"].items() if job_id not in str(v)}) for e in events
    ]
    return [dict(job[0]), dict(lease[0]), told]


class Meanwhile(Network):
    """A network at which something happens around its calls."""

    after_prepare: Callable[[], Awaitable[None]] | None = None
    during_commit: Callable[[], Awaitable[None]] | None = None

    async def prepare(self, *args: Any, **given: Any) -> Reservation:
        made = await super().prepare(*args, **given)
        if self.after_prepare is not None:
            await self.after_prepare()
        return made

    async def commit(self, reservation: Reservation) -> Committed:
        if self.during_commit is not None:
            await self.during_commit()
        return await super().commit(reservation)


class TestStopped:
    async def test_a_job_that_was_cancelled_meanwhile_is_not_started(
        self, database: Database, tmp_path: Path
    ) -> None:
        network = Meanwhile("null", RUNS)
        driver, reserved = await placed(database, tmp_path, network)
        network.after_prepare = lambda: request_cancel(driver)
        result = await driver.step("acquire", reserved, LeaseActivities)
        assert (result.deadline_at, result.change) == (None, None)
        assert not hasattr(network, "starts")
        (lease,) = await rows(
            database, "SELECT state FROM leases WHERE job_id = :job", driver.job_id
        )
        assert lease["state"] == "reserved"

    async def test_a_stop_waits_for_the_commit(self, database: Database, tmp_path: Path) -> None:
        network = Meanwhile("null", RUNS)
        driver, lease = await placed(database, tmp_path, network)
        environment = ActivityEnvironment()
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slowly() -> None:
            begun.set()
            await go_on.wait()

        network.during_commit = slowly
        step = asyncio.ensure_future(environment.run(steps_of(driver).acquire, lease))
        await begun.wait()
        environment.cancel(ActivityCancellationDetails(cancel_requested=True))
        await asyncio.sleep(0)
        assert not step.done()
        go_on.set()
        assert (await step).deadline_at is not None
        assert network.starts == {lease.lease_key: 1}

    @pytest.mark.parametrize("how", ["worker_shutdown", "timed_out", "not_found"])
    async def test_nothing_else_waits_for_it(
        self, database: Database, tmp_path: Path, how: str
    ) -> None:
        network = Meanwhile("null", RUNS)
        driver, lease = await placed(database, tmp_path, network)
        environment = ActivityEnvironment()
        begun = asyncio.Event()

        async def for_ever() -> None:
            begun.set()
            await asyncio.Event().wait()

        network.during_commit = for_ever
        step = asyncio.ensure_future(environment.run(steps_of(driver).acquire, lease))
        await begun.wait()
        environment.cancel(ActivityCancellationDetails(**{how: True}))
        with pytest.raises(asyncio.CancelledError):
            await step


class TestPatience:
    async def test_a_long_reservation_does_not_shorten_that_with_the_commit(
        self, database: Database, tmp_path: Path
    ) -> None:
        network = Meanwhile("null", RUNS)
        driver, lease = await placed(database, tmp_path, network)

        async def away() -> None:
            raise Unavailable("no answer")

        network.during_commit = away
        assert not (await self._error(driver, lease)).non_retryable
        query = "UPDATE leases SET reserved_at = now() - interval '1 hour' WHERE job_id = :job"
        async with database.transaction() as tx:
            await tx.connection.exec_driver_sql(query.replace(":job", f"'{driver.job_id}'"))
        assert (await self._error(driver, lease)).non_retryable

    async def _error(self, driver: Driver, target: LeaseInput) -> ApplicationError:
        """Of a try of a step that was scheduled long ago."""
        environment = ActivityEnvironment()
        long_ago = datetime.now(UTC) - PATIENCE - timedelta(minutes=1)
        environment.info = dataclasses.replace(environment.info, scheduled_time=long_ago)

        async def step() -> None:
            with translated():
                await steps_of(driver).acquire(target)

        with pytest.raises(ApplicationError) as caught:
            await environment.run(step)
        return caught.value
