"""What may be asked for of what teams share, each as REST's route of it."""

import re
from datetime import datetime
from typing import Any

import strawberry

from api.access import narrowed
from api.graphql.access import guarded
from api.graphql.arguments import schedule_id, template_id
from api.graphql.context import Asked
from api.graphql.pages import DEFAULT, Connection, connection, counted, rows_of, wrong
from api.graphql.scalars import Row
from api.graphql.types.teams import (
    Project,
    SavedFilter,
    Schedule,
    ScheduleRun,
    SettingsVersion,
    Template,
    TemplateSummary,
    User,
    Webhook,
)
from cortex.domain.ids import SCHEDULE_ID, TEMPLATE_ID
from cortex.domain.rights import Action
from cortex.schemas.templates import HIGHEST
from cortex.services.pagination import encode_cursor
from cortex.services.schedules.schedules import schedule_view

_NUMBER = "^[1-9][0-9]{0,8}$"
_MOST_SCHEDULES = 100


@strawberry.type
class TeamQuery:
    @guarded(Action.TEMPLATES_READ, Connection[TemplateSummary] | None, "Templates, newest first.")
    async def templates(
        self,
        info: Asked,
        name: str | None = None,
        project: str | None = None,
        first: int = DEFAULT,
        after: str | None = None,
    ) -> Any:
        context, limit = info.context, counted(first)
        seen = await narrowed(context.by, Action.TEMPLATES_READ, project, context.services.projects)
        page = await context.services.templates.page(
            seen, name=name, cursor=_place(after, TEMPLATE_ID), limit=limit
        )
        return connection(page.model_dump(mode="json"), _id, limit=limit)

    @guarded(
        Action.TEMPLATES_READ,
        Template | None,
        "A template at one of its versions; by default the latest.",
        subjects=("id",),
        what="template",
    )
    async def template(self, info: Asked, id: strawberry.ID, version: int | None = None) -> Any:
        if version is not None and not 1 <= version <= HIGHEST:
            raise wrong("version", f"must be from 1 to {HIGHEST}")
        found = await info.context.services.templates.get(template_id(id), version)
        return found.model_dump(mode="json")

    @guarded(
        Action.TEMPLATES_READ,
        Connection[Template] | None,
        "All versions of a template, the newest first.",
        subjects=("id",),
        what="template",
    )
    async def template_versions(
        self, info: Asked, id: strawberry.ID, first: int = 20, after: str | None = None
    ) -> Any:
        limit = counted(first, most=100)
        page = await info.context.services.templates.versions(
            template_id(id), cursor=_place(after, _NUMBER), limit=limit
        )
        return connection(page.model_dump(mode="json"), _version, limit=limit)

    @guarded(Action.SCHEDULES_READ, Connection[Schedule] | None, "Schedules, newest first.")
    async def schedules(
        self,
        info: Asked,
        name: str | None = None,
        project: str | None = None,
        first: int = DEFAULT,
        after: str | None = None,
    ) -> Any:
        context, limit = info.context, counted(first, most=_MOST_SCHEDULES)
        seen = await narrowed(context.by, Action.SCHEDULES_READ, project, context.services.projects)
        page = await context.services.schedules.page(
            seen, name=name, cursor=_place(after, SCHEDULE_ID), limit=limit
        )
        return connection(page.model_dump(mode="json"), _id, limit=limit)

    @guarded(
        Action.SCHEDULES_READ,
        Schedule | None,
        "One schedule with the times that come next.",
        subjects=("id",),
        what="schedule",
    )
    async def schedule(self, info: Asked, id: strawberry.ID) -> Any:
        found = await info.context.services.schedules.get(schedule_id(id))
        return schedule_view(found).model_dump(mode="json")

    @guarded(
        Action.SCHEDULES_READ,
        Connection[ScheduleRun] | None,
        "What became of the times of a schedule, the latest first.",
        subjects=("schedule",),
        what="schedule",
    )
    async def schedule_runs(
        self,
        info: Asked,
        schedule: strawberry.ID,
        first: int = DEFAULT,
        after: str | None = None,
    ) -> Any:
        name, limit = schedule_id(schedule), counted(first, most=_MOST_SCHEDULES)
        page = await info.context.services.schedules.runs(name, cursor=after, limit=limit)

        def place(row: Row) -> str:
            return encode_cursor((datetime.fromisoformat(row["due_at"]), name))

        return connection(page.model_dump(mode="json"), place, limit=limit)

    @guarded(
        Action.WEBHOOKS_READ,
        list[Webhook] | None,
        "One's own webhooks and those of one's projects, for operators and admins everybody's; "
        "newest first.",
    )
    async def webhooks(
        self, info: Asked, owner: str | None = None, project: str | None = None
    ) -> Any:
        context = info.context
        seen = await narrowed(context.by, Action.WEBHOOKS_READ, project, context.services.projects)
        return rows_of((await context.services.webhooks.all(seen, owner, context.by)).items)

    @guarded(
        Action.WEBHOOKS_READ,
        Webhook | None,
        "One webhook: how it does.",
        subjects=("id",),
        what="webhook",
    )
    async def webhook(self, info: Asked, id: strawberry.ID) -> Any:
        context = info.context
        return (await context.services.webhooks.get(id, context.by)).model_dump(mode="json")

    @guarded(Action.USERS_READ, list[User] | None, "Every user, by name.")
    async def users(self, info: Asked) -> Any:
        return rows_of((await info.context.services.users.all()).items)

    @guarded(Action.USERS_READ, User | None, "One user.")
    async def user(self, info: Asked, name: str) -> Any:
        return (await info.context.services.users.get(name)).model_dump(mode="json")

    @guarded(
        Action.PROJECTS_READ, list[Project] | None, "The projects that one may know of, by name."
    )
    async def projects(self, info: Asked) -> Any:
        context = info.context
        return rows_of((await context.services.projects.all(context.by)).items)

    @guarded(Action.PROJECTS_READ, Project | None, "One project with its members.")
    async def project(self, info: Asked, name: str) -> Any:
        context = info.context
        return (await context.services.projects.get(name, context.by)).model_dump(mode="json")

    @guarded(
        Action.JOBS_READ,
        list[SavedFilter] | None,
        "One's own saved filters, and those that are shared in projects that one sees.",
    )
    async def filters(self, info: Asked) -> Any:
        context = info.context
        return rows_of((await context.services.filters.all(context.by)).items)

    @guarded(
        Action.SETTINGS_READ,
        Connection[SettingsVersion] | None,
        "What was set at run time from each change on, the newest first.",
    )
    async def settings_history(
        self, info: Asked, first: int = DEFAULT, after: str | None = None
    ) -> Any:
        limit = counted(first, most=200)
        before = _place(after, _NUMBER)
        history = await info.context.services.settings_desk.history(
            None if before is None else int(before), limit
        )
        page = history.model_dump(mode="json")
        next_ = page["next_before"]
        page["next_cursor"] = None if next_ is None else str(next_)
        return connection(page, _version, limit=limit)


def _id(row: Row) -> str:
    return str(row["id"])


def _version(row: Row) -> str:
    return str(row["version"])


def _place(after: str | None, form: str) -> str | None:
    """A cursor that has the form of what these lists give.

    Raises:
        InvalidRequest: it has another one.
    """
    if after is not None and not re.fullmatch(form, after):
        raise wrong("after", "is no cursor; use one that an answer carried")
    return after
