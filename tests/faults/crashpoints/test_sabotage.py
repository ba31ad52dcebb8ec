"""The checks can fail: with the protocol broken on purpose the enumeration finds it, and where."""

from pathlib import Path

import pytest

from tests.faults.crashpoints.enumeration import Enumeration
from tests.faults.crashpoints.house import House, Lane
from tests.faults.crashpoints.scenarios import BY_NAME
from tests.faults.crashpoints.stage import Boundary

pytestmark = pytest.mark.faults

_CREATED = Boundary("http", "after the Akash Console POST /v1/deployments", 1)
_STUCK = 25.0
"""A job whose lease nobody wrote down never ends: this is long enough to be sure."""


class TestBrokenProtocol:
    async def test_honest_worker_may_die_there(
        self, house: House, lanes: list[Lane], tmp_path: Path
    ) -> None:
        honest = Enumeration(house, BY_NAME["a bid on akash"], lanes[:1], tmp_path)
        assert _CREATED in await honest.probe()
        await honest.each([[_CREATED]])
        (result,) = honest.results
        assert not result.violations, str(result)
        assert result.kills == 1

    @pytest.mark.parametrize("how", ["intent last", "blind retry"])
    async def test_is_found_with_its_boundary(
        self, how: str, house: House, lanes: list[Lane], tmp_path: Path
    ) -> None:
        scenario = BY_NAME["a bid on akash"]
        broken = Enumeration(house, scenario, lanes[:1], tmp_path, {"sabotage": how})
        await broken.probe()  # as long as nothing dies, nobody could tell
        broken.limit = _STUCK
        await broken.each([[_CREATED]])
        (result,) = broken.results
        assert result.kills == 1
        assert {"leak", "double_charge"} & {violation.kind for violation in result.violations}, str(
            result
        )
        assert _CREATED.where in str(result)
        assert (result.folder / "violations.txt").read_text().startswith(str(_CREATED))
        assert list(result.folder.glob("history-job_*.json"))
