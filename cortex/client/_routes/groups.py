"""The routes about groups: how each request is built and its answer read. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import SecretStr

from cortex.client._routes.call import V1, Call, SomeFields, get, post, query
from cortex.client.encoding import plain, quoted
from cortex.client.streams import Stream
from cortex.domain.groups.expand import GroupSpec
from cortex.schemas.events import EventPage, EventView
from cortex.schemas.groups import GroupPage, GroupValidation, GroupView, MemberPage

Group = GroupSpec | Mapping[str, Any]
"""A group spec, or a mapping of its form: the server checks the latter."""


@dataclass(frozen=True)
class GroupFilter:
    """Which groups to list; what is None does not matter.

    Attributes:
        state: Such as `running`.
        project: Where they belong.
        labels: All of them must be there.
    """

    state: str | None = None
    project: str | None = None
    owner: str | None = None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MemberFilter:
    """Which members of a group to show.

    Attributes:
        states: Whose job is in any of these.
        member: Its name, or that of an array.
    """

    states: tuple[str, ...] = ()
    member: str | None = None


def submit(spec: Group, key: str, project: str | None = None) -> Call[GroupView]:
    call = post("/groups", GroupView, group_json(spec), headers={"Idempotency-Key": key})
    return replace(call, params=query(project=project))


def validate(spec: Group, project: str | None = None) -> Call[GroupValidation]:
    call = post("/groups/validate", GroupValidation, group_json(spec))
    return replace(call, params=query(project=project))


def groups(which: GroupFilter, limit: int, cursor: str | None) -> Call[GroupPage]:
    labels = tuple(("label", f"{key}={value}") for key, value in which.labels.items())
    params = query(
        state=which.state,
        project=which.project,
        owner=which.owner,
        name=which.name,
        limit=limit,
        cursor=cursor,
    )
    return get("/groups", GroupPage, params + labels)


def group_fields(
    which: GroupFilter, fields: Sequence[str], limit: int, cursor: str | None
) -> Call[SomeFields]:
    whole = groups(which, limit, cursor)
    return get("/groups", SomeFields, (*whole.params, ("fields", ",".join(fields))))


def group(
    group_id: str, which: MemberFilter, *, limit: int, cursor: str | None = None
) -> Call[GroupView]:
    states = tuple(("state", state) for state in which.states)
    params = query(member=which.member, limit=limit, cursor=cursor)
    return get(_group(group_id), GroupView, params + states)


def members(group_id: str, which: MemberFilter, limit: int, cursor: str | None) -> Call[MemberPage]:
    view = group(group_id, which, limit=limit, cursor=cursor)
    return Call(view.method, view.path, lambda body: view.parse(body).members, view.params)


def cancel(group_id: str, reason: str) -> Call[GroupView]:
    return post(f"{_group(group_id)}/cancel", GroupView, {"reason": reason})


def event_page(group_id: str, after: str | None, *, limit: int = 500) -> Call[EventPage]:
    return get(f"{_group(group_id)}/events", EventPage, query(after=after, limit=limit))


def event_stream(
    group_id: str, *, after: str | None, start: Literal["start", "now"]
) -> Stream[EventView]:
    return Stream(
        path=f"{V1}{_group(group_id)}/events",
        parse=EventView.model_validate_json,
        params=() if after else (("from", start),),
        last_id=after or "",
    )


def group_json(spec: Group) -> dict[str, Any]:
    """The spec as it is sent: only what was set, secrets in clear."""
    if not isinstance(spec, GroupSpec):
        return dict(plain(spec))
    body = spec.masked()
    parts = [(body.get("defaults", {}), spec.defaults), *zip(body["jobs"], spec.jobs, strict=True)]
    for sent, part in parts:
        if part.secret_env:
            sent["secret_env"] |= {
                name: secret.get_secret_value()
                for name, secret in part.secret_env.items()
                if isinstance(secret, SecretStr)
            }
    return body


def _group(group_id: str) -> str:
    return f"/groups/{quoted(group_id, safe='')}"
