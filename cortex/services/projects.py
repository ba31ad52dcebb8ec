"""Projects: made, described, archived; who is in them; and which one a submission goes to."""

from typing import Any

from cortex.db.engine import Database, Reading, Transaction
from cortex.db.projects import no_project
from cortex.domain.audit import changed_values
from cortex.domain.errors import Conflict, FieldError, NotFound
from cortex.domain.projects import Project
from cortex.domain.rights import LOCAL_ADMIN, Action, Principal, Role
from cortex.schemas.projects import ProjectCreate, ProjectPage, ProjectUpdate
from cortex.services.accounts.owners import owner_now
from cortex.services.webhooks.vouching import disown
from cortex.settings import ApiSettings


class Projects:
    """Changes and shows projects."""

    def __init__(self, database: Database, settings: ApiSettings) -> None:
        self._database = database
        self._settings = settings
        self._configured = frozenset({LOCAL_ADMIN, *settings.keys})

    async def all(self, by: Principal) -> ProjectPage:
        """Those that `by` may know of, by name."""
        async with self._database.reading() as tx:
            projects = await tx.projects.all(by.projects(Action.PROJECTS_READ))
        return ProjectPage(items=tuple(projects))

    async def get(self, name: str, by: Principal) -> Project:
        """One project.

        Raises:
            NotFound: there is none of this name, or none that `by` may know of.
        """
        _require_seen(name, by)
        async with self._database.reading() as tx:
            return await tx.projects.get(name)

    async def create(self, wanted: ProjectCreate, by: Principal) -> Project:
        """Make a project; nobody is in it yet.

        Raises:
            Conflict: a project, a user or a key of the settings has this name.
        """
        async with self._database.transaction() as tx:
            await tx.projects.lock_names()
            if wanted.name in self._configured or await tx.projects.is_user(wanted.name):
                raise Conflict(f"`{wanted.name}` is somebody's name, and of their personal project")
            if not await tx.projects.add(wanted.name, wanted.description, by.name):
                raise Conflict(f"there is a project `{wanted.name}` already")
            await tx.audit.add(
                by, "project.create", wanted.name, before={}, after=wanted.model_dump(mode="json")
            )
            return await tx.projects.get(wanted.name)

    async def update(self, name: str, change: ProjectUpdate, by: Principal) -> Project:
        """Say what it is for, or archive it.

        Raises:
            NotFound: there is none of this name, or none that `by` may know of.
            Forbidden: `by` is no admin of it.
        """
        async with self._database.transaction() as tx:
            project = await _locked(tx, name, by)
            archived = project.archived_at is not None
            old: dict[str, Any] = {"description": project.description, "archived": archived}
            given = change.model_dump(exclude_none=True)
            before, after = changed_values(old, {**old, **given})
            if after:
                new = {**old, **given}
                await tx.projects.put(name, new["description"], archived=new["archived"])
                await tx.audit.add(by, "project.update", name, before=before, after=after)
            return await tx.projects.get(name)

    async def put_member(self, name: str, member: str, role: Role, by: Principal) -> Project:
        """Let somebody in, or give them another role there; it holds at once.

        Raises:
            NotFound: there is no such project (that `by` may know of), or nobody of this name.
            Forbidden: `by` is no admin of it.
        """
        async with self._database.transaction() as tx:
            project = await _locked(tx, name, by)
            if member not in self._configured and not await tx.projects.is_user(member):
                raise NotFound(
                    f"there is no user `{member[:63]}`",
                    errors=[FieldError(field="member", message="is no user")],
                )
            before = _role_of(project, member)
            if before is not role:
                await tx.projects.put_member(name, member, role, by.name)
                told = await self._disown(tx, member, f"is {role} in `{name}` now")
                await tx.audit.add(
                    by,
                    "project.member",
                    name,
                    member=member,
                    before={} if before is None else {"role": before.value},
                    after={"role": role.value},
                    **told,
                )
            return await tx.projects.get(name)

    async def remove_member(self, name: str, member: str, by: Principal) -> None:
        """Let somebody be in it no longer, at once. What they have submitted goes on.

        Raises:
            NotFound: there is no such project (that `by` may know of), or they are not in it.
            Forbidden: `by` is no admin of it.
        """
        async with self._database.transaction() as tx:
            project = await _locked(tx, name, by)
            before = _role_of(project, member)
            if before is None or not await tx.projects.remove_member(name, member):
                raise NotFound(f"`{member[:63]}` is not in the project `{name}`")
            told = await self._disown(tx, member, f"has left `{name}`")
            await tx.audit.add(
                by,
                "project.member",
                name,
                member=member,
                before={"role": before.value},
                after={},
                **told,
            )

    async def _disown(self, tx: Transaction, member: str, why: str) -> dict[str, Any]:
        """What the audit log says besides: the webhooks that are disabled by that."""
        now = await owner_now(tx, member, self._settings)
        webhooks = await disown(tx, member, now, why)
        return {"webhooks": webhooks} if webhooks else {}

    async def known(self, name: str, seen: frozenset[str] | None) -> str:
        """The name, if it is that of a project, made or personal, among those that one may see.

        Raises:
            NotFound: there is none, or it may not be seen (None: all may).
        """
        if seen is not None:
            if name not in seen:
                raise no_project(name)
            return name
        if name in self._configured:
            return name
        async with self._database.reading() as tx:
            if await tx.projects.find(name) is None and not await tx.projects.is_user(name):
                raise no_project(name)
        return name

    async def choose(self, asked: str | None, by: Principal) -> str:
        """The project that a submission goes to: the one asked for, else the personal one.

        Raises:
            NotFound: there is none of this name, or none that `by` may know of.
            Forbidden: `by` may not submit there.
            Conflict: it is archived.
        """
        name = asked or by.home
        if not by.sees(name):
            raise no_project(name)
        if name != by.name:
            async with self._database.reading() as tx:
                await self._require_open(tx, name)
        by.require(Action.JOBS_SUBMIT, project=name)
        return name

    async def _require_open(self, tx: Reading, name: str) -> None:
        project = await tx.projects.find(name)
        if project is None:
            if name not in self._configured and not await tx.projects.is_user(name):
                raise no_project(name)
        elif project.archived_at is not None:
            raise Conflict(f"the project `{name}` is archived: it takes no new jobs")


def _require_seen(name: str, by: Principal) -> None:
    seen = by.projects(Action.PROJECTS_READ)
    if seen is not None and name not in seen:
        raise no_project(name)


async def _locked(tx: Transaction, name: str, by: Principal) -> Project:
    _require_seen(name, by)
    project = await tx.projects.lock(name)
    # As it is now: who was just removed must not let themselves in again.
    now = by.model_copy(update={"memberships": await tx.projects.memberships(by.name)})
    _require_seen(name, now)
    now.require(Action.PROJECTS_CHANGE, project=name)
    return project


def _role_of(project: Project, member: str) -> Role | None:
    return next((each.role for each in project.members if each.name == member), None)
