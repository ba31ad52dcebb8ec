"""Templates: specs with parameters, by name and version; made, changed, submitted."""

from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field
from starlette.responses import Response

from api.access import Caller, SeenTemplates, Target, needs
from api.bodies import Body
from api.conditions import IfMatch, IfNoneMatch, tagged
from api.openapi import UNCHANGED, changed, problems
from api.params import WHOLE, IdempotencyKey, NumberCursor, TemplateCursor, TemplateId
from api.respond import answer
from api.routing import api_router
from api.services import Services, Using
from cortex.db.groups.views import MemberFilter
from cortex.domain.rights import Action
from cortex.domain.templates import Template
from cortex.schemas.groups import GroupView
from cortex.schemas.jobs import JobView
from cortex.schemas.templates import (
    HIGHEST,
    TemplateCreate,
    TemplateFill,
    TemplatePage,
    TemplatePreview,
    TemplateUpdate,
    VersionPage,
)
from cortex.services.groups.submit import AcceptedGroup
from cortex.services.jobs.submit import Accepted
from cortex.services.templates import template_version

router = api_router("templates")

Filling = Annotated[
    TemplateFill,
    Depends(Body(TemplateFill, "what the template is filled with", yaml=True, optional=True)),
]


@router.get(
    "/templates",
    dependencies=[needs(Action.TEMPLATES_READ)],
    response_model=TemplatePage,
    responses=problems(404),
)
async def list_templates(
    services: Using,
    projects: SeenTemplates,
    name: Annotated[str | None, Query(description="Only of this name.")] = None,
    limit: Annotated[int, Field(ge=1, le=500), WHOLE] = 50,
    cursor: TemplateCursor = None,
) -> Response:
    """Templates, the newest first."""
    page = await services.templates.page(projects, name=name, cursor=cursor, limit=limit)
    return answer(page)


@router.post(
    "/templates",
    dependencies=[needs(Action.TEMPLATES_CHANGE)],
    status_code=201,
    response_model=Template,
    responses=problems(404, 409),
)
async def create_template(
    body: Annotated[TemplateCreate, Depends(Body(TemplateCreate, "the template", yaml=True))],
    services: Using,
    by: Caller,
    project: Target,
) -> Response:
    """Make a template in a project, at version 1. What could never be submitted is refused."""
    made = await services.templates.create(body, project, by)
    return answer(made, status=201, headers={"location": f"/api/v1/templates/{made.id}"})


@router.get(
    "/templates/{template_id}",
    dependencies=[needs(Action.TEMPLATES_READ)],
    response_model=Template,
    responses={**problems(404), **UNCHANGED},
)
async def get_template(
    template_id: TemplateId,
    services: Using,
    version: Annotated[
        int | None, Field(ge=1, le=HIGHEST), WHOLE, Query(description="Else the latest.")
    ] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A template at one of its versions."""
    template = await services.templates.get(template_id, version)
    return tagged(template, template_version(template), if_none_match)


@router.get(
    "/templates/{template_id}/versions",
    dependencies=[needs(Action.TEMPLATES_READ)],
    response_model=VersionPage,
    responses=problems(404),
)
async def list_template_versions(
    template_id: TemplateId,
    services: Using,
    limit: Annotated[int, Field(ge=1, le=100), WHOLE] = 20,
    cursor: NumberCursor = None,
) -> Response:
    """All versions of a template, the newest first."""
    return answer(await services.templates.versions(template_id, cursor=cursor, limit=limit))


@router.patch(
    "/templates/{template_id}",
    dependencies=[needs(Action.TEMPLATES_CHANGE)],
    response_model=Template,
    responses={**problems(404, 409, 412), **changed()},
)
async def update_template(
    template_id: TemplateId,
    body: Annotated[
        TemplateUpdate, Depends(Body(TemplateUpdate, "the change of the template", yaml=True))
    ],
    services: Using,
    by: Caller,
    expected: IfMatch,
) -> Response:
    """Make the next version; earlier ones stay. If nothing is otherwise, there is none."""
    template = await services.templates.update(template_id, body, by, expected)
    return tagged(template, template_version(template))


@router.delete(
    "/templates/{template_id}",
    dependencies=[needs(Action.TEMPLATES_CHANGE)],
    status_code=204,
    responses=problems(404, 412),
)
async def delete_template(
    template_id: TemplateId, services: Using, by: Caller, expected: IfMatch
) -> Response:
    """Take a template away with all its versions. What was made from it goes on."""
    await services.templates.remove(template_id, by, expected)
    return Response(status_code=204)


@router.post(
    "/templates/{template_id}/preview",
    dependencies=[needs(Action.JOBS_SUBMIT)],
    response_model=TemplatePreview,
    responses=problems(404),
)
async def preview_template(
    template_id: TemplateId, body: Filling, services: Using, by: Caller
) -> Response:
    """The spec that a template becomes, and what submitting it would say; nothing is stored."""
    return answer(await services.templates.preview(template_id, body, by))


@router.post(
    "/templates/{template_id}/submit",
    dependencies=[needs(Action.JOBS_SUBMIT)],
    status_code=202,
    response_model=JobView | GroupView,
    responses=problems(402, 404, 409),
)
async def submit_template(
    template_id: TemplateId,
    body: Filling,
    services: Using,
    by: Caller,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Submit what a template becomes, a job or a group, to the template's project.

    The same `Idempotency-Key` with the same request gives the same job again, also if the template
    has another version by now.
    """
    accepted = await services.templates.submit(template_id, body, by, idempotency_key)
    return await accepted_answer(services, accepted)


async def accepted_answer(services: Services, accepted: Accepted | AcceptedGroup) -> Response:
    """The job or group that was made."""
    headers = {"idempotency-replayed": "true"} if accepted.replayed else {}
    if isinstance(accepted, AcceptedGroup):
        headers["location"] = f"/api/v1/groups/{accepted.group_id}"
        view = await services.group_queries.group(accepted.group_id, MemberFilter(), limit=100)
        return answer(view, status=202, headers=headers)
    headers["location"] = f"/api/v1/jobs/{accepted.job_id}"
    return answer(accepted.answer, status=202, headers=headers)
