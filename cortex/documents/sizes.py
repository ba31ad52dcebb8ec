"""How sizes were read that are not written in the usual units."""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from cortex.documents.shapes import Shape, shape_of
from cortex.domain.errors import FieldError
from cortex.domain.units import size_reading


def size_notes(value: object, model: type[BaseModel]) -> list[FieldError]:
    """One note for each size that had to be interpreted, such as `4GB`."""
    return [
        FieldError(field=path, message=text) for path, text in _notes(value, shape_of(model), "")
    ]


def _notes(value: object, shape: Shape, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and shape.size:
        said = size_reading(value)
        if said is not None:
            yield path, said
    elif isinstance(value, Mapping):
        for key, part in value.items():
            inner = shape.at(str(key))
            if inner.size or inner.fields or inner.item is not None:
                yield from _notes(part, inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        inner = shape.each()
        if inner.fields:
            for number, part in enumerate(value):
                yield from _notes(part, inner, f"{path}[{number}]")
