"""Every route of the REST API: how its request is built and its answer read. No I/O.

The one place that both clients, sync and async, share.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter

from cortex.client.encoding import check_headers, check_sendable, encode, plain, quoted
from cortex.client.streams import Params, Stream
from cortex.domain.spec import JobSpec
from cortex.domain.units import format_duration
from cortex.schemas.jobs import (
    BatchAccepted,
    EventPage,
    EventView,
    FramePage,
    Health,
    Info,
    JobPage,
    JobView,
    LeftOutView,
    LogEntry,
    LogPage,
    OutputView,
    PluginView,
    Quote,
    Validation,
)

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)
Spec = JobSpec | Mapping[str, Any]
"""A job spec, or a mapping of its form: the server checks the latter."""
Since = datetime | timedelta
"""A time, or how long ago."""

_V1 = "/api/v1"
_JSON = {"Content-Type": "application/json"}
_LEFT_OUT = TypeAdapter(tuple[LeftOutView, ...])
_OUTPUTS = TypeAdapter(tuple[OutputView, ...])
_PLUGINS = TypeAdapter(tuple[PluginView, ...])


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its answer is read.

    Attributes:
        repeatable: Whether it may reach the server twice without harm.
        good: Statuses besides 2xx whose body is the answer all the same.
    """

    method: str
    path: str
    parse: Callable[[bytes], T]
    params: Params = ()
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    repeatable: bool = True
    good: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        check_sendable(*(text for pair in self.params for text in pair))
        check_headers(self.headers)


@dataclass(frozen=True)
class JobFilter:
    """Which jobs to list; what is None does not matter.

    Attributes:
        state: Such as `running`.
        provider: Id of the provider of the newest attempt.
        labels: All of them must be there.
        group: Id of the group that they are members of.
        created_after: A time, or how long ago.
        created_before: A time, or how long ago.
    """

    state: str | None = None
    provider: str | None = None
    owner: str | None = None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None
    created_after: Since | None = None
    created_before: Since | None = None


def submit(spec: Spec, key: str) -> Call[JobView]:
    body, headers = _spec_body(spec), {"Idempotency-Key": key}
    return _post("/jobs", JobView, body, headers=headers)


def submit_batch(specs: Sequence[Spec], key: str) -> Call[BatchAccepted]:
    body = encode({"jobs": [spec_json(spec) for spec in specs]})
    return _post("/jobs/batch", BatchAccepted, body, headers={"Idempotency-Key": key})


def validate(spec: Spec) -> Call[Validation]:
    return _post("/jobs/validate", Validation, _spec_body(spec))


def quote(spec: Spec) -> Call[Quote]:
    return _post("/quotes", Quote, _spec_body(spec))


def jobs(which: JobFilter, limit: int, cursor: str | None) -> Call[JobPage]:
    labels = tuple(("label", f"{key}={value}") for key, value in which.labels.items())
    params = _params(
        state=which.state,
        provider=which.provider,
        owner=which.owner,
        name=which.name,
        group=which.group,
        created_after=which.created_after,
        created_before=which.created_before,
        limit=limit,
        cursor=cursor,
    )
    return _get("/jobs", JobPage, params + labels)


def job(job_id: str) -> Call[JobView]:
    return _get(_job(job_id), JobView)


def frames(job_id: str, *, state: str | None, limit: int, cursor: str | None) -> Call[FramePage]:
    params = _params(state=state, limit=limit, cursor=cursor)
    return _get(f"{_job(job_id)}/frames", FramePage, params)


def cancel(job_id: str, reason: str) -> Call[JobView]:
    return _post(f"{_job(job_id)}/cancel", JobView, encode({"reason": reason}))


def extend(job_id: str, duration: timedelta, key: str) -> Call[JobView]:
    body = encode({"duration": format_duration(duration)})
    return _post(f"{_job(job_id)}/extend", JobView, body, headers={"Idempotency-Key": key})


def log_page(
    job_id: str, *, tail: int | None = None, since: str | None = None, limit: int = 1000
) -> Call[LogPage]:
    params = _params(tail=tail, since=since, limit=limit)
    return _get(f"{_job(job_id)}/logs", LogPage, params)


def log_stream(
    job_id: str, *, tail: int | None, since: str | None, partial: bool = False
) -> Stream[LogEntry]:
    follow: Params = (("follow", "true"), *((("partial", "true"),) if partial else ()))
    return Stream(
        path=f"{_V1}{_job(job_id)}/logs",
        parse=LogEntry.model_validate_json,
        params=follow + _params(tail=tail, since=since),
        again=follow,
        resume="since",
        last_id=since or "",
    )


def event_page(job_id: str | None, *, after: str | None, limit: int = 500) -> Call[EventPage]:
    return _get(_events(job_id), EventPage, _params(after=after, limit=limit))


def event_stream(
    job_id: str | None, *, after: str | None, start: Literal["start", "now"]
) -> Stream[EventView]:
    return Stream(
        path=f"{_V1}{_events(job_id)}",
        parse=EventView.model_validate_json,
        params=() if after else _params(**{"from": start}),
        last_id=after or "",
    )


def outputs(job_id: str) -> Call[tuple[OutputView, ...]]:
    return Call("GET", f"{_V1}{_job(job_id)}/outputs", _OUTPUTS.validate_json)


def left_out(job_id: str) -> Call[tuple[LeftOutView, ...]]:
    return Call("GET", f"{_V1}{_job(job_id)}/left-out", _LEFT_OUT.validate_json)


def output(job_id: str, path: str) -> Call[bytes]:
    return Call("GET", f"{_V1}{_job(job_id)}/outputs/{quoted(path)}", bytes)


def plugins() -> Call[tuple[PluginView, ...]]:
    return Call("GET", f"{_V1}/plugins", _PLUGINS.validate_json)


def plugin(name: str) -> Call[PluginView]:
    return _get(f"/plugins/{quoted(name, safe='')}", PluginView)


def job_schema() -> Call[dict[str, Any]]:
    return Call("GET", f"{_V1}/schemas/job-spec", orjson.loads)


def info() -> Call[Info]:
    return _get("/info", Info)


def health(kind: Literal["live", "ready"]) -> Call[Health]:
    # 503 is an answer here: it says what is away.
    parse = Health.model_validate_json
    return Call("GET", f"/health/{kind}", parse, good=frozenset({503}))


def spec_json(spec: Spec) -> dict[str, Any]:
    """The spec as it is sent: only what was set, secrets in clear."""
    if not isinstance(spec, JobSpec):
        return dict(plain(spec))
    body = spec.model_dump(mode="json", exclude_unset=True)
    if spec.secret_env:
        body["secret_env"] = spec.secrets()
    return body


def _spec_body(spec: Spec) -> bytes:
    return encode(spec_json(spec))


def _get(path: str, model: type[ModelT], params: Params = ()) -> Call[ModelT]:
    return Call("GET", _V1 + path, model.model_validate_json, params)


def _post(
    path: str,
    model: type[ModelT],
    body: bytes,
    *,
    headers: Mapping[str, str] | None = None,
    repeatable: bool = True,
) -> Call[ModelT]:
    return Call(
        "POST",
        _V1 + path,
        model.model_validate_json,
        body=body,
        headers={**_JSON, **(headers or {})},
        repeatable=repeatable,
    )


def _job(job_id: str) -> str:
    return f"/jobs/{quoted(job_id, safe='')}"


def _events(job_id: str | None) -> str:
    return f"{_job(job_id)}/events" if job_id else "/events"


def _params(**values: str | int | Since | None) -> Params:
    return tuple((name, text_of(value)) for name, value in values.items() if value is not None)


def text_of(value: str | int | Since) -> str:
    """A value of a query, times in full."""
    if isinstance(value, timedelta):
        value = datetime.now().astimezone() - value
    if isinstance(value, datetime):
        return value.astimezone().isoformat()
    return str(value)
