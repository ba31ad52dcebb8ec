"""The routes about users and API keys: how each request is built and its answer read. No I/O."""

from collections.abc import Sequence

from cortex.client._routes.call import V1, Call, get, query, send
from cortex.client.encoding import quoted
from cortex.domain.accounts import User, UserKind
from cortex.domain.rights import Role
from cortex.schemas.accounts import KeyCreated, KeyPage, UserPage


def users() -> Call[UserPage]:
    return get("/users", UserPage)


def user(name: str) -> Call[User]:
    return get(_user(name), User)


def add_user(name: str, role: Role, kind: UserKind, email: str) -> Call[User]:
    body = {"name": name, "role": role.value, "kind": kind.value}
    if email:
        body["email"] = email
    return send("POST", "/users", User, body, repeatable=False)


def update_user(name: str, role: Role | None, active: bool | None, email: str | None) -> Call[User]:
    given = {"role": None if role is None else role.value, "active": active, "email": email}
    body = {field: value for field, value in given.items() if value is not None}
    return send("PATCH", _user(name), User, body)


def keys(user: str | None) -> Call[KeyPage]:
    return get("/keys", KeyPage, query(user=user))


def create_key(
    name: str,
    user: str | None,
    scopes: Sequence[str],
    project: str | None,
    expires_in: str | None,
    budget: str | None,
) -> Call[KeyCreated]:
    body: dict[str, object] = {
        "name": name,
        "user": user,
        "scopes": list(scopes),
        "project": project,
        "expires_in": expires_in,
    }
    if budget is not None:  # older servers know no such field
        body["budget"] = budget
    return send("POST", "/keys", KeyCreated, body, repeatable=False)


def revoke_key(key_id: str) -> Call[None]:
    return Call("DELETE", f"{V1}/keys/{quoted(key_id, safe='')}", lambda _: None)


def _user(name: str) -> str:
    return f"/users/{quoted(name, safe='')}"
