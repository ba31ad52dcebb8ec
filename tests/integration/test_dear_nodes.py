"""A network that gives a dearer node than it quoted: the next offer is taken, the bills agree."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from cortex.domain.jobs import Job, Reason
from cortex.domain.money.ledger import EntryKind
from cortex.domain.states import JobState
from tests.integration.conftest import Stage, StageMaker
from tests.integration.networks import Network, network
from tests.integration.story import troubles
from tests.integration.test_jobs import ledger
from tests.support.rows import open_holds

SPEC: dict[str, Any] = {
    "image": "busybox",
    "command": ["sh", "-c", "echo hello"],
    "resources": {"cpu": "500m", "memory": "256Mi"},
    "duration": "10m",
    "placement": {"providers": ["render-sim"], "timeout": "60s"},
}


async def billed(stage: Stage, job: Job, net: Network) -> dict[str, Decimal]:
    """What each lease was charged: once, and what the network charges."""
    entries = await ledger(stage, job)
    async with stage.database.transaction() as tx:
        assert not await open_holds(tx)
    charges = [entry for entry in entries if entry.kind is EntryKind.CHARGE]
    booked = {entry.lease_key: entry.amount.amount for entry in charges}
    assert len(booked) == len(charges)
    bills = {bill["key"]: Decimal(bill["amount"]) for bill in await net.bills()}
    assert {key: amount for key, amount in bills.items() if amount} == {
        key: amount for key, amount in booked.items() if amount
    }
    assert not await net.alive()
    return booked


async def test_the_next_offer_is_taken(make_stage: StageMaker, tmp_path: Path) -> None:
    async with network("render", tmp_path / "net") as net:
        stage = await make_stage(**{net.provider_id: net.entry()})
        await net.act("assign_dearer", times=2)
        job_id = await stage.submit(**SPEC)
        async with stage.worker():
            job = await stage.ended(job_id, within=90)
        assert job.state is JobState.COMPLETED
        told = await troubles(stage, job_id)
        assert [line.split(";")[0] for line in told] == [
            "`render-sim`: the network assigned a node (6 x RTX 3090) at 4.14 USD per hour, "
            f"{quoted} USD per hour were quoted"
            for quoted in ("0.31", "0.35")
        ]
        assert all(line.endswith("Cortex takes the next offer") for line in told)
        booked = await billed(stage, job, net)
        assert job.cost.amount == sum(booked.values())


async def test_with_nothing_else_the_job_says_what_it_was_offered(
    make_stage: StageMaker, tmp_path: Path
) -> None:
    async with network("render", tmp_path / "net") as net:
        stage = await make_stage(**{net.provider_id: net.entry()})
        await net.act("dearer_every", count=1)
        job_id = await stage.submit(
            **{**SPEC, "placement": {"providers": ["render-sim"], "timeout": "3s"}}
        )
        async with stage.worker():
            job = await stage.ended(job_id, within=90)
        assert (job.state, job.reason) == (JobState.FAILED, Reason.NO_CAPACITY)
        assert "at 4.14 USD per hour, 0." in job.message
        await billed(stage, job, net)
