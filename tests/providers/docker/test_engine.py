"""The engine goes away, comes back, or never was there."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cortex.domain.states import RunState
from providers.docker import DockerConfig, DockerProvider
from providers.docker.config import default_socket
from providers.docker.containers import Containers
from providers.docker.engine import Engine
from providers.errors import OutcomeUnknown, ProviderError, Unavailable
from tests.providers.docker.conftest import Podman, job, log_text, new_key, until_final
from tests.support import patience

pytestmark = pytest.mark.integration
Make = Callable[..., Any]


class TestRestart:
    async def test_everything_is_found_again(self, make: Make, podman: Podman) -> None:
        provider: DockerProvider = await make()
        script = "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.3; done; exit 5"
        reservation = await provider.prepare(job("exit 6"), new_key())
        running = (await provider.submit(job(script), new_key())).ref
        over = (await provider.submit(job("exit 7"), new_key())).ref
        broken = (await provider.submit(job("", command=["no-such"]), new_key())).ref
        await until_final(provider, over)
        seen = asyncio.create_task(_followed(provider, running.key, running))
        await asyncio.sleep(0.5)

        podman.kill()
        with pytest.raises(Unavailable, match=r"podman\.sock"):
            await provider.status(running)
        assert not (await provider.network_status()).reachable
        podman.start()

        fresh: DockerProvider = await make()
        assert {owned.key for owned in await fresh.owned()} == {
            ref.key for ref in (reservation.ref, running, over, broken)
        }
        for ref, code in ((running, 5), (over, 7), (broken, 127)):
            for instance in (provider, fresh):
                status = await until_final(instance, ref)
                assert (status.state, status.exit_code) == (RunState.EXITED, code)
        await fresh.commit(reservation)
        assert (await until_final(fresh, reservation.ref)).exit_code == 6
        assert await log_text(fresh, running) == [str(number) for number in range(1, 10)]
        # The stream that broke was taken up again, or told that the engine was away.
        lines = await seen
        assert lines == [str(number) for number in range(1, len(lines) + 1)]
        assert not any([(await fresh.usage(ref)).final is False for ref in (running, over)])


async def _followed(provider: DockerProvider, key: str, ref: Any) -> list[str]:
    lines: list[str] = []
    cursor = None
    while True:
        try:
            async for line in provider.logs(ref, since=cursor, follow=True):
                lines.append(line.text)
                cursor = line.cursor
        except Unavailable:
            await asyncio.sleep(0.1)
            continue
        return lines


class TestAbsence:
    async def test_no_socket_is_unavailable_and_named(self, tmp_path: Path) -> None:
        path = str(tmp_path / "none.sock")
        provider = DockerProvider("docker", DockerConfig(socket=path))
        with pytest.raises(Unavailable, match="none.sock.*running"):
            await provider.initialize()
        status = await provider.network_status()
        assert not status.reachable
        assert "none.sock" in status.message
        await provider.aclose()

    async def test_a_lost_answer_to_a_change_is_unknown(self, tmp_path: Path) -> None:
        """A server that hangs up after each request."""
        path = str(tmp_path / "rude.sock")

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

        server = await asyncio.start_unix_server(hang_up, path)
        engine = Engine(path)
        with pytest.raises(OutcomeUnknown):
            await engine.call("POST", "/containers/x/start")
        with pytest.raises(Unavailable):
            await engine.call("POST", "/containers/x/stop", repeatable=True)
        with pytest.raises(Unavailable):
            await engine.get("/info")
        await engine.close()
        server.close()
        await server.wait_closed()

    async def test_nonsense_is_unavailable(self, tmp_path: Path) -> None:
        path = str(tmp_path / "odd.sock")

        async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
            await writer.drain()
            writer.close()

        server = await asyncio.start_unix_server(babble, path)
        provider = DockerProvider("docker", DockerConfig(socket=path))
        with pytest.raises(ProviderError, match="JSON"):
            await provider.initialize()
        await provider.aclose()
        server.close()
        await server.wait_closed()


# What Podman is known to answer (its issues 10423, 15526, 10225) to a listing, or about one
# container, while another call removes it.
_STUMBLES = (
    'error getting container from store "82b69ee0d0c4": container not known',
    'error looking up container "b3286c587449" mounts: layer not known',
    "Internal Server Error",  # of a part that broke down over it, as 4.3.1 does for `stats`
    "container 994e9ba4224c does not exist in database: no such container",
)


@asynccontextmanager
async def stumbling(
    tmp_path: Path, message: str, times: int, then: str
) -> AsyncIterator[tuple[Engine, list[str]]]:
    """An engine that answers 500 so many times; and what it was asked."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().split()[1])
        refused = len(asked) <= times
        body = (json.dumps({"message": message}) if refused else then).encode()
        status = b"500 Internal Server Error" if refused else b"200 OK"
        size = b"Content-Length: %d" % len(body)
        writer.write(b"HTTP/1.1 %s\r\n%s\r\nConnection: close\r\n\r\n%s" % (status, size, body))
        await writer.drain()
        writer.close()

    path = str(tmp_path / "s.sock")
    server = await asyncio.start_unix_server(serve, path)
    engine = Engine(path)
    try:
        yield engine, asked
    finally:
        await engine.close()
        server.close()
        await server.wait_closed()


class TestStumbling:
    @pytest.mark.parametrize("message", _STUMBLES)
    async def test_a_listing_is_asked_for_again(self, tmp_path: Path, message: str) -> None:
        async with stumbling(tmp_path, message, 2, '[{"Id": "a", "State": "running"}]') as (
            engine,
            asked,
        ):
            (box,) = await Containers(engine).listed("l=1")
        assert (box.id, box.state, len(asked)) == ("a", "running", 3)

    async def test_an_engine_that_goes_on_so_is_out_of_order(self, tmp_path: Path) -> None:
        async with stumbling(tmp_path, "disk I/O error", 99, "[]") as (engine, asked):
            with pytest.raises(Unavailable, match="disk I/O error"):
                await Containers(engine).listed("l=1")
        assert len(asked) == 6

    @pytest.mark.parametrize("message", _STUMBLES[:3])
    async def test_one_container_is_looked_at_again(self, tmp_path: Path, message: str) -> None:
        async with stumbling(tmp_path, message, 1, '{"Id": "a"}') as (engine, asked):
            box = await Containers(engine).inspect("a")
        assert box is not None
        assert len(asked) == 2

    async def test_one_that_is_gone_is_so_at_once(self, tmp_path: Path) -> None:
        async with stumbling(tmp_path, _STUMBLES[3], 1, '{"Id": "a"}') as (engine, asked):
            assert await Containers(engine).inspect("a") is None
        assert len(asked) == 1

    async def test_an_effect_is_not_repeated(self, tmp_path: Path) -> None:
        async with stumbling(tmp_path, _STUMBLES[0], 1, "{}") as (engine, asked):
            with pytest.raises(Unavailable):
                await engine.call("POST", "/containers/a/start")
        assert len(asked) == 1


class TestSocketPath:
    def test_docker_host_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCKER_HOST", "unix:///run/mine.sock")
        assert default_socket() == "/run/mine.sock"
        assert DockerConfig(socket="unix:///run/other.sock").socket_path() == "/run/other.sock"

    def test_else_docker_then_podman(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("DOCKER_HOST", raising=False)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        assert default_socket().endswith(".sock")

    def test_a_relative_path_is_refused(self) -> None:
        with pytest.raises(ValueError, match="absolute path"):
            DockerConfig(socket="docker.sock")


class TestPush:
    async def test_the_end_of_a_job_wakes_the_waiter(self, provider: DockerProvider) -> None:
        committed = await provider.submit(job("sleep 1"), new_key())
        loop = asyncio.get_running_loop()
        await provider.statuses([committed.ref])
        await provider.wait_for_change(timedelta(seconds=0.6))
        await provider.statuses([committed.ref])
        began = loop.time()
        async with asyncio.timeout(patience(10)):
            while not (await provider.status(committed.ref)).state.final:
                await provider.wait_for_change(timedelta(seconds=20))
        assert loop.time() - began < 5


class TestPorts:
    async def test_a_published_port_answers(self, make: Make) -> None:
        provider: DockerProvider = await make(network="bridge")
        spec = job("echo hello | nc -l -p 80; sleep 60", ports=[{"port": 80}])
        try:
            ref = (await provider.submit(spec, new_key())).ref
        except ProviderError as error:
            pytest.skip(f"no bridge network on this machine: {error}")
        (endpoint,) = (await provider.status(ref)).endpoints
        assert endpoint.port == 80
        assert endpoint.url.startswith("tcp://127.0.0.1:")
        assert await _answer(int(endpoint.url.rpartition(":")[2])) == b"hello\n"

    async def test_the_host_network(self, make: Make) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        provider: DockerProvider = await make(network="host")
        spec = job(f"echo hello | nc -l -p {port}; sleep 60", ports=[{"port": port}])
        ref = (await provider.submit(spec, new_key())).ref
        (endpoint,) = (await provider.status(ref)).endpoints
        assert endpoint.url == f"tcp://127.0.0.1:{port}"
        assert await _answer(port) == b"hello\n"

    async def test_without_a_network_there_is_no_offer(self, provider: DockerProvider) -> None:
        assert not provider.capabilities().ports
        assert await provider.quote(job("true", ports=[{"port": 80}])) == []
        assert len(await provider.quote(job("true"))) == 1


async def _answer(port: int) -> bytes:
    async with asyncio.timeout(patience(10)):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                data = await reader.read(100)
                writer.close()
            except OSError:
                data = b""
            if data:
                return data
            await asyncio.sleep(0.1)
