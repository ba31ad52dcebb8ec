"""The part of the asynchronous client that is about templates."""

from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any
from uuid import uuid4

from cortex.client._async.paging import every_entry
from cortex.client._routes import templates as routes
from cortex.client._routes.call import IfMatch, only_if
from cortex.client._routes.templates import Filling
from cortex.client.transport import AsyncTransport
from cortex.domain.templates import Template, TemplateSummary
from cortex.schemas.groups import GroupView
from cortex.schemas.jobs import JobView
from cortex.schemas.templates import TemplatePage, TemplatePreview, VersionPage

_NOTHING = Filling()


class AsyncTemplateCalls:
    """What `AsyncCortex` can do with templates."""

    _transport: AsyncTransport
    _project: str | None

    async def templates(
        self,
        *,
        project: str | None = None,
        name: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> TemplatePage:
        """One page of the templates that one may see, the newest first.

        Args:
            project: Only of this one.
            name: Only of this name.
            limit: At most so many.
            cursor: `next_cursor` of the page before.
        """
        return await self._transport.call(routes.templates(project, name, limit, cursor))

    async def iter_templates(
        self, *, project: str | None = None, name: str | None = None
    ) -> AsyncIterator[TemplateSummary]:
        """All of them, page by page."""
        pages = partial(routes.templates, project, name, 500)
        async for template in every_entry(self._transport, pages):
            yield template

    async def template(self, template_id: str, version: int | None = None) -> Template:
        """A template at a version; None: the latest."""
        return await self._transport.call(routes.template(template_id, version))

    async def template_versions(
        self, template_id: str, *, limit: int = 20, cursor: str | None = None
    ) -> VersionPage:
        """One page of its versions, the newest first."""
        return await self._transport.call(routes.versions(template_id, limit, cursor))

    async def create_template(
        self, fields: Mapping[str, Any], *, project: str | None = None
    ) -> Template:
        """Make a template.

        Args:
            fields: `name`, `description`, `parameters`, and either a `job` or a `group`.
            project: Where it belongs; None: where this client's submissions go.
        """
        return await self._transport.call(routes.create(fields, project or self._project))

    async def update_template(
        self, template_id: str, fields: Mapping[str, Any], *, if_match: IfMatch = None
    ) -> Template:
        """Make its next version; what is not among the fields stays.

        With `if_match` only if the latest is that version (`PreconditionFailed`).
        """
        return await self._transport.call(only_if(routes.update(template_id, fields), if_match))

    async def delete_template(self, template_id: str, *, if_match: IfMatch = None) -> None:
        """Take it away with all its versions.

        With `if_match` only if the latest is that version (`PreconditionFailed`).
        """
        return await self._transport.call(only_if(routes.delete(template_id), if_match))

    async def preview_template(
        self, template_id: str, filling: Filling = _NOTHING
    ) -> TemplatePreview:
        """What `submit_template` would make and say; nothing is stored."""
        return await self._transport.call(routes.preview(template_id, filling))

    async def submit_template(
        self,
        template_id: str,
        filling: Filling = _NOTHING,
        *,
        idempotency_key: str | None = None,
    ) -> JobView | GroupView:
        """Submit what it becomes, a job or a group, to the template's project.

        Args:
            template_id: Which template.
            filling: Its version, what is given for its parameters, and overrides.
            idempotency_key: Your own, to make the call itself repeatable; None: a new one.
        """
        key = idempotency_key or str(uuid4())
        return await self._transport.call(routes.submit(template_id, filling, key))
