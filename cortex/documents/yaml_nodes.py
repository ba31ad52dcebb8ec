"""YAML as nodes: plain scalars as they stand there, merge keys, the tags of the core schema.

Made of the parser's events and not of PyYAML's own nodes: those are built by recursion, and their
constructors read numbers and truths as YAML 1.1 does.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
)

from cortex.documents.errors import DocumentError, Malformed
from cortex.documents.nodes import MERGE, Map, Node, Plain
from cortex.documents.scalars import NULLS, resolve

MAX_DEPTH: Final = 100
MAX_NODES: Final = 500_000
# The pure parser says more about an error, and is slow.
_SMALL: Final = 16 * 1024
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE: Final = "tag:yaml.org,2002:"
_COLLECTIONS: Final = frozenset({f"{_CORE}map", f"{_CORE}seq"})
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    f"{_CORE}int": (int,),
    f"{_CORE}float": (int, float),
    f"{_CORE}bool": (bool,),
    f"{_CORE}null": (type(None),),
}
# Ends of lines to YAML 1.1, and so to libyaml, but not to YAML 1.2 nor to an editor.
_OLD_BREAKS = re.compile("[\x85\u2028\u2029]")


def compose_yaml(text: str) -> list[Node]:
    """Every document of a text but empty ones.

    Raises:
        Malformed: it is no YAML, or nested too deeply.
    """
    odd = _OLD_BREAKS.search(text)
    if odd is not None:
        line = text.count("\n", 0, odd.start()) + 1
        column = odd.start() - text.rfind("\n", 0, odd.start())
        code = f"U+{ord(odd[0]):04X}"
        raise Malformed(f"{code} ends a line to some readers; write it as an escape", line, column)
    work = _Composer()
    for event in events(text):
        work.take(event)
    return [node for node in work.documents if not _is_null(node)]


def events(text: str) -> Iterator[Event]:
    """What the parser says.

    Raises:
        Malformed: it is no YAML.
    """
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except (yaml.YAMLError, ValueError) as error:
        raise _malformed(_better(text, error)) from None


def _better(text: str, error: Exception) -> Exception:
    """The same error as the pure parser says it, which names what it expected."""
    if len(text) > _SMALL or not isinstance(error, yaml.MarkedYAMLError):
        return error
    try:
        for _ in yaml.parse(text, Loader=yaml.SafeLoader):
            pass
    except yaml.MarkedYAMLError as other:
        return other
    except (yaml.YAMLError, ValueError, RecursionError):
        pass
    return error


def _malformed(error: Exception) -> Malformed:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        what = " ".join((error.problem or error.context or "it cannot be read").split())[:200]
        return Malformed(what, mark.line + 1, mark.column + 1) if mark else Malformed(what)
    return Malformed(" ".join(str(error).split())[:200] or type(error).__name__)


def _is_null(node: Node) -> bool:
    return node is None or (isinstance(node, Plain) and node.text in NULLS)


@dataclass
class _Open:
    """A mapping or list that has begun and not ended."""

    node: Map | list[Node]
    anchor: str | None
    key: object = None
    has_key: bool = False


@dataclass
class _Composer:
    """Puts events together."""

    documents: list[Node] = field(default_factory=list)
    _open: list[_Open] = field(default_factory=list)
    _anchors: dict[str, Node] = field(default_factory=dict)
    _count: int = 0

    def take(self, event: Event) -> None:
        if isinstance(event, ScalarEvent):
            self._put(self._named(event, _scalar(event)), event, key=_key_of(event))
        elif isinstance(event, CollectionStartEvent):
            self._begin(event)
        elif isinstance(event, CollectionEndEvent):
            self._end(event)
        elif isinstance(event, AliasEvent):
            self._put(self._meant(event), event)
        elif isinstance(event, DocumentStartEvent | DocumentEndEvent):
            self._anchors = {}

    def _begin(self, event: CollectionStartEvent) -> None:
        if event.tag not in (None, "!") and event.tag not in _COLLECTIONS:
            raise _at(event, f"the tag `{event.tag}` is not known here")
        node: Map | list[Node] = Map([]) if isinstance(event, MappingStartEvent) else []
        if self._open and isinstance(self._open[-1].node, Map) and not self._open[-1].has_key:
            raise _at(event, "a key must be a text")
        self._open.append(_Open(node, event.anchor))
        if len(self._open) > MAX_DEPTH:
            raise _at(event, "it is nested too deeply")

    def _end(self, event: Event) -> None:
        done = self._open.pop()
        if done.anchor is not None:
            self._anchors[done.anchor] = done.node
        self._put(done.node, event)

    def _put(self, node: Node, event: Event, *, key: object = None) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            raise _at(event, f"it has more than {MAX_NODES:,} parts")
        if not self._open:
            self.documents.append(node)
            return
        top = self._open[-1]
        if isinstance(top.node, list):
            top.node.append(node)
        elif top.has_key:
            top.node.pairs.append((top.key, node))
            top.has_key = False
        else:
            top.key, top.has_key = self._key(node, event, key), True

    def _key(self, node: Node, event: Event, key: object) -> object:
        if key is not None:
            return key
        if isinstance(node, Plain):
            return node.text
        if isinstance(node, str):
            return node
        raise _at(event, "a key must be a text")

    def _named(self, event: ScalarEvent, node: Node) -> Node:
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _meant(self, event: AliasEvent) -> Node:
        name = event.anchor or ""
        if any(node.anchor == name for node in self._open):
            raise _at(event, f"`*{name}` stands inside what it means")
        if name not in self._anchors:
            raise _at(event, f"there is no `&{name}` before this `*{name}`")
        return self._anchors[name]


def _key_of(event: ScalarEvent) -> object:
    """What it is as a key where that is more than its text."""
    return MERGE if event.value == "<<" and event.implicit[0] and event.tag is None else None


def _scalar(event: ScalarEvent) -> Node:
    text = str(event.value)
    if event.tag is None and event.implicit[0]:
        return Plain(text)
    if event.tag in (None, "!", f"{_CORE}str"):
        return text
    kinds = _KINDS.get(event.tag)
    if kinds is None:
        raise _at(event, f"the tag `{event.tag}` is not known here")
    try:
        fits = type(resolve(text)) in kinds
    except DocumentError:
        fits = False
    if not fits:
        raise _at(event, f"the value does not fit its tag `{event.tag}`")
    return Plain(text)


def _at(event: Event, message: str) -> Malformed:
    mark = event.start_mark
    return Malformed(message, mark.line + 1, mark.column + 1) if mark else Malformed(message)
