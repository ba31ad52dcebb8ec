"""What a node does to a container's arguments before it starts it.

From `interpolateOperation` of nosana-ci/nosana-cli, read, not run: a variable whose text is JSON
becomes what JavaScript makes of that as a text, an item of a list whose text is a JSON list becomes
its items, and `%%global.x%%` or `%%ops.x.y%%` that nobody knows ends the operation.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

_LITERAL = re.compile(r"%%global\.[^.]+%%|%%ops\.[^.]+\.[A-Za-z0-9._-]+%%")


class Unresolved(Exception):
    """A literal that stands for nothing."""


def interpolated(value: Any) -> Any:
    """The arguments as the container gets them.

    Raises:
        Unresolved: one of them refers to what is not there.
    """
    if isinstance(value, str):
        if _LITERAL.search(value):
            raise Unresolved(f'Unresolved literal: "{value}"')
        return " ".join(map(_text, _tokens(value)))
    if isinstance(value, list):
        return [token for part in value for token in _items(part)]
    if isinstance(value, dict):
        return {name: interpolated(part) for name, part in value.items()}
    return value


def _items(part: Any) -> Iterator[Any]:
    if isinstance(part, str) and _LITERAL.search(part):
        raise Unresolved(f'Unresolved literal: "{part}"')
    yield from _tokens(part)


def _tokens(value: Any) -> Iterator[Any]:
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except ValueError:
            yield value
            return
    if isinstance(value, list):
        for part in value:
            yield from _tokens(part)
    elif value is not None:
        yield value


def _text(value: Any) -> str:
    """As JavaScript's `String`."""
    if isinstance(value, dict):
        return "[object Object]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
