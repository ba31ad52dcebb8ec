"""Templates: made, changed by new versions, shown, submitted. A route says who may."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from cortex.db.engine import Database
from cortex.domain.errors import Conflict, FieldError, InvalidRequest
from cortex.domain.groups.spec import GroupSpec
from cortex.domain.ids import is_group_id, new_id
from cortex.domain.rights import Action, Principal
from cortex.domain.spec import JobSpec
from cortex.domain.templates import MOST_PER_PROJECT, MOST_VERSIONS, Kind, Template
from cortex.domain.templates.making import (
    check_template,
    json_values,
    made_spec,
    refers_to_secrets,
    shown_spec,
)
from cortex.domain.templates.parameters import Parameter
from cortex.domain.versions import Expected, version_of
from cortex.schemas.templates import (
    TemplateCreate,
    TemplateFill,
    TemplatePage,
    TemplatePreview,
    TemplateUpdate,
    VersionPage,
)
from cortex.services.groups.submit import AcceptedGroup, GroupSubmissions
from cortex.services.jobs.idempotency import Origin, check_key, fingerprint_of
from cortex.services.jobs.submit import Accepted, Submissions
from cortex.services.pagination import decode_number
from cortex.services.projects import Projects
from cortex.settings import Settings

_KINDS: Final[tuple[Kind, ...]] = ("job", "group")


class Templates:
    """Changes, shows and submits templates."""

    def __init__(
        self,
        database: Database,
        *,
        projects: Projects,
        jobs: Submissions,
        groups: GroupSubmissions,
        settings: Settings,
    ) -> None:
        self._database = database
        self._projects = projects
        self._jobs = jobs
        self._groups = groups
        self._settings = settings

    async def page(
        self,
        projects: frozenset[str] | None,
        *,
        name: str | None,
        cursor: str | None,
        limit: int,
    ) -> TemplatePage:
        """Templates of these projects (None: of all), the newest first."""
        async with self._database.reading() as tx:
            found = await tx.templates.page(projects, name=name, before=cursor, limit=limit + 1)
        items = tuple(found[:limit])
        return TemplatePage(items=items, next_cursor=items[-1].id if len(found) > limit else None)

    async def get(self, template_id: str, version: int | None = None) -> Template:
        """A template at a version; None: the latest.

        Raises:
            NotFound: there is no such template or version.
        """
        async with self._database.reading() as tx:
            return await tx.templates.get(template_id, version)

    async def versions(self, template_id: str, *, cursor: str | None, limit: int) -> VersionPage:
        """Its versions, the newest first.

        Raises:
            NotFound: there is no such template.
            InvalidRequest: `cursor` is none of ours.
        """
        before = decode_number(cursor)
        async with self._database.reading() as tx:
            latest = (await tx.templates.get(template_id)).latest
            start = latest + 1 if before is None else min(before, latest + 1)
            found = await tx.templates.versions(template_id, start, limit + 1)
        items = tuple(found[:limit])
        more = len(found) > limit
        return VersionPage(items=items, next_cursor=str(items[-1].version) if more else None)

    async def create(self, wanted: TemplateCreate, project: str, by: Principal) -> Template:
        """Make a template, at version 1.

        Raises:
            InvalidRequest: it could never be submitted, whatever is given.
            Forbidden: `by` may not make templates there, or not use the secrets that it refers to.
            Conflict: the project has one of this name, or too many.
        """
        by.require(Action.TEMPLATES_CHANGE, project=project)
        kind: Kind = "job" if wanted.job is not None else "group"
        written = wanted.job or wanted.group or {}
        if refers_to_secrets(written):
            by.require(Action.NAMED_SECRETS_USE, project=project)
        spec = await _checked(kind, written, wanted.parameters)
        template_id = new_id("tpl")
        async with self._database.transaction() as tx:
            if await tx.templates.lock_project(project) >= MOST_PER_PROJECT:
                raise Conflict(
                    f"the project `{project}` has {MOST_PER_PROJECT} templates, the most it may"
                )
            if not await tx.templates.add(
                template_id, project=project, owner=by.name, name=wanted.name, kind=kind
            ):
                raise Conflict(f"the project `{project}` has a template `{wanted.name}` already")
            await tx.templates.add_version(
                template_id,
                description=wanted.description,
                parameters=_stored(wanted.parameters),
                spec=spec,
                created_by=by.name,
            )
            made = await tx.templates.get(template_id)
            await tx.audit.add(by, "template.create", template_id, before={}, after=_audited(made))
        return made

    async def update(
        self, template_id: str, change: TemplateUpdate, by: Principal, expected: Expected
    ) -> Template:
        """Make the next version, if anything is otherwise.

        Raises:
            NotFound: there is no such template.
            PreconditionFailed: its latest version is another one.
            InvalidRequest: it could never be submitted, whatever is given.
            Forbidden: `by` may not submit there what it becomes, or not use the secrets that it,
                or a schedule of it, refers to.
        """
        async with self._database.transaction() as tx:
            # Locked before it is looked at: changes at the same time are made one after another.
            old = await tx.templates.lock(template_id)
            expected.require(template_version(old), f"template `{old.name}`")
            given = change.job if old.kind == "job" else change.group
            other = next(kind for kind in _KINDS if kind != old.kind)
            if getattr(change, other) is not None:
                raise _invalid(other, f"is not for a template of a {old.kind}")
            parameters = old.parameters if change.parameters is None else change.parameters
            written = old.spec if given is None else given
            _require_change(old, written, parameters, by)
            spec = await _checked(old.kind, written, parameters)
            description = old.description if change.description is None else change.description
            if (description, _stored(parameters), spec) == (
                old.description,
                _stored(old.parameters),
                old.spec,
            ):
                return old
            overrides = await tx.schedules.overrides_of_latest(template_id)
            if any(refers_to_secrets(each) for each in overrides):
                by.require(Action.NAMED_SECRETS_USE, project=old.project)
            if old.latest >= MOST_VERSIONS:
                raise Conflict(f"template `{old.name}` has {MOST_VERSIONS} versions, the most")
            await tx.templates.add_version(
                template_id,
                description=description,
                parameters=_stored(parameters),
                spec=spec,
                created_by=by.name,
            )
            new = await tx.templates.get(template_id)
            await tx.audit.add(
                by, "template.update", template_id, before=_audited(old), after=_audited(new)
            )
        return new

    async def remove(self, template_id: str, by: Principal, expected: Expected) -> None:
        """Take a template away with all its versions; what was made from it stays.

        Raises:
            NotFound: there is no such template.
            PreconditionFailed: its latest version is another one.
        """
        async with self._database.transaction() as tx:
            old = await tx.templates.lock(template_id)
            expected.require(template_version(old), f"template `{old.name}`")
            await tx.templates.remove(template_id)
            await tx.audit.add(by, "template.delete", template_id, before=_audited(old), after={})

    async def preview(
        self, template_id: str, wanted: TemplateFill, by: Principal
    ) -> TemplatePreview:
        """What `submit` would make and say; nothing is stored.

        Raises:
            CortexError: as `submit` does.
        """
        template = await self.get(template_id, wanted.version)
        spec = await _made(template, wanted)
        shown = shown_spec(spec)
        if isinstance(spec, GroupSpec):
            told = await self._groups.validate(spec, project=template.project, by=by)
            return TemplatePreview(template=template.ref, spec=shown, group=told)
        said = await self._jobs.validate(
            spec, by.projects(Action.JOBS_READ), project=template.project, by=by
        )
        return TemplatePreview(template=template.ref, spec=shown, job=said)

    async def submit(
        self, template_id: str, wanted: TemplateFill, by: Principal, key: str | None
    ) -> Accepted | AcceptedGroup:
        """Submit what the template becomes, to its project.

        Args:
            template_id: Which template.
            wanted: Its version, what is given for its parameters, and overrides.
            by: Who submits it.
            key: Of an `Idempotency-Key`: the same request gives the same job again, also if the
                template has another version by now.

        Raises:
            NotFound: there is no such template or version.
            InvalidRequest: what was given does not fit, or the spec is not valid with it.
            CortexError: as a submission of that spec.
        """
        content = [template_id, wanted.model_dump(mode="json")]
        mark = fingerprint_of("template", content, self._settings.encryption_keys)
        if key is not None:
            before = await self._made_before(by.name, key, mark)
            if before is not None:
                return before
        template = await self.get(template_id, wanted.version)
        await self._projects.choose(template.project, by)
        return await self.submit_made(
            template, await _made(template, wanted), by, key, Origin(mark, template.ref)
        )

    async def _made_before(
        self, owner: str, key: str, mark: str
    ) -> Accepted | AcceptedGroup | None:
        check_key(key)
        async with self._database.transaction() as tx:
            seen = await tx.idempotency.seen(owner, key, mark)
        if seen is None:
            return None
        if is_group_id(seen[0]):
            return AcceptedGroup(seen[0], replayed=True)
        return await self._jobs.replayed(seen[0])

    async def submit_made(
        self,
        template: Template,
        spec: JobSpec | GroupSpec,
        by: Principal,
        key: str | None,
        origin: Origin,
    ) -> Accepted | AcceptedGroup:
        """Submit a spec that was made from a template."""
        if isinstance(spec, GroupSpec):
            return await self._groups.submit(
                spec, by.name, key, project=template.project, origin=origin, by=by
            )
        return await self._jobs.submit(
            spec,
            by.name,
            key,
            project=template.project,
            visible=by.projects(Action.JOBS_READ),
            origin=origin,
            by=by,
        )


def template_version(template: Template) -> str:
    """The version for `ETag` and `If-Match`."""
    return version_of({"id": template.id, "version": template.version})


async def _checked(
    kind: Kind, spec: Mapping[str, Any], parameters: Mapping[str, Parameter]
) -> dict[str, Any]:
    # Beside the event loop: a group may have a thousand members.
    await asyncio.to_thread(check_template, kind, spec, parameters)
    checked: dict[str, Any] = json_values(spec)
    return checked


def _require_change(
    old: Template, spec: Mapping[str, Any], parameters: Mapping[str, Parameter], by: Principal
) -> None:
    """Go on only if `by` may decide on what others submit from it, by schedules too."""
    changed = json_values(spec) != old.spec or _stored(parameters) != _stored(old.parameters)
    if changed:
        by.require(Action.JOBS_SUBMIT, project=old.project)
    if refers_to_secrets(old.spec) or refers_to_secrets(spec):
        by.require(Action.NAMED_SECRETS_USE, project=old.project)


async def _made(template: Template, wanted: TemplateFill) -> Any:
    return await asyncio.to_thread(made_spec, template, wanted.params, wanted.overrides)


def _stored(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    return {
        name: parameter.model_dump(mode="json", exclude_defaults=True)
        for name, parameter in parameters.items()
    }


def _audited(template: Template) -> dict[str, Any]:
    """What the audit log says of it; the versions themselves are kept."""
    shown = template.model_dump(
        mode="json", include={"project", "name", "kind", "version", "description"}
    )
    return {**shown, "parameters": sorted(template.parameters)}


def _invalid(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(
        f"the template is not valid: `{field}` {message}",
        errors=[FieldError(field=field, message=message)],
    )
