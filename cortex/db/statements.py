"""What a statement writes, told from its text; and that it is the only one of its kind."""

import re
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_WRITES: Final = re.compile(
    r"\b(INSERT INTO|(?<!FOR )(?<!DO )UPDATE|DELETE FROM|pg_notify)\b(?: (?:ONLY )?(\w+))?"
)
_LONGEST: Final = 120
_WRITTEN: Final = "written"
_ONE_WRITE: Final = "cortex_one_write"


@lru_cache(maxsize=512)
def written_by(statement: str) -> str:
    """What a statement writes: `update jobs, insert events`; empty if it only reads."""
    writes = _WRITES.findall(" ".join(statement.split()))
    words = [f"{verb.split()[0].lower()} {table}".strip() for verb, table in writes]
    return ", ".join(dict.fromkeys(words))[:_LONGEST]


def allow_one_write(engine: AsyncEngine) -> AsyncEngine:
    """An engine whose connections may write once each time that they are handed out."""
    once = engine.execution_options(**{_ONE_WRITE: True})

    @event.listens_for(once.sync_engine, "before_cursor_execute")
    def before(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        name = written_by(statement)
        if name:
            note_write(connection, name)

    return once


def note_write(connection: Connection, name: str) -> None:
    """A connection is about to write what `name` says (`written_by`).

    Raises:
        RuntimeError: it may write once, and has.
    """
    if not connection.get_execution_options().get(_ONE_WRITE):
        return
    earlier = connection.info.get(_WRITTEN)
    if earlier is not None:
        raise RuntimeError(
            f"`{name}` would commit apart from `{earlier}`, which was written before it: "
            "use a transaction"
        )
    connection.info[_WRITTEN] = name


def handed_out(connection: AsyncConnection) -> None:
    """A connection of such an engine has written nothing yet."""
    if connection.sync_connection is not None:
        connection.sync_connection.info.pop(_WRITTEN, None)
