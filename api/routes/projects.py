"""Projects: to whom jobs and groups belong, and who is in them."""

from typing import Annotated

from fastapi import Depends, Path
from starlette.responses import Response

from api.access import Caller, needs
from api.bodies import Body
from api.openapi import problems
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.projects import Project
from cortex.domain.rights import Action
from cortex.schemas.projects import MemberPut, ProjectCreate, ProjectPage, ProjectUpdate

router = api_router("accounts")

Name = Annotated[str, Path(description="Name of a project.")]
MemberName = Annotated[str, Path(description="Name of a user, or of a key of the settings.")]


@router.get(
    "/projects",
    dependencies=[needs(Action.PROJECTS_READ)],
    response_model=ProjectPage,
    responses=problems(),
)
async def list_projects(services: Using, by: Caller) -> Response:
    """The projects that one may know of, by name. Personal ones are not among them."""
    return answer(await services.projects.all(by))


@router.post(
    "/projects",
    dependencies=[needs(Action.PROJECTS_CREATE)],
    status_code=201,
    response_model=Project,
    responses=problems(409),
)
async def create_project(
    body: Annotated[ProjectCreate, Depends(Body(ProjectCreate, "the project"))],
    services: Using,
    by: Caller,
) -> Response:
    """Make a project. Nobody is in it until `PUT /projects/{name}/members/{member}`."""
    project = await services.projects.create(body, by)
    return answer(project, status=201, headers={"location": f"/api/v1/projects/{project.name}"})


@router.get(
    "/projects/{project}",
    dependencies=[needs(Action.PROJECTS_READ)],
    response_model=Project,
    responses=problems(404),
)
async def get_project(project: Name, services: Using, by: Caller) -> Response:
    """One project with its members."""
    return answer(await services.projects.get(project, by))


@router.patch(
    "/projects/{project}",
    dependencies=[needs(Action.PROJECTS_CHANGE)],
    response_model=Project,
    responses=problems(404),
)
async def update_project(
    project: Name,
    body: Annotated[ProjectUpdate, Depends(Body(ProjectUpdate, "the change of the project"))],
    services: Using,
    by: Caller,
) -> Response:
    """Describe a project, or archive it: then it takes no new jobs."""
    return answer(await services.projects.update(project, body, by))


@router.put(
    "/projects/{project}/members/{member}",
    dependencies=[needs(Action.PROJECTS_CHANGE)],
    response_model=Project,
    responses=problems(404),
)
async def put_member(
    project: Name,
    member: MemberName,
    body: Annotated[MemberPut, Depends(Body(MemberPut, "the member"))],
    services: Using,
    by: Caller,
) -> Response:
    """Let somebody in, or give them another role there; it holds from the next request on."""
    changed = await services.projects.put_member(project, member, body.role, by)
    services.authenticator.forget()
    return answer(changed)


@router.delete(
    "/projects/{project}/members/{member}",
    dependencies=[needs(Action.PROJECTS_CHANGE)],
    status_code=204,
    responses=problems(404),
)
async def remove_member(project: Name, member: MemberName, services: Using, by: Caller) -> Response:
    """Let somebody be in it no longer. What they have submitted goes on."""
    await services.projects.remove_member(project, member, by)
    services.authenticator.forget()
    return Response(status_code=204)
