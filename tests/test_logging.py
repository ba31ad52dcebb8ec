"""What a log says of an error, and what it must not say."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from cortex.settings import TelemetrySettings
from cortex.telemetry.logging import configure_logging


@pytest.fixture
def log() -> Iterator[Any]:
    """A logger; afterwards everything is as it was."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = list(root.handlers), root.level
    yield structlog.get_logger("test")
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_traceback_shows_no_variables(
    log: Any, log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(TelemetrySettings.model_validate({"log_format": log_format}))

    def fails(key: str) -> None:
        raise ValueError(f"a key of {len(key)} letters is too short")

    secret = "-".join(["hunter2", "the", "secret"])
    try:
        fails(secret)
    except ValueError:
        log.exception("it failed", job="job_1")
    said = capsys.readouterr().err
    assert "it failed" in said
    assert "in fails" in said
    assert "a key of 18 letters is too short" in said
    assert "hunter2-the-secret" not in said
