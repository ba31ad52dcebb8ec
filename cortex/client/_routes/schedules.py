"""The routes about schedules: how each request is built and its answer read. No I/O."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from cortex.client._routes.call import V1, Call, get, query, send
from cortex.client.encoding import plain, quoted
from cortex.domain.schedules import ScheduleRun
from cortex.schemas.schedules import (
    BackfillView,
    SchedulePage,
    ScheduleRunPage,
    ScheduleView,
)


def schedules(
    project: str | None, name: str | None, limit: int, cursor: str | None
) -> Call[SchedulePage]:
    params = query(project=project, name=name, limit=limit, cursor=cursor)
    return get("/schedules", SchedulePage, params)


def schedule(schedule_id: str) -> Call[ScheduleView]:
    return get(_schedule(schedule_id), ScheduleView)


def create(fields: Mapping[str, Any], project: str | None) -> Call[ScheduleView]:
    call = send("POST", "/schedules", ScheduleView, _written(fields), repeatable=False)
    return replace(call, params=query(project=project))


def update(schedule_id: str, fields: Mapping[str, Any]) -> Call[ScheduleView]:
    return send("PATCH", _schedule(schedule_id), ScheduleView, _written(fields))


def delete(schedule_id: str) -> Call[None]:
    # Not repeated by itself: the second answer would be that there is none.
    return Call("DELETE", V1 + _schedule(schedule_id), lambda _: None, repeatable=False)


def pause(schedule_id: str, note: str) -> Call[ScheduleView]:
    return send("POST", f"{_schedule(schedule_id)}/pause", ScheduleView, {"note": note})


def resume(schedule_id: str) -> Call[ScheduleView]:
    return send("POST", f"{_schedule(schedule_id)}/resume", ScheduleView, {})


def trigger(schedule_id: str) -> Call[ScheduleRun]:
    # Not repeated by itself: that would be another run.
    path = f"{_schedule(schedule_id)}/trigger"
    return send("POST", path, ScheduleRun, {}, repeatable=False)


def backfill(schedule_id: str, start: datetime, end: datetime) -> Call[BackfillView]:
    body = {"start": start.isoformat(), "end": end.isoformat()}
    return send("POST", f"{_schedule(schedule_id)}/backfill", BackfillView, body)


def runs(schedule_id: str, limit: int, cursor: str | None) -> Call[ScheduleRunPage]:
    params = query(limit=limit, cursor=cursor)
    return get(f"{_schedule(schedule_id)}/runs", ScheduleRunPage, params)


def _schedule(schedule_id: str) -> str:
    return f"/schedules/{quoted(schedule_id, safe='')}"


def _written(fields: Mapping[str, Any]) -> Any:
    times = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in fields.items()
    }
    return plain(times)
