"""CPU time from the counters by which a provider bills."""

from datetime import UTC, datetime, timedelta

import pytest

from cortex.domain.leases import LeaseRef
from providers.errors import Unavailable
from providers.golem import GolemProvider
from providers.golem.metrics import _moment
from tests.providers.golem.conftest import Sim, job, new_key
from tests.support import eventually


async def test_the_counter_of_the_offer_in_whatever_place(golem: GolemProvider, sim: Sim) -> None:
    ref = (await golem.submit(job("sleep 60"), new_key())).ref
    (activity,) = sim.world.core.activities.values()

    async def told() -> bool:
        return bool(await golem.metrics([ref]))

    await eventually(told, what="a sample")
    (sample,) = await golem.metrics([ref])
    now = sim.world.core.now()
    used = activity.usage(now)["golem.usage.cpu_sec"]
    assert sample.cpu_seconds == pytest.approx(float(used), abs=0.2)
    assert sample.memory is None
    assert sample.measured_at is not None
    assert abs(sample.measured_at - now) < timedelta(seconds=30)


async def test_of_what_has_ended_nothing_is_told(golem: GolemProvider) -> None:
    ref = (await golem.submit(job("sleep 60"), new_key())).ref
    await golem.cancel(ref)
    gone = LeaseRef(key=new_key(), network_id="0" * 64)
    assert await golem.metrics([ref, gone]) == []


async def test_one_that_cannot_be_asked_keeps_none_from_it(golem: GolemProvider, sim: Sim) -> None:
    refs = [(await golem.submit(job("sleep 60"), new_key())).ref for _ in range(2)]
    await sim.faults({"match": "GET */usage", "fault": "drop_before", "times": 1})
    assert len(await golem.metrics(refs)) >= 1
    await sim.faults({"match": "GET */agreements/*", "fault": "drop_before", "times": 1000})
    with pytest.raises(Unavailable):
        await golem.metrics(refs)
    await sim.faults()


@pytest.mark.parametrize(
    ("seconds", "time"),
    [(0, None), (-5, None), (10**18, None), (60, datetime(1970, 1, 1, 0, 1, tzinfo=UTC))],
)
def test_what_a_provider_calls_a_time(seconds: int, time: datetime | None) -> None:
    assert _moment(seconds) == time
