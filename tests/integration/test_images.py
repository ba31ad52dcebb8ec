"""An image that cannot be pulled: one lease, one bill, and a reason that names it."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from cortex.domain.jobs import Job, Reason
from cortex.domain.money.ledger import EntryKind
from cortex.domain.states import JobState
from tests.integration.conftest import Stage, StageMaker
from tests.integration.groups import job as member
from tests.integration.groups import submit
from tests.integration.networks import Network, network
from tests.integration.test_jobs import ledger
from tests.support.rows import open_holds

pytestmark = pytest.mark.slow

MISSING = "lab/no-such-image:1"
LIMITED = "lab/rate-limited:1"


def fields(image: str, *allowed: str, **changes: Any) -> dict[str, Any]:
    return {
        "image": image,
        "command": ["true"],
        "resources": {"cpu": "500m", "memory": "256Mi"},
        "duration": "10m",
        "placement": {"providers": list(allowed), "timeout": "60s"},
        **changes,
    }


async def leases(stage: Stage, job: Job) -> list[str]:
    """Where it had a lease, in order; each is released and charged once at most."""
    async with stage.database.reading() as tx:
        leases = await tx.leases.of_job(job.id)
        assert not await open_holds(tx)
    charged = [
        entry.lease_key for entry in await ledger(stage, job) if entry.kind is EntryKind.CHARGE
    ]
    assert len(charged) == len(set(charged))
    return [lease.provider_id for lease in leases]


@pytest.mark.parametrize("name", ["akash", "nosana", "golem"])
async def test_there_is_no_such_image(name: str, make_stage: StageMaker, tmp_path: Path) -> None:
    async with network(name, tmp_path / "net") as net:
        stage = await make_stage(**{net.provider_id: net.entry()})
        job_id = await stage.submit(**fields(MISSING, net.provider_id))
        async with stage.worker():
            job = await stage.ended(job_id, within=60)
        assert (job.state, job.reason) == (JobState.FAILED, Reason.IMAGE_UNAVAILABLE), job.message
        assert MISSING in job.message
        assert await leases(stage, job) == [net.provider_id]
        assert not await net.alive()


@pytest.mark.parametrize(
    ("image", "tried"),
    [
        (MISSING, ["nosana-sim"]),  # its registry says so: it is the same everywhere
        (LIMITED, ["nosana-sim", "akash-sim"]),  # each is asked once
    ],
)
async def test_elsewhere(
    image: str, tried: list[str], make_stage: StageMaker, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        nets: list[Network] = [
            await stack.enter_async_context(network(name, tmp_path / name))
            for name in ("nosana", "akash")
        ]
        akash = nets[1].entry(price_headroom="100", ready_within="4s")
        stage = await make_stage(**{"nosana-sim": nets[0].entry(), "akash-sim": akash})
        job_id = await stage.submit(**fields(image, "nosana-sim", "akash-sim"))
        async with stage.worker():
            job = await stage.ended(job_id, within=60)
        assert (job.state, job.reason) == (JobState.FAILED, Reason.IMAGE_UNAVAILABLE), job.message
        assert image in job.message
        assert await leases(stage, job) == tried
        assert job.losses == 0
        for net in nets:
            assert not await net.alive()


@pytest.mark.parametrize(
    ("policy", "good_end"),
    [
        ("all_or_nothing", (JobState.CANCELLED, Reason.GROUP_ABORTED)),
        ("best_effort", (JobState.COMPLETED, Reason.EXITED)),
    ],
)
async def test_a_member_of_a_group(
    policy: str, good_end: tuple[JobState, Reason], make_stage: StageMaker, tmp_path: Path
) -> None:
    seconds = "60" if policy == "all_or_nothing" else "1"
    async with network("nosana", tmp_path / "net") as net:
        stage = await make_stage(**{net.provider_id: net.entry()})
        jobs = [
            member("good", **fields("busybox", net.provider_id, command=["sleep", seconds])),
            member("bad", **fields(MISSING, net.provider_id)),
        ]
        async with stage.worker():
            group = await submit(stage, jobs, policy=policy)
            bad = await stage.ended(group.members["bad"], within=60)
            good = await stage.ended(group.members["good"], within=60)
        assert (bad.state, bad.reason) == (JobState.FAILED, Reason.IMAGE_UNAVAILABLE)
        assert (good.state, good.reason) == good_end
        assert await leases(stage, bad) == [net.provider_id]
        assert not await net.alive()
