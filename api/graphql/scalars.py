"""Scalars of the schema, and how values are found: what the services give is JSON already."""

from typing import Any, Final, NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

Time = NewType("Time", str)
Amount = NewType("Amount", str)
Long = NewType("Long", int)
Json = NewType("Json", object)

Row = dict[str, Any]
"""An object of an answer: the values of its fields by their names in REST's answers."""


def value_of(source: Row, name: str) -> Any:
    """The value of a field without a resolver."""
    return source.get(name)


def _same(value: Any) -> Any:
    return value


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise GraphQLError("must be text")
    return value


def _scalar(name: str, description: str, parse: Any = _same) -> ScalarDefinition:
    return strawberry.scalar(name=name, description=description, serialize=_same, parse_value=parse)


SCALARS: Final[dict[object, ScalarDefinition]] = {
    Time: _scalar(
        "Time",
        "A time in UTC as in RFC 3339. What asks for one also takes a day (`2026-01-31`, its "
        "begin) and how long ago (`90s`, `30m`, `2h`, `7d`).",
        _text,
    ),
    Amount: _scalar("Decimal", "An exact decimal number, as text.", _text),
    Long: _scalar("Long", "A whole number of up to 64 bits."),
    Json: _scalar("JSON", "Any JSON value."),
}
