"""Request bodies: JSON or YAML in, validated models out, with errors that say where."""

import asyncio
from typing import Any, Final, TypeVar

import orjson
import yaml
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request
from yaml.nodes import MappingNode

from api.problems import MalformedBody, UnsupportedMediaType
from cortex.domain.errors import InvalidRequest

M = TypeVar("M", bound=BaseModel)

YAML_TYPES: Final = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")

# Larger bodies are read beside the event loop.
_LARGE: Final = 16 * 1024
_MAX_NODES: Final = 500_000
_MAX_DEPTH: Final = 100
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


async def read_body(request: Request, model: type[M], what: str, *, optional: bool = False) -> M:
    """The body as a model; `what` names it in errors, such as `the job spec`.

    Raises:
        MalformedBody: neither JSON nor YAML; says in which line and column.
        InvalidRequest: one entry per wrong field.
        UnsupportedMediaType: the content type is another one.
    """
    body = await request.body()
    is_yaml = _is_yaml(request.headers)
    if not body.strip():
        if optional:
            return model()
        raise MalformedBody(f"the body is empty; send {what}")
    if len(body) < _LARGE:
        return parse_body(body, model, what, is_yaml=is_yaml)
    return await asyncio.to_thread(parse_body, body, model, what, is_yaml=is_yaml)


def parse_body(body: bytes, model: type[M], what: str, *, is_yaml: bool) -> M:
    """Parse and validate; see `read_body`."""
    value = _yaml(body) if is_yaml else _json(body)
    if not isinstance(value, dict):
        raise MalformedBody(f"the body must be an object with the fields of {what}")
    has_nul = _inspect(value)
    try:
        found = model.model_validate(value)
    except ValidationError as error:
        raise InvalidRequest.from_validation(error, what) from None
    if has_nul:
        raise InvalidRequest(f"{what} contains a NUL character")
    return found


def _is_yaml(headers: Headers) -> bool:
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind in YAML_TYPES:
        return True
    if kind in ("", "application/json") or kind.endswith("+json"):
        return False
    raise UnsupportedMediaType(
        f"`{kind[:60]}` is not understood; send application/json or application/yaml"
    )


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(
            f"the body is no valid JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from None


class _StrictLoader(_Loader):  # type: ignore[misc]
    """Safe, and a key that stands twice is an error and not silently the last one."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            name = (key.tag, str(key.value))
            if name in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key `{str(key.value)[:60]}` stands twice", key.start_mark
                )
            seen.add(name)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def _yaml(body: bytes) -> Any:
    try:
        text = body.decode()
        _check_depth(text)
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise MalformedBody(
            f"the body is no valid YAML: {error.problem or error.context}{where}"
        ) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise MalformedBody(f"the body is no valid YAML: {first}") from None


def _check_depth(text: str) -> None:
    """Refuse deep nesting before anything recursive sees it."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            mark = event.start_mark
            where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            raise MalformedBody(f"the body is nested too deeply{where}")


def _inspect(value: Any) -> bool:
    """Whether a text has a NUL character, which the database cannot store.

    Raises:
        MalformedBody: YAML aliases make it far larger than it looks, or it is nested too deeply.
    """
    has_nul = False
    nodes = 0
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        nodes += 1
        if nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise MalformedBody("the body is too large or nested too deeply once it is expanded")
        if isinstance(item, str):
            has_nul = has_nul or "\0" in item
        elif isinstance(item, dict):
            waiting.extend((key, depth + 1) for key in item)
            waiting.extend((entry, depth + 1) for entry in item.values())
        elif isinstance(item, list | tuple | set):
            waiting.extend((entry, depth + 1) for entry in item)
    return has_nul
