"""A real Podman of the tests' own: storage, socket and service in a temporary folder."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cortex.domain.ids import lease_key, new_id
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.spec import JobSpec
from providers.conformance import Patience
from providers.docker import DockerConfig, DockerProvider

IMAGE = "cortex-test/busybox:latest"
_BUSYBOX = "/bin/busybox"


class Podman:
    """`podman system service` over a storage of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.socket = str(home / "podman.sock")
        self._service: subprocess.Popen[bytes] | None = None

    def command(self, *args: str) -> list[str]:
        folders = [f"--{name}={self.home / name}" for name in ("root", "runroot", "tmpdir")]
        return ["podman", *folders, "--runtime=runc", "--cgroup-manager=cgroupfs", *args]

    def run(self, *args: str, check: bool = True) -> str:
        done = subprocess.run(
            self.command(*args), capture_output=True, text=True, timeout=60, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"podman {args[0]} failed: {done.stderr}")
        return done.stdout

    def start(self) -> None:
        registries = self.home / "registries.conf"
        registries.touch()
        log = (self.home / "service.log").open("ab")
        self._service = subprocess.Popen(
            self.command("system", "service", "--time=0", f"unix://{self.socket}"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=self.home,  # conmon leaves a file `oom` there
            env={**os.environ, "CONTAINERS_REGISTRIES_CONF": str(registries)},
        )
        log.close()
        self._await_ping()

    def kill(self) -> None:
        """As an engine crashes: the containers run on."""
        if self._service is not None:
            os.killpg(self._service.pid, signal.SIGKILL)
            self._service.wait()
            self._service = None
        Path(self.socket).unlink(missing_ok=True)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.run("rm", "--all", "--force", "--time=0", check=False)
        self.kill()
        subprocess.run(
            ["umount", "--lazy", str(self.home / "root" / "overlay")],
            capture_output=True,
            check=False,
        )
        shutil.rmtree(self.home, ignore_errors=True)

    def trust_registry(self, host: str) -> None:
        """Pull from this registry without TLS. The service reads that at its start only."""
        text = f'[[registry]]\nlocation = "{host}"\ninsecure = true\n'
        with (self.home / "registries.conf").open("a") as file:
            file.write(text)
        self.kill()
        self.start()

    def _await_ping(self) -> None:
        waiting = Patience(20)
        with httpx.Client(transport=httpx.HTTPTransport(uds=self.socket)) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if client.get("http://engine/_ping", timeout=5).is_success:
                        return
                if waiting.over:
                    raise RuntimeError((self.home / "service.log").read_text()[-2000:])
                time.sleep(0.05)


def build_image(podman: Podman, name: str = IMAGE, *changes: str) -> None:
    """A root file system with one static busybox, imported as an image."""
    root = podman.home / "image"
    if not root.exists():
        (root / "bin").mkdir(parents=True)
        shutil.copy(_BUSYBOX, root / "bin" / "busybox")
        listed = subprocess.run([_BUSYBOX, "--list"], capture_output=True, text=True, check=True)
        for applet in set(listed.stdout.split()) - {"busybox"}:
            (root / "bin" / applet).symlink_to("busybox")
        for folder in ("etc", "proc", "dev", "sys", "work", "tmp"):
            (root / folder).mkdir()
        (root / "tmp").chmod(0o1777)
    archive = podman.home / "image.tar"
    subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
    flags = [f"--change={change}" for change in changes]
    podman.run("import", "--quiet", *flags, str(archive), name)
    archive.unlink()


def why_not() -> str | None:
    """Why no engine can be had here; None if it can."""
    for program in ("podman", "runc", _BUSYBOX):
        if shutil.which(program) is None:
            return f"`{program}` is not installed; run scripts/ci/install-podman.sh"
    if os.getuid() != 0:
        return "these tests start their own Podman and need root for it"
    return None


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    reason = why_not()
    if reason is not None:
        if os.environ.get("CORTEX_REQUIRE_PODMAN") == "1":
            pytest.fail(f"CORTEX_REQUIRE_PODMAN=1, but {reason}")
        pytest.skip(reason)
    # Not below pytest's long folder: a socket's path has at most 107 characters.
    engine = Podman(Path(tempfile.mkdtemp(prefix="cxp-", dir="/tmp")))
    try:
        build_image(engine)
        engine.start()
        yield engine
    finally:
        engine.close()


def docker_config(podman: Podman, **changes: Any) -> DockerConfig:
    """No network (quicker), the limits that work where raising them is refused."""
    fields = {
        "socket": podman.socket,
        "network": "none",
        "ulimits": {"nofile": "1024:1024", "nproc": "1024:1024"},
        "stop_grace": "1s",
        "pull": "missing",
    }
    return DockerConfig.model_validate({**fields, **changes})


@pytest.fixture
async def make(podman: Podman) -> AsyncIterator["Callable[..., Any]"]:
    """Makes initialized providers over the engine; closes them afterwards."""
    made: list[DockerProvider] = []

    async def factory(provider_id: str = "docker", **changes: Any) -> DockerProvider:
        provider = DockerProvider(provider_id, docker_config(podman, **changes))
        made.append(provider)
        await provider.initialize()
        return provider

    yield factory
    for provider in made:
        with contextlib.suppress(Exception):
            for ref in await provider.owned():
                await provider.forget(ref)
        await provider.aclose()


@pytest.fixture
async def provider(make: "Callable[..., Any]") -> DockerProvider:
    made: DockerProvider = await make()
    return made


def job(script: str, **changes: Any) -> JobSpec:
    """A job that runs a shell script."""
    fields: dict[str, Any] = {"image": IMAGE, "command": ["sh", "-c", script], "duration": "5m"}
    return JobSpec.model_validate({**fields, **changes})


def new_key() -> str:
    return lease_key(new_id("job"), 1)


async def until_final(
    provider: DockerProvider, ref: LeaseRef, seconds: float = 30
) -> LeaseSnapshot:
    """The snapshot of the lease once its run is over."""
    async with asyncio.timeout(seconds):
        while True:
            snapshot = await provider.status(ref)
            if snapshot.state.final:
                return snapshot
            await asyncio.sleep(0.05)


async def run_to_end(provider: DockerProvider, spec: JobSpec) -> tuple[LeaseRef, LeaseSnapshot]:
    committed = await provider.submit(spec, new_key())
    return committed.ref, await until_final(provider, committed.ref)


async def log_text(provider: DockerProvider, ref: LeaseRef) -> list[str]:
    return [line.text async for line in provider.logs(ref)]
