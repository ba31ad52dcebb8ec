"""Request bodies: JSON or YAML in, validated models out, with errors that say where."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request

from api.problems import MalformedBody, UnsupportedMediaType
from cortex.documents import (
    AmbiguousValue,
    Built,
    Document,
    DocumentError,
    Malformed,
    locate,
    nearest,
    read,
    read_json,
    size_notes,
    told,
)
from cortex.domain.errors import FieldError, InvalidRequest

M = TypeVar("M", bound=BaseModel)

YAML_TYPES: Final = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")

# Larger bodies are read beside the event loop; YAML takes longer.
_LARGE: Final = 16 * 1024
_LARGE_YAML: Final = 2 * 1024


@dataclass(frozen=True)
class Parsed(Generic[M]):
    """A body as a model, and how some of its values were read."""

    model: M
    notes: tuple[str, ...] = ()


class Body(Generic[M]):
    """The body of a request as a parameter of a route: `Annotated[M, Depends(Body(M, ...))]`.

    Args:
        model: What it has to be.
        what: Names it in errors, such as `the job spec`.
        yaml: Whether the document says that YAML is taken too, as it is everywhere.
        optional: Whether an empty body stands for a model of defaults.
    """

    def __init__(
        self, model: type[M], what: str, *, yaml: bool = False, optional: bool = False
    ) -> None:
        self.model = model
        self.yaml = yaml
        self.optional = optional
        self._what = what

    async def __call__(self, request: Request) -> Any:
        """The body of this request as a model.

        Raises:
            MalformedBody: neither JSON nor YAML, or a key stands twice; says in which line and
                column.
            InvalidRequest: one entry per wrong field.
            UnsupportedMediaType: the content type is another one, or it is compressed.
        """
        return (await self._parsed(request)).model

    async def _parsed(self, request: Request) -> Parsed[M]:
        body = await request.body()
        is_yaml = _is_yaml(request.headers)
        if not body.strip():
            if self.optional:
                return Parsed(self.model())
            raise MalformedBody(f"the body is empty; send {self._what}")
        require_plain(request.headers)
        if len(body) < (_LARGE_YAML if is_yaml else _LARGE):
            return parse_body(body, self.model, self._what, is_yaml=is_yaml)
        return await asyncio.to_thread(parse_body, body, self.model, self._what, is_yaml=is_yaml)


class NotedBody(Body[M]):
    """The same with notes on how it was read: a parameter of type `Parsed[M]`."""

    async def __call__(self, request: Request) -> Parsed[M]:
        """The body of this request, and notes; see `Body`."""
        return await self._parsed(request)


def require_plain(headers: Headers) -> None:
    """Go on only if a body was sent as it is.

    Raises:
        UnsupportedMediaType: it is compressed.
    """
    coding = headers.get("content-encoding", "").strip()
    if coding.lower() not in ("", "identity"):
        raise UnsupportedMediaType(
            f"`Content-Encoding: {coding[:60]}` is not understood; send the body as it is"
        )


def parse_body(body: bytes, model: type[M], what: str, *, is_yaml: bool) -> Parsed[M]:
    """Parse and validate; see `Body`."""
    built = _built(body, model, what, is_yaml=is_yaml)
    if not isinstance(built.value, dict):
        raise MalformedBody(f"the body must be an object with the fields of {what}")
    try:
        parsed = model.model_validate(built.value)
    except ValidationError as error:
        raise InvalidRequest.from_validation(error, what) from None
    if built.nul is not None:
        raise _invalid(what, built.nul, "contains a NUL character")
    notes = tuple(f"`{note.field}`: {note.message}" for note in size_notes(built.value, model))
    return Parsed(parsed, notes)


def _built(body: bytes, model: type[BaseModel], what: str, *, is_yaml: bool) -> Built:
    document = _document(body, what, is_yaml=is_yaml)
    try:
        return document.build(model)
    except AmbiguousValue as error:
        raise _invalid(what, error.path, error.message) from None
    except DocumentError as error:
        line, column = nearest(locate(document.text, document.number), error.path) or (0, 0)
        where = f"`{error.path[:200]}` " if error.path else "it "
        raise MalformedBody(
            f"the body is not taken: {where}{error.message}{_place(line, column)}",
            errors=[FieldError(field=error.path, message=error.message)] if error.path else (),
        ) from None


def _document(body: bytes, what: str, *, is_yaml: bool) -> Document:
    try:
        documents = read(body) if is_yaml else [read_json(body)]
    except Malformed as error:
        text = body.decode(errors="replace")
        kind = "YAML" if is_yaml else "JSON"
        raise MalformedBody(
            f"the body is no valid {kind}: {told(text, error)}{_place(error.line, error.column)}"
        ) from None
    if len(documents) != 1:
        raise MalformedBody(f"the body has {len(documents)} documents; send one with {what}")
    return documents[0]


def _place(line: int, column: int) -> str:
    return f" in line {line}, column {column}" if line else ""


def _invalid(what: str, path: str, message: str) -> InvalidRequest:
    return InvalidRequest(
        f"{what} is not valid: `{path}` {message}",
        errors=[FieldError(field=path or "spec", message=message)],
    )


def _is_yaml(headers: Headers) -> bool:
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind in YAML_TYPES:
        return True
    if kind in ("", "application/json") or kind.endswith("+json"):
        return False
    raise UnsupportedMediaType(
        f"`{kind[:60]}` is not understood; send application/json or application/yaml"
    )
