"""The routes about templates: how each request is built and its answer read. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter

from cortex.client._routes.call import JSON, V1, Call, get, post, query, send
from cortex.client.encoding import encode, plain, quoted
from cortex.domain.templates import Template
from cortex.schemas.groups import GroupView
from cortex.schemas.jobs import JobView
from cortex.schemas.templates import TemplatePage, TemplatePreview, VersionPage


@dataclass(frozen=True)
class Filling:
    """What a template is filled with.

    Attributes:
        version: Of the template; None: the latest.
        params: Values by the names of parameters; text stands for numbers and truths as well.
        overrides: Merged into the spec that it has become; a None takes a field away.
    """

    version: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """As the API takes it."""
        return {
            "version": self.version,
            "params": plain(self.params),
            "overrides": plain(self.overrides),
        }


def templates(
    project: str | None, name: str | None, limit: int, cursor: str | None
) -> Call[TemplatePage]:
    params = query(project=project, name=name, limit=limit, cursor=cursor)
    return get("/templates", TemplatePage, params)


def template(template_id: str, version: int | None) -> Call[Template]:
    return get(_template(template_id), Template, query(version=version))


def versions(template_id: str, limit: int, cursor: str | None) -> Call[VersionPage]:
    params = query(limit=limit, cursor=cursor)
    return get(f"{_template(template_id)}/versions", VersionPage, params)


def create(fields: Mapping[str, Any], project: str | None) -> Call[Template]:
    call = send("POST", "/templates", Template, plain(fields), repeatable=False)
    return replace(call, params=query(project=project))


def update(template_id: str, fields: Mapping[str, Any]) -> Call[Template]:
    return send("PATCH", _template(template_id), Template, plain(fields))


def delete(template_id: str) -> Call[None]:
    # Not repeated by itself: the second answer would be that there is none.
    return Call("DELETE", V1 + _template(template_id), lambda _: None, repeatable=False)


def preview(template_id: str, filling: Filling) -> Call[TemplatePreview]:
    return post(f"{_template(template_id)}/preview", TemplatePreview, filling.body())


def submit(template_id: str, filling: Filling, key: str) -> Call[JobView | GroupView]:
    return Call(
        "POST",
        f"{V1}{_template(template_id)}/submit",
        _made,
        body=encode(filling.body()),
        headers={**JSON, "Idempotency-Key": key},
    )


def _made(answer: bytes) -> JobView | GroupView:
    made: JobView | GroupView = TypeAdapter(GroupView | JobView).validate_json(answer)
    return made


def _template(template_id: str) -> str:
    return f"/templates/{quoted(template_id, safe='')}"
