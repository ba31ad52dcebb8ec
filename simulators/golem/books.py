"""What outlives the simulator's process: agreements, activities with their batches, money.

As at a real daemon that is killed (section 5 of the fact sheet), demands, proposals and scans are
gone with it; the machines belong to the providers, who know nothing of its death. Each object is a
row, written as a whole when it changes.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from simulators.golem.state import Activity, Agreement, Allocation, Batch, Bill, Node

T = TypeVar("T")
Resolver = Callable[[str], Any]
_SCHEMA = "CREATE TABLE IF NOT EXISTS kept (kind TEXT, id TEXT, data TEXT, PRIMARY KEY (kind, id))"
_PUT = (
    "INSERT INTO kept (kind, id, data) VALUES (?, ?, ?) "
    "ON CONFLICT (kind, id) DO UPDATE SET data = excluded.data"
)
_APART = {"batches"}
"""Fields with rows of their own."""


class Books:
    """Rows in a file of SQLite. Its calls block shortly."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._rows = sqlite3.connect(path, isolation_level=None)
        self._rows.execute("PRAGMA journal_mode = WAL")
        # Only processes die here: what was handed to the system is not lost with them.
        self._rows.execute("PRAGMA synchronous = OFF")
        self._rows.execute(_SCHEMA)

    def close(self) -> None:
        self._rows.close()

    def put(self, kind: str, name: str, record: object) -> None:
        """Write an object down, in its place in the order in which they came."""
        self._rows.execute(_PUT, (kind, name, json.dumps(_plain(record), default=_tagged)))

    def drop(self, kind: str, name: str) -> None:
        self._rows.execute("DELETE FROM kept WHERE kind = ? AND id = ?", (kind, name))

    def drop_batches(self, activity_id: str) -> None:
        """Results vanish with their activity."""
        self._rows.execute(
            "DELETE FROM kept WHERE kind = 'batch' AND id LIKE ?", (f"{activity_id}/%",)
        )

    def of(
        self, kind: str, make: Callable[..., T], known: Mapping[str, Resolver]
    ) -> Iterator[tuple[str, T]]:
        """All of a kind, in order. `known` finds what they refer to."""
        for name, data in self._read(kind, known):
            yield name, make(**data)

    def facts(self, kind: str, known: Mapping[str, Resolver]) -> dict[str, Any]:
        """Of objects that are made anew at every start: what has changed in them."""
        return dict(self._read(kind, known))

    def _read(self, kind: str, known: Mapping[str, Resolver]) -> Iterator[tuple[str, Any]]:
        hook = _untagged({**_KNOWN, **known})
        query = "SELECT id, data FROM kept WHERE kind = ? ORDER BY rowid"
        for name, data in self._rows.execute(query, (kind,)).fetchall():
            yield name, json.loads(data, object_hook=hook)


def _plain(record: object) -> object:
    if isinstance(record, Activity | Agreement | Allocation | Batch | Bill):
        return {
            field.name: getattr(record, field.name)
            for field in fields(record)
            if field.name not in _APART
        }
    return record


def _tagged(value: object) -> dict[str, str]:
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, Node):
        return {"$node": value.id}
    if isinstance(value, Agreement):
        return {"$agreement": value.id}
    raise TypeError(type(value).__name__)


_KNOWN: dict[str, Resolver] = {"$decimal": Decimal, "$time": datetime.fromisoformat}


def _untagged(known: Mapping[str, Resolver]) -> Callable[[dict[str, Any]], Any]:
    def hook(tagged: dict[str, Any]) -> Any:
        if len(tagged) == 1:
            ((name, value),) = tagged.items()
            if name in known:
                return known[name](value)
        return tagged

    return hook
