"""Groups over three simulated networks: what one of them does to its member concerns all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cortex.domain.jobs import Reason
from cortex.domain.money.ledger import EntryKind
from cortex.domain.states import JobState
from tests.integration.conftest import Stage, StageMaker
from tests.integration.groups import Group, job, submit
from tests.integration.networks import Network, network

pytestmark = pytest.mark.slow

BUSY: dict[str, Any] = {
    "match": "POST /v1/leases",
    "fault": "rate_limit",
    "retry_after": 1,
    "times": 1_000,
}
"""Akash takes the reservation and does not get to the lease."""


@dataclass
class Scene:
    """A member on each network: `g` on Golem, `n` on Nosana, and the third, `a`, on Akash."""

    stage: Stage
    akash: Network
    nets: list[Network]

    async def submit(self, script: str = "sleep 120", **fields: Any) -> Group:
        """The group, once all providers are open."""
        jobs = [
            job(
                net.name[0],
                image="busybox",
                command=["sh", "-c", script],
                resources={"cpu": "500m", "memory": "256Mi"},
                duration="10m",
                placement={"providers": [net.provider_id], "timeout": "30s"},
            )
            for net in self.nets
        ]
        return await submit(self.stage, jobs, **fields)

    async def third_is_gone(self, group: Group) -> None:
        """The third's deployment is closed before there is a lease; the network is well again."""
        async with self.stage.database.reading() as tx:
            (lease,) = await tx.leases.of_job(group.members["a"])
        await self.akash.act("close", key=lease.key)
        await self.akash.faults()

    async def nothing_lives(self) -> None:
        """At no network anything is left that costs money."""
        for net in self.nets:
            assert not await net.alive(), net.name

    async def charged(self, group: Group) -> dict[str, int]:
        """How many charges each member has."""
        charges = {}
        async with self.stage.database.reading() as tx:
            for name, job_id in group.members.items():
                entries = await tx.ledger.page(job_id=job_id)
                charges[name] = sum(entry.kind == EntryKind.CHARGE for entry in entries)
        return charges


@pytest.fixture
async def scene(tmp_path: Path, make_stage: StageMaker) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        akash, golem, nosana = [
            await stack.enter_async_context(network(name, tmp_path / name))
            for name in ("akash", "golem", "nosana")
        ]
        nets = [akash, golem, nosana]
        stage = await make_stage(**{net.provider_id: net.entry() for net in nets})
        async with stage.worker():
            yield Scene(stage, akash, nets)


class TestThreeNetworks:
    async def test_all_commit_and_complete(self, scene: Scene) -> None:
        group = await scene.submit("echo done")
        assert await group.ended(within=90) == "completed"
        assert await scene.charged(group) == {"a": 1, "g": 1, "n": 1}
        await scene.nothing_lives()

    async def test_third_that_cannot_be_reserved_costs_nobody_anything(self, scene: Scene) -> None:
        full = {"match": "POST /v1/deployments", "fault": "rate_limit", "times": 1_000}
        await scene.akash.faults(full)
        group = await scene.submit(prepare_timeout="12s")
        await group.reserved("g", "n")
        assert await group.ended(within=90) == "failed"
        assert await group.decisions() == ["aborted"]
        assert await scene.charged(group) == {"a": 0, "g": 0, "n": 0}
        assert set((await group.committed()).values()) == {0}
        await scene.nothing_lives()

    async def test_third_that_cannot_be_committed_takes_the_others_with_it(
        self, scene: Scene
    ) -> None:
        await scene.akash.faults(BUSY)
        group = await scene.submit()
        await self._others_run(group)
        await scene.third_is_gone(group)
        assert await group.ended(within=90) == "failed"
        jobs = await group.jobs()
        assert (jobs["a"].state, jobs["a"].reason) == (JobState.FAILED, Reason.LEASE_LOST)
        assert {jobs["g"].reason, jobs["n"].reason} == {Reason.GROUP_ABORTED}
        assert "`a` could not be committed after the others were" in await group.message()
        assert await scene.charged(group) == {"a": 0, "g": 1, "n": 1}
        await scene.nothing_lives()

    async def test_third_is_placed_anew_if_the_group_says_so(self, scene: Scene) -> None:
        await scene.akash.faults(BUSY)
        group = await scene.submit("sleep 3", commit_failure="retry")
        await self._others_run(group)
        await scene.third_is_gone(group)
        assert await group.ended(within=120) == "completed"
        assert (await group.job("a")).attempt > 1
        assert await scene.charged(group) == {"a": 1, "g": 1, "n": 1}
        await scene.nothing_lives()

    async def test_cancel_while_the_third_is_being_committed(self, scene: Scene) -> None:
        await scene.akash.faults(BUSY)
        group = await scene.submit()
        await self._others_run(group)
        await group.cancel()
        await scene.akash.faults()
        assert await group.ended(within=90) == "cancelled"
        assert set((await group.states()).values()) == {JobState.CANCELLED}
        await scene.nothing_lives()

    async def _others_run(self, group: Group) -> None:
        ran = (JobState.RUNNING, JobState.SETTLING, JobState.COMPLETED)
        await asyncio.gather(*(group.until(name, *ran, within=60) for name in ("g", "n")))
