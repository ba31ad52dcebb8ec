"""About the server itself: problems, version, health."""

from typing import Literal

from pydantic import Field

from cortex.domain.errors import FieldError
from cortex.domain.rights import Role
from cortex.schemas._view import View


class Problem(View):
    """An error (RFC 9457), with a stable `code` and one entry per wrong field."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    instance: str | None = None
    errors: tuple[FieldError, ...] = ()
    correlation_id: str | None = None


class Info(View):
    version: str
    temporal_ui: str
    docs: str
    user: str = ""
    role: Role | None = None
    project: str | None = Field(
        default=None, description="The only project that the key opens; none: no such limit."
    )


class Check(View):
    name: str
    ok: bool
    detail: str = ""


class Health(View):
    status: Literal["ok", "unavailable"]
    checks: tuple[Check, ...] = ()
