"""What containers take: of the real engine, and as engines are known to describe it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cortex.domain.leases import LeaseRef
from cortex.domain.metrics import Sample
from providers.docker import DockerConfig, DockerProvider
from providers.docker.containers import Containers
from providers.docker.engine import Engine, EngineRefused
from providers.docker.metrics import Metrics, sample
from providers.docker.wire import Stats
from providers.errors import Unavailable
from tests.providers.docker.conftest import job, new_key, until_final
from tests.support import eventually

MIB = 2**20


async def told(provider: DockerProvider, ref: LeaseRef) -> Sample | None:
    samples = await provider.metrics([ref])
    return samples[0] if samples else None


@pytest.mark.integration
class TestEngine:
    async def test_a_container_that_burns_a_core(self, provider: DockerProvider) -> None:
        ref = (await provider.submit(job("while :; do :; done"), new_key())).ref
        loop = asyncio.get_running_loop()
        seen: list[tuple[float, float]] = []

        async def burnt() -> bool:
            one = await told(provider, ref)
            if one is not None and one.cpu_seconds is not None:
                seen.append((loop.time(), one.cpu_seconds))
            return len(seen) > 1 and seen[-1][1] - seen[0][1] >= 2

        await eventually(burnt, what="two seconds of CPU time")
        cores = (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0])
        # It has one thread; on a busy machine it gets less than a core.
        assert 0.05 < cores < 1.3

    async def test_memory_that_is_in_use(self, provider: DockerProvider) -> None:
        # A shell variable of 40 million letters.
        script = (
            "x=$(head -c 40000000 /dev/zero | tr '\\0' x); echo ready; while :; do sleep 1; done"
        )
        ref = (await provider.submit(job(script, resources={"memory": "512Mi"}), new_key())).ref

        async def taken() -> bool:
            one = await told(provider, ref)
            return one is not None and (one.memory or 0) >= 40_000_000

        await eventually(taken, what="40 MB in use")
        one = await told(provider, ref)
        assert one is not None
        assert one.memory is not None
        assert one.memory <= 512 * MIB
        # What Podman calls the most that was used is the limit.
        assert one.memory_peak is None
        assert provider.capabilities().metrics == ("cpu", "memory", "disk")

    async def test_of_what_does_not_run_nothing_is_told(self, provider: DockerProvider) -> None:
        reserved = await provider.prepare(job("true"), new_key())
        over = (await provider.submit(job("exit 3"), new_key())).ref
        await until_final(provider, over)
        runs = (await provider.submit(job("sleep 60"), new_key())).ref
        gone = LeaseRef(key=new_key(), network_id="0" * 64)

        async def there() -> bool:
            samples = await provider.metrics([reserved.ref, over, runs, gone])
            return [each.key for each in samples] == [runs.key]

        await eventually(there, what="a sample of the one that runs")

    async def test_one_that_ends_while_it_is_asked(self, provider: DockerProvider) -> None:
        """Between list and figures, at any moment: no error, and no figures of nothing."""
        ref = (await provider.submit(job("sleep 0.3"), new_key())).ref
        while not (await provider.status(ref)).state.final:
            one = await told(provider, ref)
            assert one is None or one.cpu_seconds or one.memory


# Docker 29 on cgroup v2, shortened; of the documentation of its API.
_DOCKER = {
    "cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000}, "online_cpus": 4},
    "memory_stats": {"usage": 50 * MIB, "limit": 2**33, "stats": {"inactive_file": 20 * MIB}},
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"major": 8, "minor": 0, "op": "read", "value": 100},
            {"major": 8, "minor": 16, "op": "read", "value": 20},
            {"major": 8, "minor": 0, "op": "write", "value": 7},
        ]
    },
    "networks": {
        "eth0": {"rx_bytes": 10, "tx_bytes": 1},
        "eth1": {"rx_bytes": 5, "tx_bytes": 2},
    },
}


class TestSample:
    def test_of_docker(self) -> None:
        assert sample("k", Stats.model_validate(_DOCKER), network=True) == Sample(
            key="k",
            cpu_seconds=1.5,
            memory=30 * MIB,
            disk_read=120,
            disk_written=7,
            network_received=15,
            network_sent=3,
        )

    def test_a_network_that_is_not_to_be_relied_on(self) -> None:
        one = sample("k", Stats.model_validate(_DOCKER), network=False)
        assert one is not None
        assert (one.network_received, one.network_sent) == (None, None)

    def test_of_cgroup_v1(self) -> None:
        older = {
            "cpu_stats": {"cpu_usage": {"total_usage": 1}},
            "memory_stats": {"usage": 50, "max_usage": 99, "stats": {"total_inactive_file": 60}},
            "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 3}]},
        }
        one = sample("k", Stats.model_validate(older), network=True)
        # More idle pages than pages: the two were read one after the other.
        assert one == Sample(key="k", cpu_seconds=1e-9, memory=50, disk_read=3, disk_written=0)

    @pytest.mark.parametrize(
        "ended",
        [
            {},
            {"memory_stats": {}, "cpu_stats": {"cpu_usage": {"total_usage": 0}}},
            {"blkio_stats": {"io_service_bytes_recursive": None}, "networks": None},
        ],
    )
    def test_of_one_that_has_ended_there_is_none(self, ended: dict[str, Any]) -> None:
        assert sample("k", Stats.model_validate(ended), network=True) is None


@asynccontextmanager
async def engine(
    tmp_path: Path, answer: Callable[[str], tuple[int, str] | None]
) -> AsyncIterator[Engine]:
    """An engine that answers each path so; None: never."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        told = answer(head.split()[1].decode())
        if told is None:
            await reader.read()
        else:
            status, text = told
            body = text.encode()
            writer.write(
                b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
                % (status, len(body), body)
            )
            await writer.drain()
        writer.close()

    path = str(tmp_path / "e.sock")
    server = await asyncio.start_unix_server(serve, path)
    opened = Engine(path)
    try:
        yield opened
    finally:
        await opened.close()
        server.close()
        await server.wait_closed()


def refs(*names: str) -> list[LeaseRef]:
    return [LeaseRef(key=name, network_id=name) for name in names]


_GONE = {
    "container state improper": (409, '{"message":"container state improper"}'),
    "ended under way": (200, ""),
    "removed": (404, '{"message":"no container with name or ID \\"b\\" found"}'),
    "removed under way": (500, '{"message":"container b does not exist: no such container"}'),
}


class TestTrouble:
    @pytest.mark.parametrize("how", _GONE)
    async def test_what_is_gone_costs_nobody_its_figures(self, tmp_path: Path, how: str) -> None:
        def answer(path: str) -> tuple[int, str]:
            return _GONE[how] if "/b/" in path else (200, json.dumps(_DOCKER))

        async with engine(tmp_path, answer) as opened:
            samples = await Metrics(Containers(opened)).of(refs("a", "b", "c"), network=True)
        assert [each.key for each in samples] == ["a", "c"]

    async def test_one_that_the_engine_stumbles_over(self, tmp_path: Path) -> None:
        def answer(path: str) -> tuple[int, str]:
            broken = 500, '{"message":"unable to load cgroup at /x: no such file or directory"}'
            return broken if "/b/" in path else (200, json.dumps(_DOCKER))

        async with engine(tmp_path, answer) as opened:
            metrics = Metrics(Containers(opened))
            samples = await metrics.of(refs("a", "b"), network=True)
            assert [each.key for each in samples] == ["a"]
            with pytest.raises(EngineRefused, match="cgroup"):
                await metrics.of(refs("b"), network=True)

    async def test_nonsense_is_unavailable(self, tmp_path: Path) -> None:
        async with engine(tmp_path, lambda _: (200, '{"cpu_stats": 7}')) as opened:
            with pytest.raises(Unavailable, match="uses"):
                await Metrics(Containers(opened)).of(refs("a"), network=True)


def test_networks_of_docker_count_where_a_container_has_one(tmp_path: Path) -> None:
    """Nobody has opened the engine, so it is not Podman."""
    path = str(tmp_path / "none.sock")
    bridge = DockerProvider("docker", DockerConfig(socket=path))
    assert bridge.capabilities().metrics == ("cpu", "memory", "disk", "network")
    host = DockerProvider("docker", DockerConfig(socket=path, network="host"))
    assert "network" not in host.capabilities().metrics
