"""`${{ name }}` in the values of a spec.

A text that is nothing but one placeholder becomes the parameter's value with its type; within other
text a placeholder is replaced by the value as text. `$${{` gives the text `${{`. Nothing else is
read: there are no expressions, and what is put in is not read again.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from cortex.documents import Shape
from cortex.domain.errors import FieldError
from cortex.domain.money import format_amount
from cortex.domain.templates.parameters import Value

MOST_TEXT: Final = 2**20
"""Characters that all placeholders together may put in."""

_MARK: Final = re.compile(
    r"(?P<escaped>\$\$\{\{)|\$\{\{[ \t]*(?P<name>[A-Za-z_]\w{0,62})[ \t]*\}\}|(?P<open>\$\{\{)",
    re.ASCII,
)
_OPEN: Final = (
    "has `${{` without the name of a parameter and `}}`; write `${{ name }}`, or `$${{` for the "
    "text itself"
)
_TEXTS: Final = ("written", "text")


@dataclass(frozen=True)
class Place:
    """A text with placeholders.

    Attributes:
        path: Where it stands: `resources.cpu`, `args[0]`.
        names: The parameters that it refers to.
        whole: Whether it is one placeholder and nothing else.
        broken: Whether a `${{` in it is none.
    """

    path: str
    names: tuple[str, ...]
    whole: bool
    broken: bool


class _Missing:
    """Of an optional parameter that nobody gave: what would hold it is left out."""


_MISSING: Final = _Missing()


def places(spec: Any, path: str = "") -> Iterator[Place]:
    """Every text with placeholders, keys of mappings too: there they are `broken`."""
    if isinstance(spec, str):
        if "${{" in spec:
            yield _place(spec, path)
    elif isinstance(spec, Mapping):
        for key, part in spec.items():
            inner = f"{path}.{key}" if path else str(key)
            if "${{" in str(key):
                yield Place(inner, (), whole=False, broken=True)
            yield from places(part, inner)
    elif isinstance(spec, list | tuple):
        for number, part in enumerate(spec):
            yield from places(part, f"{path}[{number}]")


def _place(text: str, path: str) -> Place:
    marks = list(_MARK.finditer(text))
    names = tuple(mark["name"] for mark in marks if mark["name"])
    return Place(
        path,
        names,
        whole=len(marks) == 1 and bool(names) and marks[0][0] == text,
        broken=any(mark["open"] for mark in marks),
    )


def fill(spec: Any, values: Mapping[str, Value], shape: Shape) -> Any:
    """The spec with every placeholder replaced.

    Args:
        spec: Of a template that was checked.
        values: Of each parameter; those that are optional and not given are not there.
        shape: Of the spec: where it takes text, a value is put in as text.

    Raises:
        TooLong: more than `MOST_TEXT` characters would be put in.
    """
    filled = _Filling(values).fill(spec, shape)
    return {} if filled is _MISSING else filled


class TooLong(ValueError):
    """The values make the spec too long."""


@dataclass
class _Filling:
    values: Mapping[str, Value]
    added: int = field(default=0)

    def fill(self, spec: Any, shape: Shape) -> Any:
        if isinstance(spec, str):
            return self._text(spec, shape) if "${{" in spec else spec
        if isinstance(spec, Mapping):
            filled = {key: self.fill(part, shape.at(str(key))) for key, part in spec.items()}
            return {key: part for key, part in filled.items() if part is not _MISSING}
        if isinstance(spec, list | tuple):
            parts = [self.fill(part, shape.each()) for part in spec]
            return [part for part in parts if part is not _MISSING]
        return spec

    def _text(self, text: str, shape: Shape) -> Any:
        mark = _MARK.fullmatch(text)
        if mark is not None and mark["name"]:
            value = self.values.get(mark["name"])
            if value is None:
                return _MISSING
            as_text = self._as_text(mark)
            return as_text if shape.scalar in _TEXTS else value
        return _MARK.sub(self._as_text, text)

    def _as_text(self, mark: re.Match[str]) -> str:
        if mark["name"] is None:
            return mark[0].removeprefix("$") if mark["escaped"] else mark[0]
        text = written(self.values.get(mark["name"], ""))
        self.added += len(text)
        if self.added > MOST_TEXT:
            raise TooLong(f"the parameters put more than {MOST_TEXT // 2**10} KiB into the spec")
        return text


def written(value: Value) -> str:
    """A value as text: `true`, `3`, `0.5`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return format_amount(value) if isinstance(value, Decimal) else str(value)


def merged(spec: Any, patch: Any) -> Any:
    """The spec with overrides (JSON Merge Patch, RFC 7396).

    Mappings are merged; a null takes a field away; everything else, lists too, takes the place of
    what was there.
    """
    if not isinstance(patch, Mapping):
        return patch
    made = dict(spec) if isinstance(spec, Mapping) else {}
    for key, part in patch.items():
        if part is None:
            made.pop(key, None)
        else:
            made[key] = merged(made.get(key), part)
    return made


def misplaced(place: Place) -> FieldError:
    """What is wrong with a `broken` place."""
    return FieldError(field=place.path, message=_OPEN)
