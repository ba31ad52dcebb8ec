"""`cortex provider verify` over a real worker and API against a real yagna daemon."""

import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from temporalio.client import Client

from cortex.db.engine import Database
from providers.conformance import eventually
from tests.api.support import KEY, serve
from tests.integration.conftest import stage_on
from tests.integration.managed import managed
from tests.providers.golem.real.agent import Agent
from tests.providers.golem.real.conftest import IMAGE, settings
from tests.providers.golem.real.daemon import Daemon
from tests.support.verify import assert_as_expected, command_for, verified

# A call under way when the bus was lost is answered by nothing but its timeout of 30 s.


def entry(daemon: Daemon) -> dict[str, Any]:
    """The daemon as the settings of a worker have it."""
    config = settings(daemon, poll_interval=1)
    plain = config.model_dump(mode="json", exclude_defaults=True)
    return {"type": "golem", **plain, "app_key": daemon.requestor_key}


async def test_all_is_as_the_adapter_expects(
    database_url: str,
    database: Database,
    temporal: Client,
    daemon: Daemon,
    agent: Agent,
    tmp_path: Path,
) -> None:
    made = await stage_on(database_url, database, temporal, tmp_path, golem=entry(daemon))
    stage = managed(made)
    others = await _allocations(daemon)  # of the tests before, which share the daemon
    async with stage.worker(), serve(stage.settings) as (url, _):
        cortex = command_for(url, KEY, tmp_path)
        try:
            told = await verified(cortex, "golem", tmp_path, "--yes", "--timeout", "2m")
        finally:
            sys.stdout.write(f"{agent.told()}\n")  # it is shown if the test has failed

        async def all_released() -> bool:
            return await _allocations(daemon) <= others

        # An allocation is released with the lease's records, once everything is booked: by the
        # worker, a moment after the command has ended.
        await eventually(all_released, what="the end of the allocations")
    assert_as_expected(told)
    assert (told.image, told.network_version, told.simulated) == (IMAGE, "0.17.6", False)
    assert daemon.requestor_key not in (tmp_path / "golem.json").read_text()
    async with daemon.client(daemon.requestor_key) as client:
        invoices = (await client.get("/payment-api/v1/invoices")).json()
    # What the daemon has accepted is what Cortex has booked.
    accepted = {
        Decimal(invoice["amount"]) for invoice in invoices if invoice["status"] == "ACCEPTED"
    }
    for run in told.runs:
        assert {charge.amount for charge in run.charged} <= accepted


async def _allocations(daemon: Daemon) -> set[str]:
    async with daemon.client(daemon.requestor_key) as client:
        allocations = (await client.get("/payment-api/v1/allocations")).json()
    return {allocation["allocationId"] for allocation in allocations}
