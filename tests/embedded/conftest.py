"""Stacks in folders of their own, on free ports; nothing is left running by any test."""

import contextlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Protocol, cast

import psutil
import pytest

from cortex.embedded import StackConfig, stop_stack
from cortex.embedded.service import Part, Service
from providers.conformance import Patience
from tests.support import patience

HERE = Path(__file__).parent


class FakeMaker(Protocol):
    def __call__(
        self, config: StackConfig, name: str, port: int, *options: str, **fields: object
    ) -> Service: ...


class Supervised:
    """A supervisor process and the events that it prints."""

    def __init__(self, data_dir: Path, kind: str) -> None:
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "supervise.py"), str(data_dir), kind],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.events: list[tuple[str, str]] = []

    def until(self, name: str, phase: str) -> str:
        """Read events until this one; its detail."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            self.events.append((event["name"], event["phase"]))
            if (event["name"], event["phase"]) == (name, phase):
                return str(event["detail"])
        raise AssertionError(f"no {name} {phase}; seen: {self.events}; last: {event}")

    def rest(self) -> None:
        """Read events until it has ended."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            self.events.append((event["name"], event["phase"]))
        self.process.wait(timeout=patience(60))

    def pids(self) -> dict[str, int]:
        """The children by their pid files."""
        files = self.data_dir.joinpath("run").glob("*.pid")
        return {path.stem: json.loads(path.read_text())["pid"] for path in files}


@pytest.fixture(scope="module")
def own_folder() -> Iterator[Callable[[], Path]]:
    """Make empty folders outside of pytest's own.

    Every pytest that starts shuts `/tmp/pytest-of-<user>` to all others again, also to the user
    that PostgreSQL runs as when the tests run as root: another session would break this one.
    """
    with contextlib.ExitStack() as made:
        yield lambda: Path(made.enter_context(tempfile.TemporaryDirectory(prefix="cortex-test-")))


@pytest.fixture
async def data_dir(
    own_folder: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Path]:
    """An empty data folder, far from the settings of whoever runs the tests."""
    folder = own_folder()
    monkeypatch.setenv("CORTEX_CONFIG", str(folder / "none.toml"))
    yield folder / "data"
    await stop_stack(folder / "data", timeout=20)


@pytest.fixture
def config(data_dir: Path) -> StackConfig:
    made = StackConfig.free(data_dir)
    made.save()
    return made


@pytest.fixture
def supervise(data_dir: Path) -> Iterator[Callable[[str], Supervised]]:
    """Start a supervisor process on the data folder; it is gone after the test."""
    started: list[Supervised] = []

    def start(kind: str) -> Supervised:
        started.append(Supervised(data_dir, kind))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
            try:
                one.process.wait(timeout=patience(30))
            except subprocess.TimeoutExpired:
                one.process.kill()
        one.process.wait()
        if one.process.stdout is not None:
            one.process.stdout.close()


@pytest.fixture(scope="session")
def fake() -> FakeMaker:
    """Make a stand-in service."""
    return cast(FakeMaker, _helpers()["fake"])


@pytest.fixture(scope="session")
def parts_of() -> Callable[[StackConfig, str], tuple[Part, ...]]:
    """The parts of a whole test stack."""
    return cast(Callable[[StackConfig, str], tuple[Part, ...]], _helpers()["parts_of"])


@pytest.fixture(scope="session")
def all_gone() -> Callable[[list[int]], bool]:
    """Whether all these processes end within some seconds."""

    def check(pids: list[int], timeout: float = 15.0) -> bool:
        waiting = Patience(timeout)
        while any(_alive(pid) for pid in pids):
            if waiting.over:
                return False
            time.sleep(0.05)
        return True

    return check


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _helpers() -> dict[str, object]:
    spec = importlib.util.spec_from_file_location("embedded_supervise", HERE / "supervise.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)
