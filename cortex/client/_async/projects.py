"""The part of the asynchronous client that is about projects."""

from cortex.client._routes import projects as routes
from cortex.client.transport import AsyncTransport
from cortex.domain.projects import Project
from cortex.domain.rights import Role


class AsyncProjectCalls:
    """What `AsyncCortex` can do with projects."""

    _transport: AsyncTransport

    async def projects(self) -> tuple[Project, ...]:
        """The projects that one may know of, by name; not the personal ones."""
        return (await self._transport.call(routes.projects())).items

    async def project(self, name: str) -> Project:
        """One project with its members."""
        return await self._transport.call(routes.project(name))

    async def create_project(self, name: str, description: str = "") -> Project:
        """Make a project; nobody is in it yet."""
        return await self._transport.call(routes.create(name, description))

    async def update_project(
        self, name: str, *, description: str | None = None, archived: bool | None = None
    ) -> Project:
        """Describe or archive a project; what is None stays as it is."""
        return await self._transport.call(routes.update(name, description, archived))

    async def put_member(self, project: str, member: str, role: Role) -> Project:
        """Let somebody into a project, or give them another role there."""
        return await self._transport.call(routes.put_member(project, member, role))

    async def remove_member(self, project: str, member: str) -> None:
        """Let somebody be in a project no longer; what they have submitted goes on."""
        return await self._transport.call(routes.remove_member(project, member))
