"""What is told to browsers: addresses of this server, and cookies that only it reads."""

from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from api.middleware import is_loopback
from api.routing import PREFIX
from api.services import Services
from cortex.domain.errors import ServiceUnavailable


def base_url(request: Request, services: Services) -> str:
    """How browsers reach this server; the `Host` of a request is believed on this machine only.

    Raises:
        ServiceUnavailable: the settings do not say it.
    """
    told = services.settings.api.public_url
    if told is not None:
        return told
    host = request.headers.get("host", "")
    if is_loopback(urlsplit(f"//{host}").hostname or ""):
        return f"{request.scope['scheme']}://{host}"
    raise ServiceUnavailable(
        "logging in with a browser needs the address of this server: set `api.public_url`"
    )


class Kept:
    """A cookie: for this server alone, unseen by scripts, not sent with what other pages post.

    `__Host-` makes browsers refuse one that another host of the domain has set, or that came
    without TLS; without TLS there can be none such.
    """

    def __init__(self, name: str, base: str) -> None:
        self._secure = base.startswith("https:")
        self.name: Final = f"__Host-{name}" if self._secure else name

    def read(self, request: Request) -> str:
        """Its value; empty: there is none."""
        return request.cookies.get(self.name, "")

    def keep(self, response: Response, value: str, *, seconds: int) -> None:
        """Let the browser keep it."""
        response.set_cookie(
            self.name, value, max_age=seconds, secure=self._secure, httponly=True, samesite="lax"
        )

    def drop(self, response: Response) -> None:
        """Let the browser forget it."""
        response.delete_cookie(self.name, secure=self._secure, httponly=True, samesite="lax")


def redirect_uri(base: str, name: str) -> str:
    """What a service has to know this server by."""
    return f"{base}{PREFIX}/auth/oidc/{name}/callback"


def login_cookie(state: str, base: str) -> Kept:
    """Of one login by another service: two in one browser do not mix."""
    mark = "".join(letter for letter in state[:12] if letter.isascii() and letter.isalnum())
    return Kept(f"cortex-login-{mark}", base)


def device_cookie(base: str) -> Kept:
    """What the forms of this browser are made with."""
    return Kept("cortex-device", base)
