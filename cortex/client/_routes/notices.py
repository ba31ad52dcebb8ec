"""The routes about notices: how each request is built and its answer read. No I/O."""

from collections.abc import Sequence

from cortex.client._routes.call import Call, get, send
from cortex.schemas.notices import NoticesView

_PATH = "/users/me/notices"


def notices() -> Call[NoticesView]:
    return get(_PATH, NoticesView)


def put(
    *,
    enabled: bool,
    named: bool,
    own: Sequence[str],
    projects: Sequence[str],
    email: bool,
    chat: str | None,
) -> Call[NoticesView]:
    body = {
        "enabled": enabled,
        "named": named,
        "own": list(own),
        "projects": list(projects),
        "email": email,
        "chat": chat,
    }
    return send("PUT", _PATH, NoticesView, body)
