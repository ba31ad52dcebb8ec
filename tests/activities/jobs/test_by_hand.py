"""A decision by hand that comes while the bill is on its way: what was decided is booked."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cortex.db.engine import Database
from cortex.domain.jobs import Reason
from cortex.domain.leases import LeaseRef
from cortex.domain.money import Money
from cortex.domain.offers import Usage
from cortex.domain.states import JobState
from cortex.domain.trace.resolution import Resolution, ResolveAction
from cortex.settings import Settings
from providers.null import NullConfig
from tests.faults.boundaries import Fault
from tests.faults.harness import Driver
from tests.faults.one_network import Network
from tests.faults.promise import rows
from workflows.decisions import End, LeaseEnd

CANCELLED = LeaseEnd(End.STOPPED, Reason.CANCELLED, "cancelled")


class Slow(Network):
    """A network during whose calls something else may happen."""

    meanwhile: dict[str, Callable[[], Awaitable[None]]]

    async def usage(self, ref: LeaseRef) -> Usage:
        usage = await super().usage(ref)
        await self._let("usage")
        return usage

    async def forget(self, ref: LeaseRef) -> None:
        await self._let("forget")
        await super().forget(ref)

    async def _let(self, call: str) -> None:
        act = self.meanwhile.pop(call, None)
        if act is not None:
            await act()


def settled_at(amount: str, reason: str = "test") -> Resolution:
    return Resolution(
        action=ResolveAction.SETTLE,
        amount=Money.model_validate(amount),
        usd_rate=Decimal(1),
        reason=reason,
        actor="admin",
        at=datetime.now(UTC),
    )


@pytest.fixture
def network() -> Slow:
    slow = Slow("null", NullConfig(run_seconds=-1))
    slow.meanwhile = {}
    return slow


@pytest.fixture
def driver(database: Database, tmp_path: Path, network: Slow) -> Driver:
    async def cancelled(driver: Driver, _key: str) -> LeaseEnd:
        async with driver.database.transaction() as tx:
            await tx.jobs.lock(driver.job_id)
            await tx.jobs.move(driver.job_id, JobState.CANCELLING, message="cancel requested")
        driver.stopped = True
        return CANCELLED

    return Driver(database, network, Settings(data_dir=tmp_path), Fault(), watch=cancelled)


async def decide(driver: Driver, resolution: Resolution) -> None:
    """As the API does."""
    async with driver.database.transaction() as tx:
        await tx.jobs.lock(driver.job_id)
        assert driver.lease_key is not None
        await tx.leases.decide(driver.lease_key, resolution)


async def charges(driver: Driver) -> list[Any]:
    query = "SELECT amount, note FROM ledger WHERE job_id = :job AND kind = 'charge'"
    return [
        (row["amount"], row["note"]) for row in await rows(driver.database, query, driver.job_id)
    ]


async def test_one_that_comes_right_before_the_booking(driver: Driver, network: Slow) -> None:
    network.meanwhile["usage"] = lambda: decide(driver, settled_at("2 USD"))
    await driver.accept()
    await driver.run()
    ((amount, note),) = await charges(driver)
    assert amount == 2
    assert "settled by hand, by `admin`: test" in note
    (job,) = await rows(driver.database, "SELECT * FROM jobs WHERE id = :job", driver.job_id)
    assert job["state"] == "cancelled"
    assert "settled by hand, by `admin`: test" in job["message"]
    (ref,) = await network.owned()  # not forgotten: reconcile goes on comparing its bill
    assert (await network.status(ref)).state.final


async def test_one_that_replaces_another(driver: Driver, network: Slow) -> None:
    """While the first is carried out, somebody decides otherwise: the last word counts."""

    async def first() -> None:
        network.meanwhile["usage"] = lambda: decide(driver, settled_at("3 USD", "no, that"))
        await decide(driver, settled_at("2 USD", "this"))

    network.meanwhile["usage"] = first
    await driver.accept()
    await driver.run()
    ((amount, note),) = await charges(driver)
    assert amount == 3
    assert "no, that" in note


async def test_a_retry_takes_back_no_decision(driver: Driver, network: Slow) -> None:
    """`retry` is "try now": what was decided about the bill before it stays decided."""
    retry = Resolution(
        action=ResolveAction.RETRY, reason="hurry", actor="other", at=datetime.now(UTC)
    )

    async def both() -> None:
        await decide(driver, settled_at("2 USD"))
        await decide(driver, retry)

    network.meanwhile["usage"] = both
    await driver.accept()
    await driver.run()
    ((amount, _),) = await charges(driver)
    assert amount == 2


async def test_one_that_comes_after_the_booking_changes_nothing(
    driver: Driver, network: Slow
) -> None:
    """The service refuses it; were it written all the same, nothing would be booked twice."""
    network.meanwhile["forget"] = lambda: decide(driver, settled_at("2 USD"))
    await driver.accept()
    await driver.run()
    ((amount, note),) = await charges(driver)
    assert amount != 2
    assert "by hand" not in note
