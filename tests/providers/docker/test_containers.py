"""What the engine really enforces, and what becomes of jobs that misbehave."""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from cortex.domain.states import RunState
from providers.base import Reservation
from providers.docker import DockerProvider
from providers.docker.engine import EngineRefused
from providers.docker.names import KEY, SINCE, TOKEN
from providers.docker.prepare import creation_error
from providers.docker.starts import STALE
from providers.errors import InvalidSpec, LeaseLost, NoCapacity
from tests.providers.docker.conftest import (
    IMAGE,
    Podman,
    build_image,
    job,
    log_text,
    new_key,
    run_to_end,
    until_final,
)
from tests.support import patience

# What Podman 4.3 says without catatonit.
_NO_INIT = "container create: container-init binary not found on the host: stat /usr/bin/catatonit"
pytestmark = [pytest.mark.integration, pytest.mark.slow]
Make = Callable[..., Any]


class TestLimits:
    async def test_too_much_memory_kills_the_job(self, provider: DockerProvider) -> None:
        spec = job("head -c 200m /dev/zero | tail; exit $?", resources={"memory": "16Mi"})
        _, status = await run_to_end(provider, spec)
        assert (status.state, status.exit_code) == (RunState.EXITED, 137)
        assert "out of memory" in status.message
        assert "16Mi" in status.message

    async def test_the_number_of_processes_is_limited(self, provider: DockerProvider) -> None:
        script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done; echo all"
        spec = job(script, resources={"pids": 5})
        ref, _ = await run_to_end(provider, spec)
        assert any("fork" in line for line in await log_text(provider, ref))

    async def test_the_cpu_is_limited(self, provider: DockerProvider, podman: Podman) -> None:
        committed = await provider.submit(
            job("sleep 60", resources={"cpu": "250m", "memory": "32Mi"}), new_key()
        )
        shown = podman.run(
            "inspect",
            "--format={{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}",
            committed.ref.network_id,
        )
        assert shown.split() == ["250000000", str(32 * 2**20), str(32 * 2**20)]

    async def test_read_only_root_with_a_writable_tmp(self, provider: DockerProvider) -> None:
        script = "touch /x 2>/dev/null || echo no root; touch /tmp/x && echo tmp; touch /data/x && "
        script += "echo data"
        volumes = [{"name": "data", "path": "/data"}]
        ref, _ = await run_to_end(provider, job(script, read_only_root=True, volumes=volumes))
        assert await log_text(provider, ref) == ["no root", "tmp", "data"]

    async def test_no_new_privileges_and_few_capabilities(self, provider: DockerProvider) -> None:
        ref, _ = await run_to_end(provider, job("grep -E 'NoNewPrivs|CapBnd' /proc/self/status"))
        shown = dict(line.split(":\t") for line in await log_text(provider, ref))
        assert shown["NoNewPrivs"] == "1"
        # CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, KILL 5, SETGID 6, SETUID 7, NET_BIND_SERVICE 10
        assert int(shown["CapBnd"], 16) == 0b100_1110_1011

    async def test_no_capabilities_at_all(self, make: Make) -> None:
        provider: DockerProvider = await make(cap_add=[])
        ref, _ = await run_to_end(provider, job("grep CapBnd /proc/self/status"))
        assert await log_text(provider, ref) == ["CapBnd:\t0000000000000000"]


class TestCommands:
    @pytest.mark.parametrize("init", [True, False])
    @pytest.mark.parametrize(
        ("command", "code"), [("no-such-program", 127), ("/no/such/file", 127), ("/etc", 126)]
    )
    async def test_a_command_that_cannot_start_ends_the_job(
        self, make: Make, command: str, code: int, init: bool
    ) -> None:
        provider: DockerProvider = await make(init=init)
        spec = job("", command=[command, "x"])
        reservation = await provider.prepare(spec, new_key())
        await provider.commit(reservation)
        status = await until_final(provider, reservation.ref)
        assert (status.state, status.exit_code) == (RunState.EXITED, code)
        assert "could not be started" in status.message
        other: DockerProvider = await make(init=init)
        assert await other.status(reservation.ref) == status
        assert (await other.commit(reservation)).snapshot == status
        lease = await other.find(reservation.ref.key)
        assert lease is not None
        assert lease.committed
        await other.cancel(reservation.ref)
        assert await other.status(reservation.ref) == status
        assert (await other.usage(reservation.ref)).final

    async def test_command_replaces_the_entry_point(
        self, provider: DockerProvider, podman: Podman
    ) -> None:
        image = "cortex-test/entry:latest"
        build_image(podman, image, 'ENTRYPOINT ["echo","entry"]', 'CMD ["cmd"]', "WORKDIR /work")
        outcomes: list[tuple[dict[str, Any], list[str]]] = [
            ({"command": ["echo", "mine"]}, ["mine"]),
            ({"command": ["echo"], "args": ["a", "b"]}, ["a b"]),
            ({"command": [], "args": ["c"]}, ["entry c"]),
            ({"command": []}, ["entry cmd"]),
            ({"command": ["pwd"]}, ["/work"]),
            ({"command": ["pwd"], "workdir": "/made/for/it"}, ["/made/for/it"]),
        ]
        for changes, expected in outcomes:
            ref, _ = await run_to_end(provider, job("", image=image, **changes))
            assert await log_text(provider, ref) == expected

    async def test_the_init_reaps_and_hands_signals_on(self, provider: DockerProvider) -> None:
        ref = (await provider.submit(job("exec sleep 600"), new_key())).ref
        async with asyncio.timeout(patience(10)):
            await provider.cancel(ref)
        # Process 1 without a handler would have ignored SIGTERM: 137 after the grace.
        assert (await provider.status(ref)).exit_code == 143

    async def test_an_engine_without_init(self, make: Make) -> None:
        provider: DockerProvider = await make()
        create = provider._containers.create

        async def without_catatonit(name: str, body: dict[str, Any]) -> str:
            if body["HostConfig"]["Init"]:
                raise EngineRefused(500, _NO_INIT, "POST /containers/create")
            return await create(name, body)

        provider._containers.create = without_catatonit  # type: ignore[method-assign]
        _, status = await run_to_end(provider, job("exit 4"))
        assert status.exit_code == 4


class TestReservations:
    async def test_a_container_removed_by_hand_is_lost(
        self, provider: DockerProvider, podman: Podman
    ) -> None:
        reservation = await provider.prepare(job("sleep 600"), new_key())
        podman.run("rm", "--force", "--time=0", reservation.ref.network_id)
        with pytest.raises(LeaseLost):
            await provider.commit(reservation)
        assert (await provider.status(reservation.ref)).state is RunState.LOST
        await provider.cancel(reservation.ref)
        await provider.forget(reservation.ref)

    async def test_a_running_container_removed_by_hand_is_lost(
        self, provider: DockerProvider, podman: Podman
    ) -> None:
        ref = (await provider.submit(job("sleep 600"), new_key())).ref
        assert (await provider.status(ref)).state is RunState.RUNNING
        podman.run("rm", "--force", "--time=0", ref.network_id)
        assert (await provider.status(ref)).state is RunState.LOST
        with pytest.raises(LeaseLost):
            await provider.usage(ref)

    async def test_many_commits_at_once_run_a_short_job_once(self, make: Make) -> None:
        instances = [await make() for _ in range(3)]
        volumes = [{"name": f"count-{new_key()[-6:].replace('_', '')}", "path": "/v"}]
        for _ in range(5):
            spec = job("echo run >> /v/runs; cat /v/runs", volumes=volumes)
            reservation: Reservation = await instances[0].prepare(spec, new_key())
            await asyncio.gather(*(one.commit(reservation) for one in instances * 2))
            await until_final(instances[0], reservation.ref)
            for one in instances:
                await one.commit(reservation)
            assert await log_text(instances[1], reservation.ref) == ["run"]

    async def test_a_name_taken_by_somebody_else(
        self, provider: DockerProvider, podman: Podman
    ) -> None:
        key = new_key()
        podman.run("create", f"--name=cortex-{key}", "--network=none", IMAGE, "true")
        with pytest.raises(NoCapacity, match="did not make"):
            await provider.prepare(job("true"), key)
        assert await provider.find(key) is None
        podman.run("rm", f"cortex-{key}")

    async def test_two_installations_on_one_engine(self, make: Make) -> None:
        ours, theirs = await make(), await make(namespace="theirs")
        ref = (await ours.submit(job("sleep 600"), new_key())).ref
        assert [owned.key for owned in await ours.owned()] == [ref.key]
        assert await theirs.owned() == []

    async def test_a_bad_job_leaves_nothing(self, provider: DockerProvider, podman: Podman) -> None:
        volumes = [{"name": "data", "path": "/data"}]
        with pytest.raises(InvalidSpec):
            await provider.prepare(job("true", image=None, volumes=volumes), new_key())
        with pytest.raises(NoCapacity):
            await provider.prepare(
                job("true", image="localhost/no/such:image", volumes=volumes), new_key()
            )
        assert podman.run("volume", "ls", "--quiet") == ""

    async def test_neither_job_nor_image_has_a_command(
        self, provider: DockerProvider, podman: Podman
    ) -> None:
        volumes = [{"name": "data", "path": "/data"}]
        spec = job("true", command=[], volumes=volumes)
        with pytest.raises(InvalidSpec, match=f"image `{IMAGE}` brings no command.* `command`"):
            await provider.prepare(spec, new_key())
        assert await provider.owned() == []
        assert podman.run("volume", "ls", "--quiet") == ""

    # Docker's words: https://github.com/OpenSCAP/openscap/pull/2173; Podman 4's: the test above.
    @pytest.mark.parametrize(
        ("status", "message"),
        [
            (400, "no command specified"),
            (500, "container create: no command or entrypoint provided, and no CMD or ENTRYPOINT"),
        ],
    )
    def test_no_command_in_the_words_of_each_engine(self, status: int, message: str) -> None:
        refused = EngineRefused(status, message, "POST /containers/create")
        error = creation_error(refused, job("true", command=[]))
        assert isinstance(error, InvalidSpec)
        assert "set `command` in the job" in str(error)


class TestVolumes:
    async def test_persistent_volumes_outlive_the_lease(
        self, provider: DockerProvider, podman: Podman
    ) -> None:
        volumes = [
            {"name": "kept", "path": "/kept", "persistent": True},
            {"name": "scratch", "path": "/scratch"},
        ]
        script = "cat /kept/x /scratch/x 2>/dev/null; echo kept > /kept/x; echo no > /scratch/x"
        for expected in ([], ["kept"]):
            ref, _ = await run_to_end(provider, job(script, volumes=volumes))
            assert await log_text(provider, ref) == expected
            await provider.forget(ref)
        assert podman.run("volume", "ls", "--quiet").split() == ["cortex-kept"]
        podman.run("volume", "rm", "cortex-kept")


class TestSecretsAndPrices:
    async def test_secrets_reach_the_job_and_no_label(
        self, provider: DockerProvider, podman: Podman
    ) -> None:
        spec = job("echo $TOKEN", secret_env={"TOKEN": "hush-hush"})
        ref, _ = await run_to_end(provider, spec)
        assert await log_text(provider, ref) == ["hush-hush"]
        labels = podman.run("inspect", "--format={{json .Config.Labels}}", ref.network_id)
        assert "hush" not in labels

    async def test_the_price_is_that_of_the_reservation(self, make: Make) -> None:
        cheap: DockerProvider = await make(prices={"cpu_hour": "36", "memory_gib_hour": "0"})
        spec = job("sleep 1", resources={"cpu": 1})
        ref, _ = await run_to_end(cheap, spec)
        dear: DockerProvider = await make(prices={"cpu_hour": "3600"})
        usage = await dear.usage(ref)
        assert usage.final
        assert usage.cost.amount == (usage.seconds * Decimal("0.01")).quantize(Decimal("1e-9"))


class TestTakingOver:
    """A worker died between its claim of the start and the start."""

    async def _claimed(self, provider: DockerProvider, age: float) -> Reservation:
        reservation = await provider.prepare(job("echo run"), new_key())
        labels = {KEY: reservation.ref.key, TOKEN: "of the dead", SINCE: str(time.time() - age)}
        await provider._marks.put_volume(f"cortex-{reservation.ref.key}.start1", labels)
        return reservation

    async def test_an_old_claim_is_taken_over(self, make: Make) -> None:
        first, second = await make(), await make()
        reservation = await self._claimed(first, STALE + 1)
        await asyncio.gather(*(one.commit(reservation) for one in (first, second)))
        await until_final(first, reservation.ref)
        assert await log_text(first, reservation.ref) == ["run"]

    async def test_a_fresh_claim_is_waited_for(self, make: Make, podman: Podman) -> None:
        provider: DockerProvider = await make()
        reservation = await self._claimed(provider, 0)
        waiting = asyncio.create_task(provider.commit(reservation))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        # The other one was only slow.
        await asyncio.to_thread(podman.run, "start", reservation.ref.network_id)
        await waiting
        await until_final(provider, reservation.ref)
        assert await log_text(provider, reservation.ref) == ["run"]

    async def test_a_cancel_ends_the_waiting(self, make: Make, podman: Podman) -> None:
        provider: DockerProvider = await make()
        reservation = await self._claimed(provider, 0)
        waiting = asyncio.create_task(provider.commit(reservation))
        await asyncio.sleep(0.3)
        await provider.cancel(reservation.ref)
        with pytest.raises(LeaseLost):
            await waiting
        await provider.forget(reservation.ref)
        assert podman.run("volume", "ls", "--quiet") == ""
