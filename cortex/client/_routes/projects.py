"""The routes about projects: how each request is built and its answer read. No I/O."""

from cortex.client._routes.call import V1, Call, get, send
from cortex.client.encoding import quoted
from cortex.domain.projects import Project
from cortex.domain.rights import Role
from cortex.schemas.projects import ProjectPage


def projects() -> Call[ProjectPage]:
    return get("/projects", ProjectPage)


def project(name: str) -> Call[Project]:
    return get(_project(name), Project)


def create(name: str, description: str) -> Call[Project]:
    body = {"name": name, "description": description}
    return send("POST", "/projects", Project, body, repeatable=False)


def update(name: str, description: str | None, archived: bool | None) -> Call[Project]:
    given = {"description": description, "archived": archived}
    body = {field: value for field, value in given.items() if value is not None}
    return send("PATCH", _project(name), Project, body)


def put_member(name: str, member: str, role: Role) -> Call[Project]:
    return send("PUT", _member(name, member), Project, {"role": role.value})


def remove_member(name: str, member: str) -> Call[None]:
    # Not repeated by itself: the second answer would be that they are not in it.
    return Call("DELETE", V1 + _member(name, member), lambda _: None, repeatable=False)


def _project(name: str) -> str:
    return f"/projects/{quoted(name, safe='')}"


def _member(name: str, member: str) -> str:
    return f"{_project(name)}/members/{quoted(member, safe='')}"
