"""Where in a text each part of a document stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
)

from cortex.documents.errors import Malformed
from cortex.documents.scalars import NULLS
from cortex.documents.yaml_nodes import events

Position = tuple[int, int]
"""Line and column, from 1."""

T = TypeVar("T")
_MOST_PLACES: Final = 200_000
_LONGEST_PATH: Final = 2_000


def locate(text: str, number: int) -> dict[str, Position]:
    """Line and column of each part of one document, by its dotted path; "" is all of it.

    Of a key that stands twice it is the last one's. Of JSON that YAML cannot read, such as one that
    is indented with tabs, nothing is known.
    """
    work = _Places(number)
    try:
        for event in events(text):
            if not work.take(event):
                break
    except Malformed:
        if not text.lstrip().startswith("{"):
            raise
    return work.known


def nearest(places: Mapping[str, T], path: str) -> T | None:
    """What belongs to a path, or to the longest known one that it begins with."""
    if len(path) <= _LONGEST_PATH and path in places:
        return places[path]
    for end in range(min(len(path), _LONGEST_PATH) - 1, 0, -1):
        if path[end] in ".[" and path[:end] in places:
            return places[path[:end]]
    return places.get("")


@dataclass
class _Level:
    path: str
    mapping: bool
    count: int = 0
    key: str | None = None


@dataclass
class _Places:
    """Follows the parser, and notes where the parts of one document are."""

    number: int
    known: dict[str, Position] = field(default_factory=dict)
    _seen: int = -1
    _begun: bool = False
    _levels: list[_Level] = field(default_factory=list)

    def take(self, event: Event) -> bool:
        """Whether there may be more to come."""
        if isinstance(event, DocumentStartEvent):
            self._begun = False
        elif isinstance(event, CollectionEndEvent):
            self._levels.pop()
        elif isinstance(event, ScalarEvent | CollectionStartEvent | AliasEvent):
            self._begin(event)
        return self._seen <= self.number and len(self.known) < _MOST_PLACES

    def _begin(self, event: Event) -> None:
        if not self._begun:
            self._begun = True
            self._seen += not _is_empty(event)
        path, noted = self._step(event)
        if not noted and self._seen == self.number:
            mark = event.start_mark
            self.known[path] = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        if isinstance(event, CollectionStartEvent):
            self._levels.append(_Level(path, isinstance(event, MappingStartEvent)))

    def _step(self, event: Event) -> tuple[str, bool]:
        """The path that begins here, and whether it has: the value of a key begins with the key."""
        if not self._levels:
            return "", False
        level = self._levels[-1]
        if not level.mapping:
            level.count += 1
            return f"{level.path}[{level.count - 1}]", False
        if level.key is None:
            name = str(event.value) if isinstance(event, ScalarEvent) else "?"
            level.key = f"{level.path}.{name}" if level.path else name
            return level.key, False
        path, level.key = level.key, None
        return path, True


def _is_empty(event: Event) -> bool:
    return isinstance(event, ScalarEvent) and bool(event.implicit[0]) and event.value in NULLS
