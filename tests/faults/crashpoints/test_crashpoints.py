"""A worker, or the API, is killed at every boundary of every scenario: the promise holds each time.

`make faults` takes all boundaries, and a second kill at boundaries of the process that took over;
`make test-slow` takes some of some scenarios.
"""

import itertools
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.crashpoints.enumeration import Enumeration, spread
from tests.faults.crashpoints.house import House, Lane
from tests.faults.crashpoints.scenarios import BY_NAME, SCENARIOS, Scenario
from tests.faults.crashpoints.stage import Boundary
from tests.faults.report import full

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

SOME = {
    "success on nosana": 8,
    "cancel while it runs": 4,
    "fail-over: no commit": 4,
    "workflow terminated": 4,
    "settled by force, the API dies": 3,
}
"""How many boundaries `make test-slow` takes of which scenarios."""
FOUND = {
    "workflow terminated": Boundary("activity", "after plan_rescue", 1),
    "success on nosana": Boundary("activity", "between prepare and commit", 1),
}
"""Where the promise was broken once, or where one step ends inside of another: taken always."""
_PAIRS = 12
_TAKEN_OVER = 40
"""How far into the life of the second process a second kill may come."""
_MAY_BE_MISSED = 0.1
"""Share of the boundaries that may never come again: polls, of which there is no fixed number."""

CHOSEN = SCENARIOS if full() else tuple(BY_NAME[name] for name in SOME)


@pytest.fixture
def enumeration(
    request: pytest.FixtureRequest, house: House, lanes: list[Lane], tmp_path: Path
) -> Enumeration:
    scenario: Scenario = request.param
    return Enumeration(house, scenario, lanes, tmp_path)


@pytest.mark.parametrize(
    "enumeration", CHOSEN, ids=lambda enumeration: enumeration.name, indirect=True
)
class TestEveryBoundary:
    async def test_one_kill(self, enumeration: Enumeration) -> None:
        began = time.monotonic()
        boundaries = await enumeration.probe()
        name = enumeration.scenario.name
        chosen = boundaries if full() else spread(boundaries, SOME[name])
        chosen += [place for place in (FOUND.get(name),) if place and place not in chosen]
        await enumeration.each([[boundary] for boundary in chosen])
        enumeration.report(len(chosen), began)
        missed = enumeration.unreached
        assert len(missed) <= max(2, _MAY_BE_MISSED * len(chosen)), missed

    @pytest.mark.skipif(not full(), reason="`make faults` does it")
    async def test_a_second_kill(self, enumeration: Enumeration) -> None:
        began = time.monotonic()
        chosen = pairs(await enumeration.probe(), enumeration.scenario.name)
        await enumeration.each(chosen)
        enumeration.report(len(chosen), began, suffix=", killed twice")


def pairs(boundaries: Sequence[Boundary], seed: str) -> list[list[Boundary]]:
    """First kills from all over the scenario, and each time a boundary of what comes after it.

    The process that takes over starts anew, so its first boundaries are those of any start.
    """
    choice = random.Random(seed)
    firsts = spread(boundaries, _PAIRS)
    later = [choice.choice(list(itertools.islice(boundaries, _TAKEN_OVER))) for _ in firsts]
    return [[first, second] for first, second in zip(firsts, later, strict=True)]
