"""Tells the secrets of a provider's configuration from the rest, by their type.

A secret is whatever its `Config` declares as `SecretStr` or `SecretBytes`, at any depth. Secrets
are kept apart from the configuration, each under its path: `["registries", 0, "password"]`.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, SecretBytes, SecretStr

_SECRETS = (SecretStr, SecretBytes)
Path = tuple[str | int, ...]
MASK = "•••"


def split(config: BaseModel, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The configuration without its secrets, and the secrets by their place.

    Args:
        config: The validated configuration: it knows what is secret.
        given: What it was made from, as JSON: it is kept as the user wrote it.
    """
    public: dict[str, Any] = copy.deepcopy(dict(given))
    secrets: dict[str, str] = {}
    for path in _places(config, public):
        secret = _take(public, path)
        if secret is not None:
            secrets[_pointer(path)] = json.dumps(secret)
    return public, secrets


def join(public: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """What `split` took apart."""
    whole: dict[str, Any] = copy.deepcopy(dict(public))
    for pointer, value in secrets.items():
        _put(whole, _path(pointer), json.loads(value))
    return whole


def shown(pointers: Mapping[str, str]) -> tuple[str, ...]:
    """The places of secrets as people write them: `registries.0.password`."""
    return tuple(".".join(str(part) for part in _path(pointer)) for pointer in pointers)


def scrubbed(text: str, secrets: Mapping[str, str]) -> str:
    """The text without any of the secrets: errors of networks and libraries may repeat them."""
    for value in secrets.values():
        for part in _texts(json.loads(value)):
            if len(part) >= 4:
                text = text.replace(part, MASK)
    return text


def secret_fields(config: type[BaseModel]) -> tuple[str, ...]:
    """The secret fields of a type: `api_key`, `registries.*.password`."""
    return tuple(_declared(config, (), ()))


def _declared(
    model: type[BaseModel], above: tuple[str, ...], seen: tuple[type[BaseModel], ...]
) -> Iterator[str]:
    for name, info in model.model_fields.items():
        for part, many in _parts(info.annotation, many=False):
            place = (*above, name, *(["*"] if many else []))
            if issubclass(part, _SECRETS):
                yield ".".join(place)
            elif issubclass(part, BaseModel) and part not in seen:
                yield from _declared(part, place, (*seen, part))


def _parts(annotation: Any, *, many: bool) -> Iterator[tuple[type, bool]]:
    """The classes inside an annotation, and whether there may be several of each."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation, many
        return
    holds_many = getattr(annotation, "__origin__", None) in (list, tuple, set, frozenset, dict)
    for argument in get_args(annotation):
        yield from _parts(argument, many=many or holds_many)


def _places(value: Any, given: Any, at: Path = ()) -> Iterator[Path]:
    """Where secrets stand in `given`, from what they became in `value`."""
    if isinstance(value, _SECRETS):
        yield at
    elif isinstance(value, BaseModel):
        yield from _places_in_model(value, given, at)
    elif isinstance(value, Mapping):
        if isinstance(given, Mapping):
            for key in given:
                if key in value:
                    yield from _places(value[key], given[key], (*at, key))
        elif _has_secret(value):
            yield at
    elif isinstance(value, list | tuple):
        if isinstance(given, list | tuple) and len(given) == len(value):
            for index, (part, raw) in enumerate(zip(value, given, strict=True)):
                yield from _places(part, raw, (*at, index))
        elif _has_secret(value):
            yield at


def _places_in_model(value: BaseModel, given: Any, at: Path) -> Iterator[Path]:
    if not isinstance(given, Mapping):  # such as a text that a validator took apart
        if _has_secret(value):
            yield at
        return
    for name, info in type(value).model_fields.items():
        for key in (name, info.alias):
            if key is not None and key in given:
                yield from _places(getattr(value, name), given[key], (*at, key))


def _has_secret(value: Any) -> bool:
    if isinstance(value, _SECRETS):
        return True
    if isinstance(value, BaseModel):
        return any(_has_secret(getattr(value, name)) for name in type(value).model_fields)
    if isinstance(value, Mapping):
        return any(_has_secret(part) for part in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return any(_has_secret(part) for part in value)
    return False


def _take(whole: Any, path: Path) -> Any:
    *above, last = path
    for part in above:
        whole = whole[part]
    secret = whole[last]
    if isinstance(whole, dict):
        del whole[last]
    else:
        whole[last] = None  # the places of its neighbours must stay
    return secret


def _put(whole: Any, path: Path, value: Any) -> None:
    *above, last = path
    for part in above:
        whole = whole[part]
    whole[last] = value


def _pointer(path: Path) -> str:
    return json.dumps(path)


def _path(pointer: str) -> Path:
    return tuple(json.loads(pointer))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
