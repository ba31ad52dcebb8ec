"""What is wrong with a template whatever is given for its parameters."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from cortex.documents import shape_of
from cortex.domain.errors import FieldError, field_error
from cortex.domain.groups.spec import GroupJob, GroupSpec
from cortex.domain.spec import JobSpec
from cortex.domain.spec.extensions import without_extensions
from cortex.domain.templates.parameters import Parameter, Value
from cortex.domain.templates.placeholders import Place, TooLong, fill

MOST_TRIED: Final = 20
"""Values of a parameter that takes one of several."""

_UNKNOWN: Final = "extra_forbidden"
_STRUCTURES: Final = frozenset(
    {
        *("dict_type", "mapping_type", "model_type", "model_attributes_type"),
        *("list_type", "tuple_type", "set_type", "frozen_set_type"),
    }
)
"""Kinds of errors that no text, number or truth is without."""


def certain_errors(
    model: type[BaseModel],
    spec: Mapping[str, Any],
    parameters: Mapping[str, Parameter],
    found: Sequence[Place],
) -> list[FieldError]:
    """Fields that are not known, and values that a parameter can never give.

    Args:
        model: Of the spec.
        spec: With placeholders.
        parameters: All of them.
        found: The placeholders in the spec.
    """
    unset = {name for name, parameter in parameters.items() if parameter.default is None}
    if not unset:
        return []
    tried = [_problems(model, spec, values) for values in _samples(parameters)]
    closed = {name for name in unset if _all_tried(parameters[name])}
    wrong = {
        each.field: each for each, kind in tried[0] if kind == _UNKNOWN
    }  # the same with any value
    for place in found:
        if not place.whole or not unset.intersection(place.names):
            continue
        here = [
            [(each, kind) for each, kind in problems if each.field == place.path]
            for problems in tried
        ]
        never = closed.issuperset(place.names) and all(here)
        structure = here[0] and all(kind in _STRUCTURES for _, kind in here[0])
        if never or structure:
            wrong.setdefault(place.path, here[0][0][0])
    return list(wrong.values())


def _samples(parameters: Mapping[str, Parameter]) -> Iterator[dict[str, Value]]:
    """Values for all parameters, until each that takes one of a few has had all of them."""
    kept = {
        name: parameter.value(parameter.default)
        for name, parameter in parameters.items()
        if parameter.default is not None
    }
    values = {name: _values(each) for name, each in parameters.items() if name not in kept}
    for number in range(max(len(each) for each in values.values())):
        yield kept | {name: each[number % len(each)] for name, each in values.items()}


def _values(parameter: Parameter) -> list[Value]:
    if parameter.type == "boolean":
        return [True, False]
    if parameter.choices is not None:
        return list(islice(parameter.choices, MOST_TRIED))
    return ["text"] if parameter.type == "string" else [1]


def _all_tried(parameter: Parameter) -> bool:
    few = parameter.choices is not None and len(parameter.choices) <= MOST_TRIED
    return few or parameter.type == "boolean"


_Problems = list[tuple[FieldError, str]]


def _problems(
    model: type[BaseModel], spec: Mapping[str, Any], values: Mapping[str, Value]
) -> _Problems:
    try:
        filled = fill(spec, values, shape_of(model))
    except TooLong:
        return []
    problems = _of(lambda: model.model_validate(filled))
    if model is GroupSpec:
        # A group looks at the parts of its jobs only once all of it is right.
        problems += _of_part(filled.get("defaults"), "defaults")
        jobs = filled.get("jobs")
        for number, job in enumerate(jobs if isinstance(jobs, list) else ()):
            problems += _of_part(job, f"jobs[{number}]")
    return problems


def _of_part(part: Any, path: str) -> _Problems:
    if not isinstance(part, Mapping):
        return []
    own = GroupJob.model_fields if path != "defaults" else ()
    fields = {key: value for key, value in without_extensions(part).items() if key not in own}
    return [
        (FieldError(field=f"{path}.{each.field}", message=each.message), kind)
        for each, kind in _of(lambda: JobSpec.model_validate(fields))
    ]


def _of(validate: Callable[[], object]) -> _Problems:
    try:
        validate()
    except ValidationError as error:
        return [
            (field_error(each["loc"], each["msg"], each["type"]), each["type"])
            for each in error.errors(include_url=False, include_context=False)
        ]
    return []
