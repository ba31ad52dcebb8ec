"""Keys that are nobody's: `x-…`, a place for what a YAML file uses several times."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic.config import JsonDict

PREFIX: Final = "x-"
EXTENSION_SCHEMA: Final[JsonDict] = {"patternProperties": {f"^{PREFIX}": {}}}
"""For the JSON Schema of a model that takes them."""


def without_extensions(value: Any) -> Any:
    """The mapping without such keys; they are neither checked nor stored."""
    if not isinstance(value, Mapping):
        return value
    if not any(isinstance(key, str) and key.startswith(PREFIX) for key in value):
        return value
    return {
        key: entry
        for key, entry in value.items()
        if not (isinstance(key, str) and key.startswith(PREFIX))
    }
