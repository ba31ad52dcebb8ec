"""Pulling from a real registry, started by the test on a free port."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from providers.conformance import Patience
from providers.docker import DockerProvider
from providers.errors import ImageUnavailable, NoSuchImage, PullFailed
from tests.providers.docker.conftest import IMAGE, Podman, job, log_text, new_key, run_to_end
from tests.support import patience

pytestmark = pytest.mark.integration
Make = Callable[..., Any]

_CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{level: error}}
{auth}
"""


def serve(folder: Path, auth: str = "") -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "registry.yml"
    config.write_text(_CONFIG.format(folder=folder, port=port, auth=auth))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=log, stderr=log
        )
    waiting = Patience(20)
    while not waiting.over and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/v2/", timeout=2)
            return process, f"127.0.0.1:{port}"
        time.sleep(0.05)
    process.kill()
    raise RuntimeError((folder / "registry.log").read_text()[-1000:])


@pytest.fixture(scope="module")
def registry(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that holds `busybox:1`."""
    if shutil.which("docker-registry") is None:
        pytest.skip("`docker-registry` is not installed; run scripts/ci/install-podman.sh")
    process, host = serve(tmp_path_factory.mktemp("registry"))
    podman.trust_registry(host)
    podman.run("push", "--quiet", "--tls-verify=false", IMAGE, f"{host}/busybox:1")
    yield host
    process.terminate()
    process.wait(10)


class Reports(list[str]):
    async def __call__(self, text: str) -> None:
        self.append(text)


class TestPull:
    async def test_a_missing_image_is_pulled_and_told(
        self, provider: DockerProvider, podman: Podman, registry: str
    ) -> None:
        image = f"{registry}/busybox:1"
        podman.run("rmi", "--ignore", image)
        (offer,) = await provider.quote(job("true", image=image))
        assert offer.expected_wait
        told = Reports()
        reservation = await provider.prepare(
            job("echo pulled", image=image), new_key(), report=told
        )
        assert told[0] == f"pulling {image}"
        assert told[-1] == f"pulled {image}"
        await provider.commit(reservation)
        async with asyncio.timeout(patience(10)):
            lines = [line.text async for line in provider.logs(reservation.ref, follow=True)]
        assert lines == ["pulled"]
        again = Reports()
        await provider.prepare(job("true", image=image), new_key(), report=again)
        assert again == []

    @pytest.mark.parametrize("name", ["busybox:no-such-tag", "no-such-image:1"])
    async def test_an_image_that_does_not_exist(
        self, provider: DockerProvider, registry: str, name: str
    ) -> None:
        with pytest.raises(NoSuchImage, match=f"image `{registry}/{name}` does not exist"):
            await provider.prepare(job("true", image=f"{registry}/{name}"), new_key())
        assert await provider.owned() == []

    async def test_a_registry_that_is_away(self, provider: DockerProvider) -> None:
        with pytest.raises(PullFailed, match="cannot be pulled"):
            await provider.prepare(job("true", image="127.0.0.1:1/busybox:1"), new_key())

    async def test_pull_never(self, make: Make, registry: str) -> None:
        provider: DockerProvider = await make(pull="never")
        image = f"{registry}/elsewhere:1"
        assert await provider.quote(job("true", image=image)) == []
        with pytest.raises(ImageUnavailable, match="pull: never"):
            await provider.prepare(job("true", image=image), new_key())

    async def test_pull_always_takes_the_newer_one(
        self, make: Make, podman: Podman, registry: str
    ) -> None:
        provider: DockerProvider = await make(pull="always")
        image = f"{registry}/moving:1"
        for command in ("first", "second"):
            podman.run("commit", "--quiet", f"--change=CMD echo {command}", _box(podman), "tmp:1")
            podman.run("push", "--quiet", "--tls-verify=false", "tmp:1", image)
            ref, _ = await run_to_end(provider, job("", image=image, command=[]))
            assert await log_text(provider, ref) == [command]


class TestCredentials:
    async def test_a_registry_that_wants_to_know_who_asks(
        self, make: Make, podman: Podman, tmp_path: Path
    ) -> None:
        htpasswd = shutil.which("htpasswd")
        if htpasswd is None:
            pytest.skip("`htpasswd` (apache2-utils) is not installed")
        users = await asyncio.to_thread(
            subprocess.check_output, [htpasswd, "-nbB", "me", "secret"], text=True
        )
        (tmp_path / "users").write_text(users)
        auth = f"auth: {{htpasswd: {{realm: test, path: {tmp_path}/users}}}}"
        process, host = serve(tmp_path, auth)
        podman.trust_registry(host)
        try:
            login = "--creds=me:secret"
            podman.run("push", "--quiet", "--tls-verify=false", login, IMAGE, f"{host}/private:1")
            spec = job("echo in", image=f"{host}/private:1")
            stranger: DockerProvider = await make()
            with pytest.raises(NoSuchImage, match="may not be pulled"):
                await stranger.prepare(spec, new_key())
            account = {"server": host, "username": "me", "password": "secret"}
            known: DockerProvider = await make(registries=[account])
            ref, _ = await run_to_end(known, spec)
            assert await log_text(known, ref) == ["in"]
        finally:
            process.terminate()
            process.wait(10)


def _box(podman: Podman) -> str:
    return podman.run("create", "--network=none", IMAGE, "true").strip()
