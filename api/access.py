"""What a route needs: every route of the API names its action here.

Where somebody does not reach everything, a route about one job or group is refused here, by the id
in its path; one about many narrows what it gives by `SeenJobs` or `SeenMoney`.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import Depends, Query
from starlette.requests import Request
from starlette.types import Scope

from api.middleware import AGAIN, PRINCIPAL
from cortex.domain.rights import Action, Principal
from cortex.services.accounts.ownership import Ownership
from cortex.services.projects import Projects

SUBJECTS: Final = {
    "job_id": "job",
    "group_id": "group",
    "template_id": "template",
    "schedule_id": "schedule",
    "webhook_id": "webhook",
}
"""The parameters of a path that name something which belongs to a project, and what that is."""

Seen = frozenset[str] | None
"""The projects that a list is narrowed to; None: all."""


class Needs:
    """Lets a request through whose principal may do this."""

    def __init__(self, action: Action) -> None:
        self.action = action

    async def __call__(self, request: Request) -> None:
        named = next((name for name in SUBJECTS if name in request.path_params), None)
        subject = None if named is None else request.path_params[named]
        what = None if named is None else SUBJECTS[named]
        ownership: Ownership = request.app.state.services.ownership
        await require(principal_of(request), self.action, subject, ownership, what)


async def require(
    by: Principal,
    action: Action,
    subject: str | None,
    ownership: Ownership,
    what: str | None = None,
) -> None:
    """Go on only if this may be done, to this job, group or so where one is named.

    `what` says what it would be if it were there; by default a job or group.

    Raises:
        NotFound: there is none with this id, or none that `by` may know of.
        Forbidden: it may not be done.
    """
    by.require(action)
    if subject is not None and not by.reaches_all(action):
        await ownership.require(by, action, subject, what)


def needs(action: Action) -> Any:
    """For `dependencies=[...]` of a route."""
    return Depends(Needs(action))


def principal_of(request: Request) -> Principal:
    """Who asks."""
    return caller_of(request.scope)


def caller_of(scope: Scope) -> Principal:
    """Who asks."""
    principal: Principal = scope["state"][PRINCIPAL]
    return principal


Again = Callable[[], Awaitable[Principal]]
"""Finds out anew who asks: what is long under way may not be allowed any more."""


def again_of(scope: Scope) -> Again:
    """For whoever answers longer than a moment."""
    again: Again = scope["state"][AGAIN]
    return again


async def _caller(request: Request) -> Principal:
    return principal_of(request)


Caller = Annotated[Principal, Depends(_caller)]
"""Who asks, as a parameter of a route."""


class Narrowed:
    """The projects that somebody may see with this action, or the one of them that is asked for."""

    def __init__(self, action: Action) -> None:
        self.action = action

    async def __call__(
        self,
        request: Request,
        project: Annotated[str | None, Query(description="Only what is in this project.")] = None,
    ) -> Seen:
        projects: Projects = request.app.state.services.projects
        return await narrowed(principal_of(request), self.action, project, projects)


async def narrowed(by: Principal, action: Action, project: str | None, projects: Projects) -> Seen:
    """The projects that a list is about: all that may be seen, or the one that is asked for.

    Raises:
        NotFound: there is no such project, or none that `by` may know of.
    """
    seen = by.projects(action)
    return seen if project is None else frozenset({await projects.known(project, seen)})


async def _target(
    request: Request,
    project: Annotated[
        str | None, Query(description="Where it belongs; default: one's personal project.")
    ] = None,
) -> str:
    projects: Projects = request.app.state.services.projects
    return await projects.choose(project, principal_of(request))


Target = Annotated[str, Depends(_target)]
"""The project that a submission goes to."""


async def _draft_target(
    request: Request,
    project: Annotated[
        str | None,
        Query(
            description="Where it would go, and whose secrets it may refer to; "
            "default: one's personal project."
        ),
    ] = None,
) -> str:
    principal = principal_of(request)
    if project is None:
        return principal.home
    projects: Projects = request.app.state.services.projects
    return await projects.choose(project, principal)


DraftTarget = Annotated[str, Depends(_draft_target)]
"""The project that something which is only looked at would go to."""

SeenJobs = Annotated[Seen, Depends(Narrowed(Action.JOBS_READ))]
SeenMoney = Annotated[Seen, Depends(Narrowed(Action.MONEY_READ))]
SeenSchedules = Annotated[Seen, Depends(Narrowed(Action.SCHEDULES_READ))]
SeenWebhooks = Annotated[Seen, Depends(Narrowed(Action.WEBHOOKS_READ))]
SeenTemplates = Annotated[Seen, Depends(Narrowed(Action.TEMPLATES_READ))]
