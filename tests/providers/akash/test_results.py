"""What is fetched out of running leases, and who may ask a gateway for what."""

import json
from pathlib import Path

import pytest

from cortex.domain.leases import LeaseRef
from cortex.domain.states import RunState
from providers.akash import AkashProvider
from providers.akash.gateway import outputs
from providers.conformance import eventually
from providers.errors import InvalidSpec
from providers.outputs import packing
from simulators.akash import API_KEY, AkashSettings
from simulators.akash.cluster import run_id
from tests.providers.akash.conftest import Net, spec
from tests.support.recordings import Answer, Request, ask

EUROPE = AkashSettings().providers[0].address
_FILES = """
mkdir -p out/deep 'out/with space' && echo one > out/deep/a.txt
printf '\\000\\377' > 'out/with space/b.bin'; echo .h > out/.hidden
ln -s /etc/passwd out/passwd; ln -s /etc etc; echo ready; sleep 600
"""


async def ready(akash: AkashProvider, lease: str, script: str) -> LeaseRef:
    ref = (await akash.submit(spec(script), lease)).ref

    async def said() -> bool:
        if (await akash.status(ref)).state is not RunState.RUNNING:
            return False
        return "ready" in [line.text async for line in akash.logs(ref)]

    await eventually(said, what="`ready`")
    return ref


class TestOutputs:
    async def test_without_tar_in_the_image(
        self, net: Net, lease: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            outputs, "packing", lambda: packing().replace("command -v tar", "false")
        )
        akash = await net.provider()
        ref = await ready(akash, lease, _FILES)
        wanted = ["out", "etc/passwd", "missing", "out/deep/a.txt"]
        written = await akash.outputs(ref, wanted, tmp_path)
        assert sorted(map(str, written)) == [
            "out/.hidden",
            "out/deep/a.txt",
            "out/with space/b.bin",
        ]
        assert (tmp_path / "out/with space/b.bin").read_bytes() == b"\0\xff"

    async def test_too_many_bytes(self, net: Net, lease: str, tmp_path: Path) -> None:
        akash = await net.provider(max_output_bytes="1Mi")
        script = "head -c 5000000 /dev/urandom > big; echo ready; sleep 600"
        ref = await ready(akash, lease, script)
        with pytest.raises(InvalidSpec, match="max_output_bytes"):
            await akash.outputs(ref, ["big"], tmp_path)

    async def test_in_the_working_folder(self, net: Net, lease: str, tmp_path: Path) -> None:
        akash = await net.provider()
        job = spec("echo x > result; echo ready; sleep 600", workdir=str(tmp_path / "inside"))
        ref = (await akash.submit(job, lease)).ref

        async def there() -> bool:
            return "ready" in [line.text async for line in akash.logs(ref)]

        async def runs() -> bool:
            return (await akash.status(ref)).state is RunState.RUNNING

        await eventually(runs, what="the job")
        await eventually(there, what="`ready`")
        at_network = await (await net.provider()).find(lease)
        assert at_network is not None  # nothing but the network's own records are needed
        target = tmp_path / "target"
        assert await akash.outputs(at_network.ref, ["result"], target) == [Path("result")]


class TestEndedFromOutside:
    async def test_last_words_of_a_container_that_is_taken_away_are_no_end_of_the_job(
        self, net: Net, lease: str
    ) -> None:
        akash = await net.provider()
        ref = await ready(akash, lease, "echo ready; exec sleep 600")
        (deployment,) = net.world.book.deployments.values()
        await net.world.runs.signal(run_id(deployment, deployment.leases[0]), "TERM")

        async def over() -> bool:
            return (await akash.status(ref)).state.final

        await eventually(over, what="the end")
        snapshot = await akash.status(ref)
        assert (snapshot.state, snapshot.exit_code) == (RunState.LOST, None)
        assert "the command then ended with 143" in snapshot.message


class TestStop:
    async def test_a_command_may_clean_up_and_its_results_are_there(
        self, net: Net, lease: str, tmp_path: Path
    ) -> None:
        akash = await net.provider()
        script = "trap 'echo saved > out; echo bye; exit 4' TERM; echo ready; "
        ref = await ready(akash, lease, script + "while :; do sleep 0.1; done")
        await akash.stop(ref)
        snapshot = await akash.status(ref)
        assert (snapshot.state, snapshot.exit_code) == (RunState.LOST, None)
        assert "the command then ended with 4" in snapshot.message
        assert [line.text async for line in akash.logs(ref)] == ["ready", "bye"]
        assert await akash.outputs(ref, ["out"], tmp_path) == [Path("out")]
        await akash.stop(ref)
        await akash.cancel(ref)
        await akash.stop(ref)
        assert (await akash.status(ref)).state is RunState.LOST

    async def test_a_service_is_left_alone(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        ref = (await akash.submit(spec("sleep 600", kind="service"), lease)).ref
        await akash.stop(ref)
        (deployment,) = net.world.book.deployments.values()
        assert deployment.leases[0].exits == []


class TestTokens:
    async def test_one_for_logs_opens_no_shell(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        ref = await ready(akash, lease, "echo ready; sleep 600")
        url = net.world.gateways.url(EUROPE)

        async def asked(path: str, token: str, *, upgrade: bool = False) -> Answer:
            place = f"/lease/{ref.network_id}/1/1/{path}"
            head = {"Authorization": f"Bearer {token}"}
            return await ask(url, Request("GET", place, upgrade=upgrade), headers=head)

        token = await self.token(net, ["logs"])
        shell = "shell?cmd0=id&tty=0&stdin=0&podIndex=0&service=job"
        assert (await asked(shell, token, upgrade=True)).status == 401
        assert (await asked("status", token)).status == 401
        status = await asked("status", await self.token(net, ["status"]))
        assert json.loads(status.body or b"")["services"]["job"]["available"] == 1
        assert (await asked("status", await self.token(net, ["status"], ttl=0))).status == 400

    async def token(self, net: Net, scope: list[str], ttl: int = 60) -> str:
        permission = {"provider": EUROPE, "access": "scoped", "scope": scope}
        leases = {"access": "granular", "permissions": [permission]}
        answer = await net.control.post(
            "/v1/create-jwt-token",
            json={"data": {"ttl": ttl, "leases": leases}},
            headers={"x-api-key": API_KEY},
        )
        return str(answer.json()["data"]["token"])

    async def test_the_adapter_asks_for_what_it_needs(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        await ready(akash, lease, "echo ready; sleep 600")
        bodies = [
            exchange.request_body.decode()
            for exchange in net.recorder.exchanges
            if exchange.path == "/v1/create-jwt-token"
        ]
        assert bodies
        assert all('"access":"granular"' in body for body in bodies)
        assert not any('"full"' in body or '"shell"' in body for body in bodies)
        assert len(bodies) == len(set(bodies))  # each once: they are kept while they are good
