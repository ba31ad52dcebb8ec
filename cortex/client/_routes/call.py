"""One request of the REST API: how it is built and its answer read. No I/O.

What the routes of all nouns, and through them both clients, share.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from cortex.client.encoding import check_headers, check_sendable, encode, quoted
from cortex.client.streams import Params
from cortex.domain.groups.states import GroupState
from cortex.domain.states import JobState

T_co = TypeVar("T_co", covariant=True)
ModelT = TypeVar("ModelT", bound=BaseModel)
Since = datetime | timedelta
"""A time, or how long ago."""

V1 = "/api/v1"
JSON = {"Content-Type": "application/json"}


class Page(Protocol[T_co]):
    """A page of a list, and where the next one begins."""

    @property
    def items(self) -> Sequence[T_co]: ...

    @property
    def next_cursor(self) -> str | None: ...


class Ending(Protocol):
    """What has a state, and some day a last one."""

    @property
    def state(self) -> JobState | GroupState: ...


@dataclass(frozen=True)
class Call(Generic[T_co]):
    """One request, and how its answer is read.

    Attributes:
        repeatable: Whether it may reach the server twice without harm.
        good: Statuses besides 2xx whose body is the answer all the same.
        as_seen: Whether it is only for what is still as this client has seen it last.
    """

    method: str
    path: str
    parse: Callable[[bytes], T_co]
    params: Params = ()
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    repeatable: bool = True
    good: frozenset[int] = frozenset()
    as_seen: bool = False

    def __post_init__(self) -> None:
        check_sendable(*(text for pair in self.params for text in pair))
        check_headers(self.headers)


class LastSeen:
    """A type for `LAST_SEEN`."""


LAST_SEEN = LastSeen()
"""As `if_match`: only if nobody has changed it since this client read it last."""

IfMatch = str | LastSeen | None
"""Which version a change is meant for: an `ETag`, `LAST_SEEN`, or None: whichever there is."""


class SomeFields(BaseModel):
    """A page of a list whose entries have only the fields that were asked for."""

    items: tuple[dict[str, Any], ...]
    next_cursor: str | None = None


def only_if(call: Call[T_co], if_match: IfMatch) -> Call[T_co]:
    """The call, for this version only.

    It is not repeated by itself then: after a try whose answer got lost the version is another one.
    """
    if if_match is None:
        return call
    if isinstance(if_match, LastSeen):
        return replace(call, as_seen=True, repeatable=False)
    return replace(call, headers={**call.headers, "If-Match": if_match}, repeatable=False)


def get(path: str, model: type[ModelT], params: Params = ()) -> Call[ModelT]:
    """A GET whose answer is a model."""
    return Call("GET", V1 + path, model.model_validate_json, params)


def post(
    path: str, model: type[ModelT], body: Any, *, headers: Mapping[str, str] | None = None
) -> Call[ModelT]:
    """A POST of a JSON body."""
    return send("POST", path, model, body, headers=headers)


def send(
    method: str,
    path: str,
    model: type[ModelT],
    body: Any,
    *,
    headers: Mapping[str, str] | None = None,
    repeatable: bool = True,
) -> Call[ModelT]:
    """A request with a JSON body, whose answer is a model."""
    return Call(
        method,
        V1 + path,
        model.model_validate_json,
        body=encode(body),
        headers={**JSON, **(headers or {})},
        repeatable=repeatable,
    )


def sent(method: str, path: str, body: Any, *, repeatable: bool = False) -> Call[None]:
    """A request with a JSON body, whose answer has none."""
    return Call(
        method,
        V1 + path,
        lambda _: None,
        body=encode(body),
        headers=dict(JSON),
        repeatable=repeatable,
    )


def job_path(job_id: str) -> str:
    """Where a job is, below the version."""
    return f"/jobs/{quoted(job_id, safe='')}"


def query(**values: str | int | Since | None) -> Params:
    """The parameters of a query; those that are None are left out."""
    return tuple((name, text_of(value)) for name, value in values.items() if value is not None)


def text_of(value: str | int | Since) -> str:
    """A value of a query, times in full."""
    if isinstance(value, timedelta):
        value = datetime.now().astimezone() - value
    if isinstance(value, datetime):
        return value.astimezone().isoformat()
    return str(value)
