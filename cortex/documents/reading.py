"""From the text of a file or a request to what a model validates."""

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from cortex.documents.errors import DocumentError, Malformed
from cortex.documents.json_nodes import compose_json
from cortex.documents.nodes import Map, Node, Plain
from cortex.documents.scalars import NULLS, resolve
from cortex.documents.shapes import Shape, shape_of
from cortex.documents.yaml_nodes import MAX_DEPTH, MAX_NODES, compose_yaml


@dataclass(frozen=True)
class Built:
    """What a model is made from.

    Attributes:
        value: Mappings, lists, texts, numbers, truths and nothing else.
        nul: Path of a text with a NUL character, which no database keeps; None if there is none.
    """

    value: object
    nul: str | None


@dataclass(frozen=True)
class Document:
    """One document of a text.

    Attributes:
        text: All of the text.
        number: Which of its documents this is, from 0; empty ones do not count.
        json: Whether it is JSON, where a number is a number.
    """

    text: str
    number: int
    node: Node
    json: bool = False

    def names(self) -> frozenset[str]:
        """The keys of the mapping that it is, merged ones left out; none if it is no mapping."""
        pairs = self.node.pairs if isinstance(self.node, Map) else []
        return frozenset(key for key, _ in pairs if isinstance(key, str))

    def build(self, wanted: type[BaseModel] | Shape) -> Built:
        """The values for a model (or a shape), each read as its place wants it.

        Raises:
            DocumentError: a key stands twice, a number has two readings, aliases make it huge.
        """
        shape = wanted if isinstance(wanted, Shape) else shape_of(wanted)
        value = _Builder(json=self.json).build(self.node, shape, 0)
        return Built(value, _find_nul(value))


def read(raw: bytes) -> list[Document]:
    """The documents of a file: one of JSON, or any number of YAML. Empty ones are left out.

    Raises:
        Malformed: it is neither.
    """
    text = _decoded(raw)
    if text.lstrip()[:1] == "{":
        try:  # JSON may be indented with tabs, YAML may not.
            return [Document(text, 0, compose_json(text), json=True)]
        except Malformed:
            pass
    return [Document(text, number, node) for number, node in enumerate(compose_yaml(text))]


def read_json(raw: bytes) -> Document:
    """The one value of a JSON text.

    Raises:
        Malformed: it is no JSON.
    """
    text = _decoded(raw)
    return Document(text, 0, compose_json(text), json=True)


def read_value(text: str, shape: Shape) -> object:
    """A value from the command line, for a place that takes more than text: `5`, `[a, b]`.

    Raises:
        Malformed: it begins a list or mapping and is none.
        DocumentError: it has two readings.
    """
    node: Node = Plain(text.strip())
    if text.lstrip()[:1] in ("[", "{"):
        nodes = compose_yaml(text)
        if len(nodes) != 1:
            raise Malformed("it is more than one value")
        node = nodes[0]
    return _Builder().build(node, shape, 0)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Malformed(f"it is no UTF-8 text (byte {error.start})") from None


_TOO_LARGE: Final = "is too large or nested too deeply once its aliases are put in"
_WORDS: Final = {True: "true", False: "false"}


class _Builder:
    """Turns nodes into values, and counts: an alias may stand for much, many times."""

    def __init__(self, *, json: bool = False) -> None:
        self._json = json
        self._count = 0

    def build(self, node: Node, shape: Shape, depth: int) -> object:
        self._check_size(depth)
        if isinstance(node, str):
            return _checked(node)
        if isinstance(node, Plain):
            return self._plain(node.text, shape)
        if isinstance(node, Map):
            return self._mapping(node, shape, depth)
        if isinstance(node, list):
            return self._list(node, shape, depth)
        return _WORDS[node] if node is not None and shape.scalar == "written" else node

    def _check_size(self, depth: int) -> None:
        self._count += 1
        if self._count > MAX_NODES or depth > MAX_DEPTH:
            raise DocumentError(_TOO_LARGE)

    def _plain(self, text: str, shape: Shape) -> object:
        _checked(text)
        if shape.scalar == "written" or (shape.scalar == "text" and not self._json):
            return None if text in NULLS else text
        return resolve(text, exact=shape.scalar == "exact")

    def _list(self, items: list[Node], shape: Shape, depth: int) -> list[object]:
        inner = shape.each()
        values = []
        for number, element in enumerate(items):
            try:
                values.append(self.build(element, inner, depth + 1))
            except DocumentError as error:
                error.inside(number)
                raise
        return values

    def _mapping(self, node: Map, shape: Shape, depth: int) -> dict[str, object]:
        values: dict[str, object] = {}
        for key, entry in self._pairs(node, depth).items():
            try:
                values[_checked(key)] = self.build(entry, shape.at(key), depth + 1)
            except DocumentError as error:
                error.inside(key)
                raise
        return values

    def _pairs(self, node: Map, depth: int) -> dict[str, Node]:
        """The pairs, merged ones first: what is written in a mapping goes before what it merges."""
        self._check_size(depth)
        own: dict[str, Node] = {}
        merged: Node | None = None
        for key, value in node.pairs:
            name = key if isinstance(key, str) else "<<"
            if name in own if isinstance(key, str) else merged is not None:
                error = DocumentError("stands there twice")
                error.inside(name)
                raise error
            if isinstance(key, str):
                own[name] = value
            else:
                merged = value
        return own if merged is None else {**self._merged(merged, depth), **own}

    def _merged(self, node: Node, depth: int) -> dict[str, Node]:
        """What `<<` brings; of several mappings the first one that has a key gives it."""
        merged: dict[str, Node] = {}
        for source in node if isinstance(node, list) else [node]:
            if not isinstance(source, Map):
                error = DocumentError("must be an alias of a mapping, or a list of them")
                error.inside("<<")
                raise error
            merged = {**self._pairs(source, depth + 1), **merged}
            self._count += len(merged)
        return merged


def _checked(text: str) -> str:
    """The text, if all of it is characters: an escape of JSON can name half of one."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DocumentError("has half of a character (a lone surrogate)") from None
    return text


def _find_nul(value: object) -> str | None:
    """The path of the first text or key with a NUL character."""
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        path, part = waiting.pop()
        if isinstance(part, str):
            if "\0" in part:
                return path
        elif isinstance(part, dict):
            dot = "." if path else ""
            for key, entry in reversed(part.items()):
                waiting.append((f"{path}{dot}{key}", entry))
                waiting.append((path, key))
        elif isinstance(part, list):
            waiting.extend((f"{path}[{n}]", part[n]) for n in reversed(range(len(part))))
    return None
