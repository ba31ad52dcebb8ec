"""What the server's processes load before anybody asks them for anything: it is their memory."""

import subprocess
import sys

import pytest

from tests.support import patience

_COLOURS = ("rich", "pygments")
_API = (*_COLOURS, "cryptography", "httpx", "providers", "activities", "temporalio.worker")
_WORKER = (*_COLOURS, "cryptography", "httpx", "fastapi", "uvicorn", "click", "yaml")


def loaded(statements: str) -> set[str]:
    """The modules of a process that has run these statements."""
    script = f"{statements}\nimport sys\nprint(*sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=patience(60))
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("process", "unused"), [("api.__main__", _API), ("worker", _WORKER)], ids=["api", "worker"]
)
def test_a_process_loads_nothing_that_it_may_never_use(
    process: str, unused: tuple[str, ...]
) -> None:
    assert loaded(f"import {process}").isdisjoint(unused)


def test_rich_can_be_loaded_afterwards() -> None:
    assert "rich.console" in loaded("import cortex.telemetry.structlog_alone, rich.console")
