"""What stands in the compose file, and servers like those that it starts."""

import json
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.servers import ROOT, Server, plain_environment, postgres_server, temporal_server

COMPOSE_FILES = (
    ("docker-compose.temporal.yml",),
    ("docker-compose.temporal.yml", "deploy/compose.docker.yml"),
)


def resolve(files: tuple[str, ...]) -> dict[str, Any]:
    """What Docker Compose itself makes of the files: schema checked, merged, names resolved."""
    arguments = [part for file in files for part in ("--file", str(ROOT / file))]
    done = subprocess.run(
        [
            str(Path(sysconfig.get_path("scripts")) / "docker-compose"),
            *("--project-directory", str(ROOT), *arguments, "config", "--format", "json"),
        ],
        env=plain_environment(DOCKER_GID="998"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    resolved: dict[str, Any] = json.loads(done.stdout)
    return resolved


@pytest.fixture(scope="session", params=COMPOSE_FILES, ids=("plain", "docker"))
def compose(request: pytest.FixtureRequest) -> dict[str, Any]:
    return resolve(request.param)


@pytest.fixture(scope="session")
def plain_compose() -> dict[str, Any]:
    return resolve(COMPOSE_FILES[0])


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with temporal_server(tmp_path_factory.mktemp("temporal")) as server:
        yield server
