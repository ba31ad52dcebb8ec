"""The part of the blocking client that is about projects."""
# Made from _async/projects.py by `make format`; change that one.

from cortex.client._routes import projects as routes
from cortex.client.transport import Transport
from cortex.domain.projects import Project
from cortex.domain.rights import Role


class ProjectCalls:
    """What `Cortex` can do with projects."""

    _transport: Transport

    def projects(self) -> tuple[Project, ...]:
        """The projects that one may know of, by name; not the personal ones."""
        return (self._transport.call(routes.projects())).items

    def project(self, name: str) -> Project:
        """One project with its members."""
        return self._transport.call(routes.project(name))

    def create_project(self, name: str, description: str = "") -> Project:
        """Make a project; nobody is in it yet."""
        return self._transport.call(routes.create(name, description))

    def update_project(
        self, name: str, *, description: str | None = None, archived: bool | None = None
    ) -> Project:
        """Describe or archive a project; what is None stays as it is."""
        return self._transport.call(routes.update(name, description, archived))

    def put_member(self, project: str, member: str, role: Role) -> Project:
        """Let somebody into a project, or give them another role there."""
        return self._transport.call(routes.put_member(project, member, role))

    def remove_member(self, project: str, member: str) -> None:
        """Let somebody be in a project no longer; what they have submitted goes on."""
        return self._transport.call(routes.remove_member(project, member))
