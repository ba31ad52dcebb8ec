"""What is checked of a template when it is made, and the spec that it becomes."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from cortex.documents import shape_of
from cortex.domain.errors import CortexError, FieldError, InvalidRequest, field_errors
from cortex.domain.groups.expand import expand
from cortex.domain.groups.spec import GroupSpec
from cortex.domain.money import format_amount
from cortex.domain.templates import MODELS, Kind, Template
from cortex.domain.templates.certain import certain_errors
from cortex.domain.templates.parameters import Parameter, Value, values_of
from cortex.domain.templates.placeholders import Place, TooLong, fill, merged, misplaced, places

_SECRET: Final = (
    "is stored in clear: write `${{ name }}` with a `string` parameter that has no default, "
    "or name a secret of the project"
)


def check_template(
    kind: Kind, spec: Mapping[str, Any], parameters: Mapping[str, Parameter]
) -> None:
    """Go on only with a template that can be submitted.

    What depends on parameters that have no value yet is checked when they have.

    Raises:
        InvalidRequest: one entry per wrong field, as `job.resources.cpu` or `parameters.size`.
    """
    found = list(places(spec))
    errors = [misplaced(place) for place in found if place.broken]
    for place in found:
        errors += [
            FieldError(field=place.path, message=_unknown(name, parameters))
            for name in dict.fromkeys(place.names)
            if name not in parameters
        ]
    errors += _secrets(spec, parameters)
    errors = [FieldError(field=f"{kind}.{each.field}", message=each.message) for each in errors]
    used = {name for place in found for name in place.names}
    errors += [
        FieldError(field=f"parameters.{name}", message=f"is used nowhere in the {kind}")
        for name in parameters
        if name not in used
    ]
    _refuse("the template", errors or _misfits(kind, spec, parameters, found))


def made_spec(template: Template, given: Mapping[str, str], overrides: Mapping[str, Any]) -> Any:
    """The job or group spec that a template becomes: a `JobSpec` or a `GroupSpec`.

    Args:
        template: At the version that is wanted.
        given: A text for each parameter.
        overrides: Merged into what the template has become (JSON Merge Patch).

    Raises:
        InvalidRequest: a parameter is missing, unknown or of another type, or the spec is not valid
            with them.
    """
    values, errors = values_of(template.parameters, given)
    _refuse(f"what is given for `{template.name}`", errors)
    model = MODELS[template.kind]
    try:
        filled = fill(template.spec, values, shape_of(model))
    except TooLong as error:
        raise InvalidRequest(
            f"{error}", errors=[FieldError(field="params", message=f"{error}")]
        ) from None
    try:
        return model.model_validate(merged(filled, overrides))
    except ValidationError as error:
        raise InvalidRequest.from_validation(error, f"the {template.kind} spec") from None


def secret_parameters(template: Template) -> frozenset[str]:
    """The parameters whose values end up in secrets."""
    return frozenset(
        name
        for _, env in _secret_envs(template.spec)
        for place in places(env)
        for name in place.names
    )


def refers_to_secrets(spec: Mapping[str, Any]) -> bool:
    """Whether a spec as it is written, or overrides, name secrets of the project anywhere."""
    return any(
        isinstance(value, Mapping) for _, env in _secret_envs(spec) for value in env.values()
    )


def values_in_clear(spec: Mapping[str, Any]) -> list[str]:
    """The paths of secrets that stand in a spec, or in overrides, by their values."""
    return [
        f"{path}.{name}"
        for path, env in _secret_envs(spec)
        for name, value in env.items()
        if value is not None and not isinstance(value, Mapping)
    ]


def json_values(value: Any) -> Any:
    """The same with fractions as text, which keeps every digit, as the database stores it."""
    if isinstance(value, Mapping):
        return {key: json_values(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(part) for part in value]
    return format_amount(value) if isinstance(value, Decimal) else value


def _unknown(name: str, parameters: Mapping[str, Parameter]) -> str:
    if not parameters:
        return f"refers to `{name}`, and the template has no parameters"
    known = ", ".join(f"`{each}`" for each in sorted(parameters)[:20])
    return f"refers to `{name}`, which is no parameter; there are {known}"


def _secret_envs(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every `secret_env` of a spec, with its path."""
    parts: list[tuple[str, Any]] = [("", spec), ("defaults.", spec.get("defaults"))]
    jobs = spec.get("jobs")
    if isinstance(jobs, list):
        parts += [(f"jobs[{number}].", job) for number, job in enumerate(jobs)]
    for path, part in parts:
        env = part.get("secret_env") if isinstance(part, Mapping) else None
        if isinstance(env, Mapping):
            yield f"{path}secret_env", env


def _secrets(spec: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> list[FieldError]:
    """Whatever would be a secret in clear."""
    errors = []
    for path, env in _secret_envs(spec):
        for key, text in env.items():
            if isinstance(text, Mapping):  # names a secret that is kept elsewhere
                continue
            found = list(places(text))
            named = [parameters.get(name) for place in found for name in place.names]
            fine = len(found) == 1 and found[0].whole and not found[0].broken
            kept = any(each and (each.type != "string" or each.default) for each in named)
            if not fine or kept:
                errors.append(FieldError(field=f"{path}.{key}", message=_SECRET))
    return errors


def _misfits(
    kind: Kind,
    spec: Mapping[str, Any],
    parameters: Mapping[str, Parameter],
    found: Sequence[Place],
) -> list[FieldError]:
    """What is wrong with the spec whatever is given."""
    open_names = {name for name, parameter in parameters.items() if parameter.must_be_given}
    values: dict[str, Value] = {name: "${{ " + name + " }}" for name in open_names}
    for name, parameter in parameters.items():
        if parameter.default is not None:
            values[name] = parameter.value(parameter.default)
    unknown_yet = [place.path for place in found if open_names.intersection(place.names)]
    model = MODELS[kind]
    never = certain_errors(model, spec, parameters, found)
    try:
        checked = model.model_validate(fill(spec, values, shape_of(model)))
        if isinstance(checked, GroupSpec) and not open_names:
            expand(checked)
    except TooLong as error:
        return [FieldError(field="parameters", message=str(error))]
    except ValidationError as error:
        wrong: Sequence[FieldError] = field_errors(error)
    except CortexError as error:
        wrong = error.errors
    else:
        wrong = []
    told = {each.field: each for each in never}
    for each in wrong:
        if not any(_within(each.field, path) for path in unknown_yet):
            told.setdefault(each.field, each)
    return [
        FieldError(field=kind if name == "spec" else f"{kind}.{name}", message=each.message)
        for name, each in told.items()
    ]


def _within(field: str, path: str) -> bool:
    """Whether one of the two stands within the other."""
    if field == path:
        return True
    shorter, longer = sorted((field, path), key=len)
    return longer.startswith((f"{shorter}.", f"{shorter}["))


def _refuse(what: str, errors: Sequence[FieldError]) -> None:
    if errors:
        names = ", ".join(f"`{each.field}` {each.message}" for each in errors[:3])
        raise InvalidRequest(f"{what} is not valid: {names}", errors=errors)


def shown_spec(spec: BaseModel) -> dict[str, Any]:
    """A spec as JSON values, secrets masked: to be looked at."""
    if isinstance(spec, GroupSpec):
        return spec.masked()
    return spec.model_dump(mode="json", exclude_defaults=True)
