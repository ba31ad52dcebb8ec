"""What is made of gateways that show less than there is, or nothing."""

import asyncio
from pathlib import Path

import pytest

from cortex.domain.leases import LeaseRef
from cortex.domain.states import RunState
from providers.akash import AkashProvider
from providers.conformance import eventually
from providers.errors import Unavailable
from tests.providers.akash.conftest import Net, spec
from tests.providers.akash.test_leases import FOREVER, released, running, until
from tests.providers.akash.test_results import EUROPE, ready
from tests.support import patience


async def texts(akash: AkashProvider, ref: LeaseRef, *, follow: bool = False) -> list[str]:
    return [line.text async for line in akash.logs(ref, follow=follow)]


class TestLogs:
    async def test_one_that_broke_off_is_read_again(self, net: Net, lease: str) -> None:
        """Kubernetes ends the stream for once before the command's end: nothing tells."""
        akash = await net.provider()
        ref = await running(akash, lease, "echo 1; sleep 1; echo 2; sleep 1; echo 3")
        net.world.gateways.break_logs(times=1, after=1)
        assert await texts(akash, ref, follow=True) == ["1", "2", "3"]
        assert (await until(akash, ref, RunState.EXITED)).exit_code == 0

    async def test_one_of_which_the_middle_cannot_be_had(self, net: Net, lease: str) -> None:
        """Every reading ends early: what the log's end shows is given, and what is missing said."""
        akash = await net.provider()
        ref = (await akash.submit(spec("seq 100"), lease)).ref
        await until(akash, ref, RunState.EXITED)
        net.world.gateways.break_logs(times=1000, after=30)
        for follow in (False, True):
            printed = await texts(akash, ref, follow=follow)
            assert printed[:2] == ["1", "2"]
            assert printed[-2:] == ["99", "100"]
            assert "[cortex: some output was lost here: the provider does not show it]" in printed
            assert len(printed) == len(set(printed)) < 100

    async def test_one_that_runs_on_is_no_broken_one(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        ref = await ready(akash, lease, FOREVER)
        assert await texts(akash, ref) == ["ready"]


class TestGateways:
    async def test_one_that_refuses_is_told_and_at_last_given_up(
        self, net: Net, lease: str
    ) -> None:
        """Its clock is ten minutes behind: every token is one of the future for it."""
        akash = await net.provider(dark_after="1s")
        ref = await running(akash, lease)
        await net.act("provider_clock", key=lease, seconds=-600)
        akash = await net.provider(dark_after="1s")  # with no token from before

        async def told() -> bool:
            snapshots = await akash.statuses([ref])
            return bool(snapshots) and snapshots[0].message != ""

        await eventually(told, what="a message")
        snapshot = (await akash.statuses([ref]))[0]
        assert snapshot.state is RunState.RUNNING
        assert snapshot.message == (
            "provider provider.europe.example.org refuses the Console's token: JWT has invalid "
            "claims (its clock may be wrong by minutes); Cortex keeps asking"
        )
        lost = await until(akash, ref, RunState.LOST)
        assert "JWT has invalid claims" in lost.message
        assert not lost.unfit
        await released(net, akash, ref)

    async def test_one_that_comes_to_its_senses(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        ref = await running(akash, lease)
        await net.act("kube", key=lease, says="no-pods")
        assert await akash.statuses([ref]) == []  # a moment says nothing
        await net.act("kube", key=lease)
        assert (await until(akash, ref, RunState.RUNNING)).message == ""


class TestShells:
    @pytest.mark.parametrize("says", ["no-manifest", "reset", "runtime-error", "pod-gone"])
    async def test_outputs_of_a_shell_that_did_not_run(
        self, net: Net, lease: str, tmp_path: Path, says: str
    ) -> None:
        """The gateway says `exit_code` 0: that is no empty folder, and no success."""
        akash = await net.provider()
        ref = await ready(akash, lease, "echo x > out; echo ready; exec sleep 600")
        await net.act("kube", key=lease, says=says)
        with pytest.raises(Unavailable, match="a command in the container did not run"):
            await akash.outputs(ref, ["out"], tmp_path)
        await net.act("kube", key=lease)
        assert await akash.outputs(ref, ["out"], tmp_path) == [Path("out")]

    async def test_a_stop_that_did_not_run_is_sent_again(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        script = "trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.1; done"
        ref = await ready(akash, lease, script)
        await net.act("kube", key=lease, says="pod-gone")
        stopping = asyncio.create_task(akash.stop(ref))
        await asyncio.sleep(0.5)
        assert not stopping.done()
        await net.act("kube", key=lease)
        await stopping
        assert await texts(akash, ref) == ["ready", "bye"]

    async def test_a_provider_that_went_away_is_not_waited_for(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        ref = await ready(akash, lease, FOREVER)
        await net.act("lose_lease", key=lease)
        async with asyncio.timeout(patience(5)):
            await akash.stop(ref)
        assert EUROPE in net.world.book.providers
