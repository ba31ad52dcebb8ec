"""Logs: structlog, with what libraries log through stdlib in the same form."""

import io
import logging
import re
import sys
from textwrap import indent
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from cortex.settings import TelemetrySettings

# Chatty below WARNING, and nobody acts on it.
_QUIET = ("httpx", "httpcore", "asyncio", "alembic", "psycopg.pool", "uvicorn.error")

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def configure_logging(settings: TelemetrySettings) -> None:
    """Send all logs of this process to stderr, one JSON object (or one pretty line) each."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendered(settings.log_format),
            ],
        )
    )
    logging.getLogger().handlers[:] = [handler]
    set_level(settings)


def set_level(settings: TelemetrySettings) -> None:
    """Let what is less than `log_level` not be logged from now on."""
    level = logging.getLevelNamesMapping()[settings.log_level]
    logging.getLogger().setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _rendered(log_format: str) -> list[Processor]:
    if log_format == "console":
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=_write_traceback
        )
        return [_keep_to_one_line, renderer]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _keep_to_one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What others sent makes no line of its own, and tells the terminal nothing.

    Values are shown with quotes and escapes anyway, and so is all of a line in JSON.
    """
    text = event.get("event")
    if isinstance(text, str):
        event["event"] = _CONTROL.sub(_escape, text)
    return event


def _write_traceback(file: TextIO, exc_info: ExcInfo) -> None:
    """The traceback, each line indented: none of them looks like an entry.

    structlog's default prints all local variables, secrets too, and takes half a minute.
    """
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    lines = text.getvalue().split("\n")
    file.write(indent("\n".join(_CONTROL.sub(_escape, line) for line in lines), "  "))


def _escape(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]
