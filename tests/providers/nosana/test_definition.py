"""What stands in a job's definition: no secret, no link to files, nothing that a node rewrites."""

import json
import subprocess
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from cortex.domain.spec import JobSpec
from providers.dropbox import DropBox
from providers.errors import Unsuitable
from providers.nosana.definition import MAX_BODY, agreed_hourly, has_runner, linked, plan
from providers.nosana.shielding import shielded
from simulators.nosana.interpolation import interpolated
from tests.providers.nosana.conftest import Sim, make_config
from tests.providers.nosana.support import ended, job, new_key

DROP = DropBox("https://drop.example", b"secret")
JSON = [
    '{"lr": 0.1, "names": ["a b", "it\'s"]}',
    "[1, 2]",
    '  {"x": null}',
    "%%global.job%%",
    "a %%ops.x.results.y%% b",
    "{not json",
    "100%% sure",
    "plain",
]


def made(spec: JobSpec, drop: DropBox | None = DROP, **changes: Any) -> dict[str, Any]:
    planned = plan(
        spec,
        "cortex-k",
        new_key(),
        market="M",
        hourly=Decimal("0.07"),
        config=make_config(**changes),
        drop=drop,
    )
    return linked(planned.text, "job_01jjjjjjjjjjjjjjjjjjjjjjjj-1", drop)


class TestSecrecy:
    def test_no_secret_and_no_link_but_the_one_that_is_good_once(self) -> None:
        spec = job(outputs=["out"], inputs=[{"from": "job_1"}], secret_env={"TOKEN": "s3cret"})
        text = json.dumps(made(spec))
        assert "s3cret" not in text
        assert text.count("https://") == 1
        assert "op=take" in text
        assert "op=put" not in text
        assert "op=get" not in text

    def test_the_reservation_has_no_link_at_all(self) -> None:
        spec = job(secret_env={"TOKEN": "s3cret"})
        planned = plan(
            spec,
            "cortex-k",
            new_key(),
            market="M",
            hourly=Decimal(1),
            config=make_config(),
            drop=DROP,
        )
        assert "https://" not in planned.text
        assert "s3cret" not in planned.text
        assert planned.handover is not None
        assert b"s3cret" not in planned.handover

    @pytest.mark.parametrize("more", [{"secret_env": {"T": "x"}}, {"outputs": ["o"]}])
    def test_without_a_drop_box_it_is_refused(self, more: dict[str, Any]) -> None:
        with pytest.raises(Unsuitable, match=r"pinned to public IPFS.*drop\.secret"):
            made(job(**more), drop=None)

    async def test_the_job_gets_them_and_nobody_after_it(self, sim: Sim) -> None:
        provider = await sim.provider()
        spec = job('test "${#TOKEN}" = 6 && echo ok', secret_env={"TOKEN": "s3cret"})
        ref = (await provider.submit(spec, new_key())).ref
        assert (await ended(provider, ref)).exit_code == 0
        (made_there,) = sim.world.network.books.deployments.values()
        text = json.dumps(made_there.definition)
        assert "s3cret" not in text
        link = made_there.definition["ops"][0]["args"]["env"]["CORTEX_RUNNER_HANDOVER_URL"]
        assert await sim.status_of(link) == 410
        await provider.cancel(ref)
        await provider.forget(ref)
        await provider.aclose()

    async def test_if_somebody_is_faster_the_job_is_lost_and_says_so(self, sim: Sim) -> None:
        provider = await sim.provider()
        await sim.act("hold_nodes", at="pull")
        spec = job("echo ran", secret_env={"TOKEN": "s3cret"})
        ref = (await provider.submit(spec, new_key())).ref
        (made_there,) = sim.world.network.books.deployments.values()
        link = made_there.definition["ops"][0]["args"]["env"]["CORTEX_RUNNER_HANDOVER_URL"]
        assert await sim.status_of(link) == 200
        await sim.act("hold_nodes")
        end = await ended(provider, ref)
        assert end.exit_code is None
        assert "renew them" in end.message
        assert [line async for line in provider.logs(ref)] == []
        await provider.cancel(ref)
        await provider.aclose()


class TestForm:
    def test_meta_carries_what_must_be_found_again(self) -> None:
        body = made(job())
        definition = body["job_definition"]
        assert (body["autostart"], body["strategy"], body["replicas"]) == (True, "SIMPLE", 1)
        assert agreed_hourly(definition) == Decimal("0.07")
        assert has_runner(definition)

    def test_without_bound_logs_a_plain_job_has_no_runner(self) -> None:
        body = made(job("exit 3"), bound_logs=False)
        assert not has_runner(body["job_definition"])
        assert body["job_definition"]["ops"][0]["args"]["entrypoint"] == ["sh", "-c", "exit 3"]

    def test_the_images_own_command_is_left_to_it(self) -> None:
        spec = JobSpec.model_validate({"image": "debian", "args": ["-x"], "duration": "5m"})
        args = made(spec)["job_definition"]["ops"][0]["args"]
        assert "entrypoint" not in args
        assert args["cmd"] == ["-x"]

    def test_the_longest_job_is_shorter_than_what_the_network_takes(self) -> None:
        """1 MiB for a body: the spec's own limits keep within it."""
        env = {f"V{n}": "x" * 10_000 for n in range(6)}
        secrets = {f"S{n}": "y" * 10_000 for n in range(6)}
        body = made(job("#" * 120_000, env=env, secret_env=secrets))
        assert len(json.dumps(body)) < MAX_BODY // 2

    def test_the_limit_is_the_duration_and_the_margin(self) -> None:
        assert made(job(duration="61s"), time_margin=timedelta(0))["timeout"] == 2


class TestShielding:
    """Against what a node does, as the simulator has it from its source."""

    @pytest.mark.parametrize("runner", [True, False])
    def test_arguments_and_variables_arrive_as_they_are(self, runner: bool) -> None:
        env = {f"V{n}": text for n, text in enumerate(JSON)}
        argv = ["sh", "-c", 'printf "%s\\n" "$@"; env', "x", *JSON]
        if runner:
            argv = ["/bin/sh", "-c", '# runner\nexec "$@"', "cortex-runner", *argv]
        command, left = shielded(argv, env, whole=True)
        args = interpolated({"entrypoint": command, "env": left})
        said = subprocess.run(
            args["entrypoint"],
            env={"PATH": "/usr/bin:/bin", **args["env"]},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout
        lines = said.splitlines()
        assert lines[: len(JSON)] == JSON
        assert {f"{name}={text}" for name, text in env.items()} <= set(lines)

    def test_what_needs_nothing_is_left_alone(self) -> None:
        argv, env = ["python", "-c", "print(1)"], {"A": "b"}
        assert shielded(argv, env, whole=True) == (argv, env)

    @pytest.mark.parametrize(
        ("argv", "env"), [([], {"A": "[1]"}), (['{"a": 1}'], {}), (["x"], {"A": "%%global.job%%"})]
    )
    def test_an_image_s_own_command_cannot_be_shielded(
        self, argv: list[str], env: dict[str, str]
    ) -> None:
        with pytest.raises(Unsuitable, match="its nodes rewrite; give the job's `command`"):
            shielded(argv, env, whole=False)

    async def test_through_the_network(self, sim: Sim) -> None:
        provider = await sim.provider()
        spec = job('printf "%s\\n" "$1" "$CONFIG"', args=["x", JSON[0]], env={"CONFIG": JSON[1]})
        ref = (await provider.submit(spec, new_key())).ref
        assert (await ended(provider, ref)).exit_code == 0
        assert [line.text async for line in provider.logs(ref)] == [JSON[0], JSON[1]]
        await provider.cancel(ref)
        await provider.aclose()


class TestLongLogs:
    async def test_all_of_it_through_the_drop_box(self, sim: Sim) -> None:
        provider = await sim.provider()
        spec = job("i=0; while [ $i -lt 12000 ]; do echo line $i; i=$((i+1)); done; exit 3")
        ref = (await provider.submit(spec, new_key())).ref
        end = await ended(provider, ref)
        assert (end.exit_code, end.message) == (3, "")
        lines = [line.text async for line in provider.logs(ref)]
        assert lines == [f"line {i}" for i in range(12000)]
        await provider.cancel(ref)
        await provider.forget(ref)
        await provider.aclose()

    async def test_without_a_drop_box_it_is_said_to_be_cut(self, sim: Sim) -> None:
        provider = await sim.provider(drop=False)
        spec = job("i=0; while [ $i -lt 12000 ]; do echo line $i; i=$((i+1)); done; exit 3")
        ref = (await provider.submit(spec, new_key())).ref
        assert (await ended(provider, ref)).exit_code == 3
        lines = [line.text async for line in provider.logs(ref)]
        assert lines[0] == "line 0"
        assert 3000 < len(lines) < 12000
        assert lines[-1].startswith("[cortex] the log is cut: Nosana takes 1 MiB of a result")
        await provider.cancel(ref)
        await provider.aclose()

    async def test_unbound_it_is_lost_with_the_result(self, sim: Sim) -> None:
        provider = await sim.provider(bound_logs=False)
        ref = (await provider.submit(job("head -c 1500000 /dev/zero | tr '\\0' x"), new_key())).ref
        end = await ended(provider, ref)
        assert end.exit_code is None
        assert "longer than the 1 MiB" in end.message
        await provider.cancel(ref)
        await provider.aclose()
