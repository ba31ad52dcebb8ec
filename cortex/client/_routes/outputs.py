"""The routes of the API for what a job writes: lines and result files."""

from pydantic import TypeAdapter

from cortex.client._routes.call import V1, Call, get, job_path, query
from cortex.client.encoding import quoted
from cortex.client.streams import Params, Stream
from cortex.schemas.jobs import LeftOutView, LogEntry, LogPage, OutputView

_LEFT_OUT = TypeAdapter(tuple[LeftOutView, ...])
_OUTPUTS = TypeAdapter(tuple[OutputView, ...])


def log_page(
    job_id: str, *, tail: int | None = None, since: str | None = None, limit: int = 1000
) -> Call[LogPage]:
    params = query(tail=tail, since=since, limit=limit)
    return get(f"{job_path(job_id)}/logs", LogPage, params)


def log_stream(
    job_id: str, *, tail: int | None, since: str | None, partial: bool = False
) -> Stream[LogEntry]:
    follow: Params = (("follow", "true"), *((("partial", "true"),) if partial else ()))
    return Stream(
        path=f"{V1}{job_path(job_id)}/logs",
        parse=LogEntry.model_validate_json,
        params=follow + query(tail=tail, since=since),
        again=follow,
        resume="since",
        last_id=since or "",
    )


def outputs(job_id: str) -> Call[tuple[OutputView, ...]]:
    return Call("GET", f"{V1}{job_path(job_id)}/outputs", _OUTPUTS.validate_json)


def left_out(job_id: str) -> Call[tuple[LeftOutView, ...]]:
    return Call("GET", f"{V1}{job_path(job_id)}/left-out", _LEFT_OUT.validate_json)


def output(job_id: str, path: str) -> Call[bytes]:
    return Call("GET", f"{V1}{job_path(job_id)}/outputs/{quoted(path)}", bytes)
