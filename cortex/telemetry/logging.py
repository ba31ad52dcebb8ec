"""Logs: structlog, with what libraries log through stdlib in the same form."""

import logging
import sys

import structlog
from structlog.typing import Processor

from cortex.settings import TelemetrySettings

# Chatty below WARNING, and nobody acts on it.
_QUIET = ("httpx", "httpcore", "asyncio", "alembic", "psycopg.pool", "uvicorn.error")


def configure_logging(settings: TelemetrySettings) -> None:
    """Send all logs of this process to stderr, one JSON object (or one pretty line) each.

    Raises:
        ValueError: `log_level` is no level.
    """
    level = logging.getLevelNamesMapping().get(settings.log_level.upper())
    if level is None:
        raise ValueError(f"`telemetry.log_level`: `{settings.log_level}` is no log level")
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
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _rendered(log_format: str) -> list[Processor]:
    if log_format == "console":
        # The default formatter prints all local variables, secrets too, and takes half a minute.
        plain = structlog.dev.plain_traceback
        return [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
        ]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
