"""Where text belongs in a document: read off the model that it is for."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from cortex.domain.written import AsWritten, ReadAs, SizeText

_UNIONS: Final = (Union, types.UnionType)
_LISTS: Final = (tuple, list, set, frozenset)

Scalars = Literal["written", "text", "exact", "plain"]
"""What a scalar is taken for: `written` is text also as a number of JSON, `text` only where YAML
writes it without quotes; `exact` keeps every digit of a fraction; `plain` is what it looks like."""


@dataclass(frozen=True)
class Shape:
    """A place in a document.

    Attributes:
        scalar: What a scalar is here.
        fields: The places of a mapping whose keys are known.
        item: The places in a list, or of a mapping with any keys.
        keyed: Whether it is a mapping with any keys.
        size: Whether it is a size in bytes.
        opaque: Whether nobody looks at what stands here, or the model refuses all of it.
    """

    scalar: Scalars = "plain"
    fields: Mapping[str, "Shape"] = field(default_factory=dict)
    item: "Shape | None" = None
    keyed: bool = False
    size: bool = False
    opaque: bool = False

    def at(self, key: str) -> "Shape":
        """The place under a key."""
        if self.opaque:
            return self
        if self.fields:
            return self.fields.get(key, OPAQUE)
        return self.item if self.keyed and self.item else ANYTHING

    def each(self) -> "Shape":
        """The place of an item of a list."""
        if self.opaque:
            return self
        return self.item if self.item is not None and not self.keyed else ANYTHING


ANYTHING: Final = Shape()
OPAQUE: Final = Shape("written", opaque=True)


@cache
def shape_of(model: type[BaseModel]) -> Shape:
    """The places of what a model is made from."""
    fields: dict[str, Shape] = {}
    other = getattr(model, "__also_takes__", None)
    if other is not None:
        fields.update(shape_of(other).fields)
    for name, info in model.model_fields.items():
        fields[info.alias or name] = _of(info.annotation, tuple(info.metadata))
    return Shape("exact", fields)


def shape_of_any(models: Sequence[type[BaseModel]]) -> Shape:
    """The places of what one of these is made from; what several have is read as by the first."""
    fields: dict[str, Shape] = {}
    for model in reversed(models):
        fields.update(shape_of(model).fields)
    return Shape("exact", fields)


def _of(annotation: Any, metadata: tuple[Any, ...] = ()) -> Shape:
    """The place of an annotation. `metadata` is that of an outer `Annotated`."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _of(inner, (*metadata, *more))
    if any(isinstance(mark, AsWritten) for mark in metadata):
        return Shape("written")
    if any(isinstance(mark, SizeText) for mark in metadata):
        return Shape(size=True)
    for mark in metadata:
        if isinstance(mark, ReadAs):
            return shape_of_any(mark.models)
    origin = get_origin(annotation)
    if origin in _UNIONS:
        choices = [choice for choice in get_args(annotation) if choice is not type(None)]
        return _of_union([_of(choice, metadata) for choice in choices])
    if origin in _LISTS:
        element = _of(get_args(annotation)[0])
        return Shape(element.scalar, item=element)
    if origin in (dict, Mapping):
        return Shape(item=_of(get_args(annotation)[1]), keyed=True)
    if origin is Literal:
        texts = all(isinstance(text, str) for text in get_args(annotation))
        return Shape("text" if texts else "plain")
    return _of_class(annotation)


def _of_class(annotation: Any) -> Shape:
    if not isinstance(annotation, type):
        return ANYTHING
    if issubclass(annotation, BaseModel):
        return shape_of(annotation)
    if issubclass(annotation, str | SecretStr) or issubclass(annotation, Enum):
        return Shape("text")
    if issubclass(annotation, Decimal | timedelta):
        return Shape("exact")
    return ANYTHING


def _of_union(choices: list[Shape]) -> Shape:
    """One place for several: structure from whichever has it, text only if nothing else fits."""
    if len(choices) == 1:
        return choices[0]
    for shape in choices:
        if shape.fields or shape.item is not None:
            return shape
    scalars = {shape.scalar for shape in choices}
    return choices[0] if len(scalars) == 1 else ANYTHING


def schema_shape(schema: Mapping[str, Any]) -> Shape:
    """The places of what a JSON Schema describes, such as a provider's configuration."""
    return _of_schema(schema, schema.get("$defs", {}), 0)


_DEEPEST: Final = 20


def _of_schema(schema: Mapping[str, Any], known: Mapping[str, Any], depth: int) -> Shape:
    ref = schema.get("$ref")
    if depth > _DEEPEST:
        return ANYTHING
    if isinstance(ref, str):
        return _of_schema(known.get(ref.rpartition("/")[2], {}), known, depth + 1)
    choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if choices:
        shapes = [_of_schema(choice, known, depth + 1) for choice in choices if choice != _NULL]
        return _of_union(shapes) if shapes else ANYTHING
    kind = schema.get("type")
    if kind == "object" and "properties" in schema:
        fields = schema["properties"].items()
        return Shape(
            fields={
                name: _of_schema(field_schema, known, depth + 1) for name, field_schema in fields
            }
        )
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return Shape(item=_of_schema(schema["additionalProperties"], known, depth + 1), keyed=True)
    if kind == "array":
        inner = _of_schema(schema.get("items", {}), known, depth + 1)
        return Shape(inner.scalar, item=inner)
    return Shape("text") if kind == "string" else ANYTHING


_NULL: Final = {"type": "null"}
