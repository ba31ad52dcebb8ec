"""The routes of the API for events: of one job, or of all."""

from typing import Literal

from cortex.client._routes.call import V1, Call, get, job_path, query
from cortex.client.streams import Stream
from cortex.schemas.events import EventPage, EventView


def event_page(job_id: str | None, after: str | None, *, limit: int = 500) -> Call[EventPage]:
    return get(_events(job_id), EventPage, query(after=after, limit=limit))


def event_stream(
    job_id: str | None, *, after: str | None, start: Literal["start", "now"]
) -> Stream[EventView]:
    return Stream(
        path=f"{V1}{_events(job_id)}",
        parse=EventView.model_validate_json,
        params=() if after else query(**{"from": start}),
        last_id=after or "",
    )


def _events(job_id: str | None) -> str:
    return f"{job_path(job_id)}/events" if job_id else "/events"
