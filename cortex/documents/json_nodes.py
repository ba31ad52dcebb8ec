"""JSON as nodes: every pair of an object, every number as it was written."""

import json
from typing import Any, Final

from cortex.documents.errors import Malformed
from cortex.documents.nodes import Map, Node, Plain


def compose_json(text: str) -> Node:
    """The one value of a text.

    Raises:
        Malformed: it is no JSON (RFC 8259).
    """
    try:
        node: Node = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise Malformed(error.msg, error.lineno, error.colno) from None
    except RecursionError:
        raise Malformed("it is nested too deeply") from None
    return node


def _no_constant(name: str) -> Any:
    raise Malformed(f"`{name}` is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> Map:
    return Map([*pairs])


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=Plain, parse_float=Plain, parse_constant=_no_constant
)
