"""A document as it was read, before it is known what its parts are for."""

from dataclasses import dataclass
from typing import Final

MERGE: Final = object()
"""In place of a key: the pairs of the value belong here as well, below those written here."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A scalar without quotes or tag, as it stands there."""

    text: str


@dataclass(frozen=True, slots=True)
class Map:
    """A mapping: its pairs in their order, keys that stand twice among them."""

    pairs: "list[tuple[object, Node]]"


Node = str | Plain | Map | list["Node"] | bool | None
"""A `str` is a text for certain: quoted, tagged, or a string of JSON."""
