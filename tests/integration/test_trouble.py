"""Trouble on the way: the events say in plain words what happened and what Cortex does next."""

import socket
from typing import Any

from cortex.domain.jobs import Reason
from cortex.domain.states import JobState
from tests.integration.conftest import StageMaker
from tests.integration.story import troubles
from tests.support import eventually

LOCAL: dict[str, Any] = {"type": "local", "stop_grace": 0.5}


def job(script: str = "true", **changes: Any) -> dict[str, Any]:
    """The fields of a small job that runs a shell script."""
    return {
        "command": ["sh", "-c", script],
        "resources": {"cpu": "1", "memory": "128Mi"},
        "duration": "10m",
        **changes,
    }


class TestNobodyOffers:
    async def test_price_cap_below_all_offers(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            placement = {"max_price": "0.00001 USD", "timeout": "2s"}
            ended = await stage.ended(await stage.submit(**job(placement=placement)))
        assert (ended.state, ended.reason) == (JobState.FAILED, Reason.NO_CAPACITY)
        (told,) = await troubles(stage, ended.id)
        assert "no provider offers to run this job" in told
        assert "it costs 0.02" in told
        assert "the limit is 0.00001 USD" in told
        assert "Cortex asks again in 2s, and gives up at " in told
        assert "the limit is 0.00001 USD" in ended.message

    async def test_network_that_is_away(self, make_stage: StageMaker) -> None:
        stage = await make_stage(away={"type": "docker", "socket": "/nonexistent/docker.sock"})
        async with stage.worker():
            fields = job(image="busybox", placement={"timeout": "2s"})
            ended = await stage.ended(await stage.submit(**fields))
        assert ended.reason == Reason.NO_CAPACITY
        (told,) = await troubles(stage, ended.id)
        assert "`away`: it cannot be used now: " in told
        assert "Cortex asks again in 2s" in told


class TestPortClash:
    async def test_the_job_waits_for_its_port(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        with socket.socket() as stranger:
            stranger.bind(("127.0.0.1", 0))
            stranger.listen()
            port = stranger.getsockname()[1]
            async with stage.worker():
                fields = job(ports=[{"port": port}], placement={"timeout": "60s"})
                job_id = await stage.submit(**fields)

                async def told() -> bool:
                    return bool(await troubles(stage, job_id))

                await eventually(told, what="the clash told")
                stranger.close()
                ended = await stage.ended(job_id)
        assert ended.state == JobState.COMPLETED
        first = (await troubles(stage, job_id))[0]
        assert f"port {port}/tcp of this machine is taken by another program or job" in first
        assert first.endswith("Cortex takes the next offer")
