"""What may be changed of what teams share."""

from typing import Any

import strawberry

from api.graphql.access import guarded, plain
from api.graphql.arguments import schedule_id, template_id
from api.graphql.changes import GroupChange, JobChange, changing, job_change, model_of
from api.graphql.context import Asked
from api.graphql.scalars import Json, Row
from api.graphql.types.teams import Schedule
from cortex.domain.rights import Action
from cortex.schemas.schedules import SchedulePause
from cortex.schemas.templates import TemplateFill
from cortex.services.groups.submit import AcceptedGroup
from cortex.services.schedules.schedules import schedule_view


@plain
@strawberry.type(description="What a template became: a job or a group.")
class TemplateSubmission:
    job: JobChange | None
    group: GroupChange | None


@plain
@strawberry.type(description="A schedule that was changed.")
class ScheduleChange:
    id: strawberry.ID

    @guarded(Action.SCHEDULES_READ, Schedule | None, "The schedule as it is now.")
    async def schedule(self, info: Asked) -> Any:
        row: Any = self
        return row["schedule"]


@strawberry.type
class TeamMutation:
    @guarded(
        Action.JOBS_SUBMIT,
        TemplateSubmission | None,
        "Submit what a template becomes, to its project. `params` has values by the names of "
        "parameters, `overrides` is merged into the spec. With an `idempotencyKey` it is safe to "
        "send it again.",
        subjects=("id",),
        what="template",
    )
    async def submit_template(
        self,
        info: Asked,
        id: strawberry.ID,
        version: int | None = None,
        params: Json | None = None,
        overrides: Json | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        context = changing(info)
        given: Row = {"version": version, "params": params or {}, "overrides": overrides or {}}
        filling = model_of(TemplateFill, given)
        accepted = await context.services.templates.submit(
            template_id(id), filling, context.by, idempotency_key
        )
        if isinstance(accepted, AcceptedGroup):
            return {"group": {"id": accepted.group_id, "replayed": accepted.replayed}}
        return {"job": job_change(accepted.answer, replayed=accepted.replayed)}

    @guarded(
        Action.SCHEDULES_CHANGE,
        ScheduleChange | None,
        "Submit nothing by itself until it is resumed. Harmless to repeat.",
        subjects=("id",),
        what="schedule",
    )
    async def pause_schedule(self, info: Asked, id: strawberry.ID, note: str = "") -> Any:
        context = changing(info)
        asked = model_of(SchedulePause, {"note": note})
        schedule = await context.services.schedules.pause(schedule_id(id), asked.note, context.by)
        return {"id": id, "schedule": schedule_view(schedule).model_dump(mode="json")}

    @guarded(
        Action.SCHEDULES_CHANGE,
        ScheduleChange | None,
        "Submit what comes due from now on. Harmless to repeat.",
        subjects=("id",),
        what="schedule",
    )
    async def resume_schedule(self, info: Asked, id: strawberry.ID) -> Any:
        context = changing(info)
        schedule = await context.services.schedules.resume(schedule_id(id), context.by)
        return {"id": id, "schedule": schedule_view(schedule).model_dump(mode="json")}
