"""Schedules: what is submitted by itself, and when; paused, fired by hand, made up for."""

from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field
from starlette.responses import Response

from api.access import Caller, SeenSchedules, Target, needs
from api.bodies import Body
from api.conditions import IfMatch, IfNoneMatch, tagged
from api.openapi import UNCHANGED, changed, problems
from api.params import WHOLE, Cursor, ScheduleCursor, ScheduleId
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.rights import Action
from cortex.domain.schedules import ScheduleRun
from cortex.schemas.schedules import (
    BackfillRequest,
    BackfillView,
    ScheduleCreate,
    SchedulePage,
    SchedulePause,
    ScheduleRunPage,
    ScheduleUpdate,
    ScheduleView,
)
from cortex.services.schedules.schedules import schedule_version, schedule_view

router = api_router("schedules")


@router.get(
    "/schedules",
    dependencies=[needs(Action.SCHEDULES_READ)],
    response_model=SchedulePage,
    responses=problems(404),
)
async def list_schedules(
    services: Using,
    projects: SeenSchedules,
    name: Annotated[str | None, Query(description="Only of this name.")] = None,
    limit: Annotated[int, Field(ge=1, le=100), WHOLE] = 50,
    cursor: ScheduleCursor = None,
) -> Response:
    """Schedules with the times that come next, the newest first."""
    page = await services.schedules.page(projects, name=name, cursor=cursor, limit=limit)
    return answer(page)


@router.post(
    "/schedules",
    dependencies=[needs(Action.SCHEDULES_CHANGE)],
    status_code=201,
    response_model=ScheduleView,
    responses=problems(404, 409),
)
async def create_schedule(
    body: Annotated[ScheduleCreate, Depends(Body(ScheduleCreate, "the schedule", yaml=True))],
    services: Using,
    by: Caller,
    project: Target,
) -> Response:
    """Make a schedule in a project. Its jobs are submitted in your name, as you may then."""
    made = await services.schedules.create(body, project, by)
    location = {"location": f"/api/v1/schedules/{made.id}"}
    return answer(schedule_view(made), status=201, headers=location)


@router.get(
    "/schedules/{schedule_id}",
    dependencies=[needs(Action.SCHEDULES_READ)],
    response_model=ScheduleView,
    responses={**problems(404), **UNCHANGED},
)
async def get_schedule(
    schedule_id: ScheduleId, services: Using, if_none_match: IfNoneMatch = None
) -> Response:
    """One schedule with the times that come next."""
    schedule = await services.schedules.get(schedule_id)
    return tagged(schedule_view(schedule), schedule_version(schedule), if_none_match)


@router.patch(
    "/schedules/{schedule_id}",
    dependencies=[needs(Action.SCHEDULES_CHANGE)],
    response_model=ScheduleView,
    responses={**problems(404, 412), **changed()},
)
async def update_schedule(
    schedule_id: ScheduleId,
    body: Annotated[
        ScheduleUpdate, Depends(Body(ScheduleUpdate, "the change of the schedule", yaml=True))
    ],
    services: Using,
    by: Caller,
    expected: IfMatch,
) -> Response:
    """Change when and what; a `job` takes the place of a `template`, and the other way round."""
    schedule = await services.schedules.update(schedule_id, body, by, expected)
    return tagged(schedule_view(schedule), schedule_version(schedule))


@router.delete(
    "/schedules/{schedule_id}",
    dependencies=[needs(Action.SCHEDULES_CHANGE)],
    status_code=204,
    responses=problems(404, 412),
)
async def delete_schedule(
    schedule_id: ScheduleId, services: Using, by: Caller, expected: IfMatch
) -> Response:
    """Take a schedule away with the list of its runs. Their jobs go on."""
    await services.schedules.remove(schedule_id, by, expected)
    return Response(status_code=204)


@router.post(
    "/schedules/{schedule_id}/pause",
    dependencies=[needs(Action.SCHEDULES_CHANGE)],
    response_model=ScheduleView,
    responses=problems(404),
)
async def pause_schedule(
    schedule_id: ScheduleId,
    body: Annotated[SchedulePause, Depends(Body(SchedulePause, "the pause", optional=True))],
    services: Using,
    by: Caller,
) -> Response:
    """Submit nothing by itself until it is resumed; what is missed meanwhile is not made up for."""
    return answer(schedule_view(await services.schedules.pause(schedule_id, body.note, by)))


@router.post(
    "/schedules/{schedule_id}/resume",
    dependencies=[needs(Action.SCHEDULES_CHANGE)],
    response_model=ScheduleView,
    responses=problems(404),
)
async def resume_schedule(schedule_id: ScheduleId, services: Using, by: Caller) -> Response:
    """Submit what comes due from now on."""
    return answer(schedule_view(await services.schedules.resume(schedule_id, by)))


@router.post(
    "/schedules/{schedule_id}/trigger",
    dependencies=[needs(Action.SCHEDULES_CHANGE)],
    status_code=202,
    response_model=ScheduleRun,
    responses=problems(404, 409),
)
async def trigger_schedule(schedule_id: ScheduleId, services: Using, by: Caller) -> Response:
    """Submit one now in its owner's name, also while it is paused, and whatever runs."""
    return answer(await services.schedules.trigger(schedule_id, by), status=202)


@router.post(
    "/schedules/{schedule_id}/backfill",
    dependencies=[needs(Action.SCHEDULES_CHANGE)],
    status_code=202,
    response_model=BackfillView,
    responses=problems(404),
)
async def backfill_schedule(
    schedule_id: ScheduleId,
    body: Annotated[BackfillRequest, Depends(Body(BackfillRequest, "the span"))],
    services: Using,
    by: Caller,
) -> Response:
    """Submit all of a span of the past that was not, each time once, also while it is paused."""
    return answer(await services.schedules.backfill(schedule_id, body, by), status=202)


@router.get(
    "/schedules/{schedule_id}/runs",
    dependencies=[needs(Action.SCHEDULES_READ)],
    response_model=ScheduleRunPage,
    responses=problems(404),
)
async def list_schedule_runs(
    schedule_id: ScheduleId,
    services: Using,
    limit: Annotated[int, Field(ge=1, le=500), WHOLE] = 50,
    cursor: Cursor = None,
) -> Response:
    """What became of its times, with the ids of jobs; the latest first."""
    return answer(await services.schedules.runs(schedule_id, cursor=cursor, limit=limit))
