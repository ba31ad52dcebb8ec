"""What docker-compose.temporal.yml starts, side by side without containers.

PostgreSQL and Temporal are new ones: nobody made a namespace or a search attribute. Migrations,
worker and API get the very environment and secrets that the compose file gives their containers;
only hosts, ports and folders are those of the test.
"""

import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from temporalio.client import Client

from cortex.client import AsyncCortex
from tests.deploy.servers import (
    DEPLOY,
    Server,
    free_port,
    plain_environment,
    running,
    wait_until,
)
from tests.support import patience

pytestmark = pytest.mark.e2e

_SPEC = {
    "name": "side-by-side",
    "command": ["sh", "-c", 'echo "hello from $WHO"; echo 42 > answer.txt'],
    "env": {"WHO": "the container"},
    "outputs": ["answer.txt"],
    "duration": "2m",
}


class Containers:
    """The containers of the compose file, as processes of this machine."""

    def __init__(
        self, compose: dict[str, Any], folder: Path, postgres: Server, temporal: Server
    ) -> None:
        self.services = compose["services"]
        self.folder = folder
        self.port = free_port()
        self._postgres = postgres
        self._replaced = {
            "CORTEX_CONFIG": str(DEPLOY / "cortex.toml"),
            "CORTEX_DATA_DIR": str(folder / "data"),
            "CORTEX_TEMPORAL__ADDRESS": temporal.address,
            "CORTEX_API__HOST": "127.0.0.1",
            "CORTEX_API__PORT": str(self.port),
            "CORTEX_WORKER__HEALTH_FILE": str(self.health_file),
        }

    @property
    def health_file(self) -> Path:
        return self.folder / "worker-is-healthy"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self, name: str) -> list[str]:
        _, *arguments = self.services[name]["command"]
        return [sys.executable, *arguments]

    def environment(self, name: str) -> dict[str, str]:
        given: Mapping[str, str] = self.services[name]["environment"]
        ours = {key: self._replaced.get(key, value) for key, value in given.items()}
        ours["CORTEX_SECRETS_DIR"] = str(self._secrets(name))
        return plain_environment(**ours, PYTHONSAFEPATH="1", PYTHONUNBUFFERED="1")

    def healthy(self, name: str) -> bool:
        """The health check of the compose file, word by word but for paths and ports."""
        _, _, flag, code = self.services[name]["healthcheck"]["test"]
        code = code.replace("/tmp/worker-is-healthy", str(self.health_file))
        code = re.sub(r":8700\b", f":{self.port}", code)
        asked = subprocess.run([sys.executable, flag, code], capture_output=True)
        return asked.returncode == 0

    def _secrets(self, name: str) -> Path:
        folder = self.folder / f"secrets-of-{name}"
        folder.mkdir(exist_ok=True)
        for secret in self.services[name]["secrets"]:
            target = folder / Path(secret["target"]).name
            target.write_bytes((self._postgres.secrets / secret["source"]).read_bytes())
        return folder


@pytest.fixture
def containers(
    plain_compose: dict[str, Any], tmp_path: Path, postgres: Server, temporal: Server
) -> Containers:
    return Containers(plain_compose, tmp_path, postgres, temporal)


def migrate(containers: Containers) -> None:
    done = subprocess.run(
        containers.command("cortex-migrate"),
        env=containers.environment("cortex-migrate"),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def live(url: str) -> bool:
    try:
        with urlopen(f"{url}/health/live", timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


async def test_a_job_runs_and_everything_stops_cleanly(
    containers: Containers, postgres: Server, temporal: Server
) -> None:
    migrate(containers)
    migrate(containers)

    logs = {name: containers.folder / f"{name}.log" for name in ("cortex-worker", "cortex-api")}
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(
                running(containers.command(name), log, env=containers.environment(name))
            )
            for name, log in logs.items()
        }

        def said() -> str:
            return "\n".join(f"{name}:\n{log.read_text()[-4000:]}" for name, log in logs.items())

        try:
            for name in ("cortex-worker", "cortex-api"):
                wait_until(partial(containers.healthy, name), f"a healthy {name}")
            await _run_a_job(containers, postgres)
            await _listed_by_temporal(temporal)
        except Exception as error:
            raise AssertionError(said()) from error

        for name in reversed(processes):
            processes[name].send_signal(signal.SIGTERM)
        codes = {name: process.wait(timeout=patience(45)) for name, process in processes.items()}
        assert codes == {"cortex-worker": 0, "cortex-api": 0}, said()
    assert not live(containers.url)


async def _run_a_job(containers: Containers, postgres: Server) -> None:
    key = (postgres.secrets / "cortex_api__key").read_text()
    async with AsyncCortex(containers.url, key) as cortex:
        job = await cortex.run(_SPEC, timeout=patience(60))
        assert (job.state, job.exit_code) == ("completed", 0)
        lines = [entry.text async for entry in cortex.logs(job.id)]
        assert "hello from the container" in "\n".join(lines)
        assert await cortex.output(job.id, "answer.txt") == b"42\n"


async def _listed_by_temporal(temporal: Server) -> None:
    """The namespace and the search attributes were made by who started, not by this test."""
    client = await Client.connect(temporal.address, namespace="cortex")
    runs = [run async for run in client.list_workflows("CortexProvider = 'local'")]
    assert runs


def test_a_server_without_its_secrets_says_what_is_missing(containers: Containers) -> None:
    env = containers.environment("cortex-migrate")
    env["CORTEX_SECRETS_DIR"] = str(containers.folder)
    env["CORTEX_DATABASE__TIMEOUT"] = "2s"
    env["CORTEX_DATABASE__URL"] = f"postgresql://cortex@127.0.0.1:{free_port()}/cortex"
    done = subprocess.run(
        containers.command("cortex-migrate"),
        env=env,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "PostgreSQL does not answer" in done.stderr
    assert "Traceback" not in done.stderr
