"""What teams share: templates, schedules, webhooks, users, projects, filters, settings."""

from typing import Any

import strawberry

from api.graphql.access import guarded, shown
from api.graphql.context import Asked
from api.graphql.scalars import Json, Row, Time
from api.graphql.types.jobs import Group, Job
from cortex.domain.accounts import UserKind
from cortex.domain.ids import is_group_id
from cortex.domain.rights import Action, Role
from cortex.domain.schedules import Cause, Overlap, RunState

for _choice in (UserKind, Cause, Overlap):
    strawberry.enum(_choice)
strawberry.enum(RunState, name="ScheduleRunState")


@shown(Action.TEMPLATES_READ)
@strawberry.type(description="A template as it stands in a list.")
class TemplateSummary:
    id: strawberry.ID
    project: str
    owner: str
    name: str
    kind: str = strawberry.field(description="`job` or `group`.")
    version: int
    description: str
    created_at: Time
    updated_at: Time


@shown(Action.TEMPLATES_READ)
@strawberry.type(description="A template at one of its versions.")
class Template:
    id: strawberry.ID
    project: str
    owner: str
    name: str
    kind: str = strawberry.field(description="`job` or `group`.")
    version: int
    latest: int
    description: str
    parameters: Json
    job: Json | None
    group: Json | None
    created_at: Time
    created_by: str


@shown(Action.SCHEDULES_READ)
@strawberry.type(description="One time of a schedule, and what became of it.")
class ScheduleRun:
    due_at: Time
    cause: Cause
    state: RunState
    made: strawberry.ID | None = strawberry.field(description="Id of the job or group.")
    message: str
    updated_at: Time

    @guarded(Action.JOBS_READ, Job | None, "The job that was made, as it is now.")
    async def job(self, info: Asked) -> Any:
        row: Any = self
        made = row["made"]
        if made is None or is_group_id(made):
            return None
        return _seen(info, await info.context.loaders.jobs.load(made))

    @guarded(Action.JOBS_READ, Group | None, "The group that was made, as it is now.")
    async def group(self, info: Asked) -> Any:
        row: Any = self
        made = row["made"]
        if made is None or not is_group_id(made):
            return None
        return _seen(info, await info.context.loaders.groups.load(made))


@shown(Action.SCHEDULES_READ)
@strawberry.type(description="A schedule with the times that come next.")
class Schedule:
    id: strawberry.ID
    project: str
    owner: str
    name: str
    description: str
    cron: str
    timezone: str
    overlap: Overlap
    catchup: str
    jitter: str | None
    start_at: Time | None
    end_at: Time | None
    template: str | None
    template_version: int | None
    params: Json
    overrides: Json
    job: Json | None
    paused: bool
    note: str
    pause_reason: str
    told: bool = strawberry.field(
        description="Whether Temporal, which fires it, has its last change."
    )
    next_runs: list[Time]
    created_at: Time
    updated_at: Time


@shown(Action.WEBHOOKS_READ)
@strawberry.type(description="Where events are sent, and how it does.")
class Webhook:
    id: strawberry.ID
    owner: str
    project: str
    description: str
    url: str
    events: list[str]
    jobs: Json
    headers: list[str] = strawberry.field(description="Their names; the values are secret.")
    enabled: bool
    disabled_reason: str
    previous_until: Time | None
    failing_since: Time | None
    waiting: int
    dead: int
    created_at: Time
    updated_at: Time


@shown(Action.USERS_READ)
@strawberry.type(description="Somebody with a name and a role here.")
class User:
    id: strawberry.ID
    name: str
    kind: UserKind
    role: Role
    active: bool
    email: str = strawberry.field(description="Where links and notices are sent; empty: nowhere.")
    created_at: Time
    updated_at: Time


@shown(Action.PROJECTS_READ)
@strawberry.type(description="Somebody in a project.")
class ProjectMember:
    name: str
    role: Role
    added_at: Time
    added_by: str


@shown(Action.PROJECTS_READ)
@strawberry.type(description="A project with its members; not a personal one.")
class Project:
    name: str
    description: str
    members: list[ProjectMember]
    created_at: Time
    created_by: str
    updated_at: Time
    archived_at: Time | None


@shown(Action.JOBS_READ)
@strawberry.type(description="Which jobs of a list, by a name.")
class SavedFilter:
    name: str
    owner: str
    shared: str | None = strawberry.field(description="The project whose members have it too.")
    jobs: Json
    updated_at: Time


@shown(Action.SETTINGS_READ)
@strawberry.type(description="What was set at run time from one change on, until the next.")
class SettingsVersion:
    version: int
    values: Json
    changed_by: str
    changed_at: Time | None
    comment: str


def _seen(info: Asked, row: Row | None) -> Row | None:
    """The job or group, if it may be seen: a run may have made it where one is no member."""
    if row is None:
        return None
    by = info.context.by
    may = by.may(Action.JOBS_READ, owner=row["owner"], project=row["project"])
    return row if may else None
