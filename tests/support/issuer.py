"""A small OpenID provider in this process, whose every answer a test can spoil."""

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from simulators.kit.serve import serving

CLIENT: Final = "cortex"


def new_key(key_id: str = "one") -> ECKey:
    return ECKey.generate_key("P-256", {"kid": key_id, "use": "sig"})


@dataclass
class Issuer:
    """What it says; a test changes it.

    Attributes:
        claims: Of whoever logs in, over the usual ones; None takes one away.
        info: What is said beside the token.
        about: Over what it says about itself.
        published: Its public keys; `key` signs.
        asked: How often the keys were asked for.
        answer: Over what comes back to the callback; None takes one away.
        status: Of what it says about itself.
        hangs: Whether it does not say that before `released`.
    """

    url: str = ""
    key: ECKey = field(default_factory=new_key)
    claims: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    published: list[ECKey] = field(default_factory=list)
    token: str | None = None
    asked: int = 0
    status: int = 200
    hangs: bool = False
    released: asyncio.Event = field(default_factory=asyncio.Event)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.published = [self.key]

    def reset(self) -> None:
        """As it was at the start, with another key."""
        self.__dict__.update(Issuer(self.url).__dict__)

    def usual(self, nonce: str = "n") -> dict[str, Any]:
        """Good claims, with those of the test over them."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": "248289761001",
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            "preferred_username": "ann",
            "email": "Ann@example.org",
            "email_verified": True,
            **self.claims,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def sign(
        self,
        claims: Mapping[str, Any],
        *,
        key: ECKey | OctKey | None = None,
        algorithm: str = "ES256",
        **header: Any,
    ) -> str:
        """A token with these claims."""
        signer = key or self.key
        whole = {"alg": algorithm, "kid": signer.get("kid"), **header}
        named = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(named, dict(claims), signer, algorithms=[algorithm])

    async def configuration(self, _: Request) -> Response:
        if self.hangs:
            await self.released.wait()
        about = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/jwks",
            **self.about,
        }
        return JSONResponse(about, self.status)

    async def jwks(self, _: Request) -> Response:
        self.asked += 1
        return JSONResponse({"keys": [key.as_dict(private=False) for key in self.published]})

    async def authorize(self, request: Request) -> Response:
        """Somebody logs in here at once."""
        wanted = dict(request.query_params)
        assert wanted["code_challenge_method"] == "S256"
        code = f"code-{len(self._codes)}"
        self._codes[code] = wanted
        back = {"code": code, "state": wanted["state"], "iss": self.url, **self.answer}
        query = urlencode({name: value for name, value in back.items() if value is not None})
        return RedirectResponse(f"{wanted['redirect_uri']}?{query}", 302)

    async def exchange(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        wanted = self._codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if wanted is None or (wanted["code_challenge"], wanted["redirect_uri"]) != (
            challenge,
            form["redirect_uri"],
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        token = self.token or self.sign(self.usual(wanted["nonce"]))
        return JSONResponse({"access_token": "at", "token_type": "Bearer", "id_token": token})

    async def userinfo(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer at"
        return JSONResponse({"sub": self.usual().get("sub"), **self.info})


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    """One on a port of loopback."""
    issuer = Issuer()
    app = Starlette(
        routes=[
            Route("/.well-known/openid-configuration", issuer.configuration),
            Route("/jwks", issuer.jwks),
            Route("/authorize", issuer.authorize),
            Route("/token", issuer.exchange, methods=["POST"]),
            Route("/userinfo", issuer.userinfo),
        ]
    )
    async with serving(app) as url:
        issuer.url = url
        yield issuer
