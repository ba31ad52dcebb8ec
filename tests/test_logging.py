"""What a log says of an error, and what it must not say."""

import logging
import re
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


_WICKED = "x\n2026-01-01T00:00:00Z [info     ] job.end\r\x1b[2J\x9b31m\u2028y"


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_what_others_sent_makes_no_lines_of_its_own(
    log: Any, log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(TelemetrySettings.model_validate({"log_format": log_format}))
    log.warning(f"event {_WICKED}", path=_WICKED, names={_WICKED: [_WICKED]})
    logging.getLogger("library").warning("of a library: %s", _WICKED)
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 2
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", said)


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_nor_does_the_text_of_an_error(
    log: Any, log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(TelemetrySettings.model_validate({"log_format": log_format}))
    try:
        raise ValueError(_WICKED)
    except ValueError:
        log.exception("it failed")
    said = capsys.readouterr().err
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", said)
    entries = [line for line in said.splitlines() if not line.startswith(" ")]
    assert len(entries) == 1
