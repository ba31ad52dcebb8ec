"""Logging in by another service: sent away with a secret of the browser, and let in once.

The browser keeps one secret in a cookie. Nonce and PKCE verifier are derived from it and the
`state`, so the database has hashes only, and whoever gets hold of an answer of the service can do
nothing with it in another browser.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from typing import Any, Final, TypeVar

from cortex.db.engine import Database, Transaction
from cortex.db.sso import StartedLogin
from cortex.domain.accounts import User
from cortex.domain.errors import NotFound, ServiceUnavailable, TooManyRequests
from cortex.domain.lockout import network_of
from cortex.domain.login_errors import SsoRefused
from cortex.domain.rights import Principal
from cortex.domain.sessions import RefreshToken
from cortex.domain.sso import Identity, OidcProvider
from cortex.schemas.auth import LoggedIn
from cortex.schemas.sso import SsoProviderPage, SsoProviderView
from cortex.services.accounts.identities import Identities
from cortex.services.accounts.sessions import Sessions

LIFETIME: Final = timedelta(minutes=10)
"""To come back within."""
_MOST_UNDER_WAY: Final = 100

T = TypeVar("T")


@dataclass(frozen=True)
class Departure:
    """Where to send a browser, and what it keeps until it comes back."""

    url: str
    state: str
    browser_secret: str = field(repr=False)


@dataclass(frozen=True)
class Return:
    """What a browser came back with: from the address, and from its cookie."""

    state: str
    browser_secret: str = field(repr=False)
    code: str | None = field(default=None, repr=False)
    issuer: str | None = None
    error: str | None = None
    error_description: str | None = None


@dataclass(frozen=True)
class Known:
    """Somebody whom a service has named.

    Attributes:
        device_id: The device login that it was for; None: it was for itself.
    """

    service: str
    identity: Identity
    device_id: str | None


class SingleSignOn:
    """Lets people in whom one of the services of the settings knows."""

    def __init__(
        self,
        database: Database,
        sessions: Sessions,
        identities: Identities,
        providers: Mapping[str, OidcProvider],
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._identities = identities
        self._providers = providers
        self._clients: dict[str, Any] = {}

    def offered(self) -> SsoProviderPage:
        """The services that there are."""
        return SsoProviderPage(
            items=tuple(
                SsoProviderView(name=name, title=provider.title or name)
                for name, provider in sorted(self._providers.items())
            )
        )

    async def start(
        self, name: str, redirect_uri: str, by: Principal, *, device_id: str | None = None
    ) -> Departure:
        """Begin a login.

        Args:
            name: Of the service.
            redirect_uri: Where it sends the browser back to.
            by: Nobody yet, from an address.
            device_id: The device login that it is for.

        Raises:
            NotFound: there is no such service.
            TooManyRequests: too many were begun from this address.
            ServiceUnavailable: the service does not answer, or sessions cannot be opened.
        """
        provider = self._provider(name)
        await self._sessions.prepare()
        state, secret = _random(), _random()
        client, library = await self._client(name, provider)
        try:
            url = await client.login_url(_exchange(library, secret, state, redirect_uri))
        except library.Away as error:
            raise _away(name, error) from None
        source = network_of(by.source)
        async with self._database.transaction() as tx:
            if await tx.sso.under_way(source) >= _MOST_UNDER_WAY:
                raise TooManyRequests(
                    f"{_MOST_UNDER_WAY} logins that were begun from `{source}` are not finished"
                )
            started = StartedLogin(name, _hash(secret), device_id, expired=False)
            await tx.sso.begin(_hash(state), started, source=source, lifetime=LIFETIME)
        return Departure(url, state, secret)

    async def returned(self, name: str, back: Return, redirect_uri: str, by: Principal) -> Known:
        """Whom the service names, for the browser that was sent to it; once.

        Raises:
            NotFound: there is no such service.
            SsoRefused: anything is not as it has to be; says what.
            ServiceUnavailable: the service does not answer.
        """
        provider = self._provider(name)
        async with self._database.statement() as tx:
            started = await tx.sso.take(_hash(back.state))
        _require_same(started, name, back)
        if back.error is not None or back.code is None:
            words = back.error_description or back.error or "no code came back"
            raise SsoRefused(f"`{name}` let nobody in: {_visible(words)}", name=f"oidc:{name}")
        client, library = await self._client(name, provider)
        exchange = _exchange(library, back.browser_secret, back.state, redirect_uri)
        try:
            claims = await client.claims(exchange, code=back.code, issuer=back.issuer)
        except library.Refused as error:
            raise SsoRefused(f"`{name}`: {error}", name=f"oidc:{name}") from None
        except library.Away as error:
            raise _away(name, error) from None
        identity = Identity.of(claims)
        if provider.require_verified_email and identity.email is None:
            raise SsoRefused(f"`{name}` has not verified your e-mail address", name=f"oidc:{name}")
        return Known(name, identity, started.device_id if started else None)

    async def settled(
        self, known: Known, by: Principal, then: Callable[[Transaction, User], Awaitable[T]]
    ) -> tuple[T, bool]:
        """What `then` makes of the user in the transaction that finds or adds them; and whether
        they were changed.

        Raises:
            SsoRefused: they may not come in; says why.
        """
        provider = self._provider(known.service)
        async with self._database.transaction() as tx:
            settled = await self._identities.settle(tx, known.service, provider, known.identity, by)
            return await then(tx, settled.user), settled.changed

    async def logged_in(self, known: Known, by: Principal, client: str) -> tuple[LoggedIn, bool]:
        """Open a session for whom a service has named; and whether they were changed.

        Raises:
            SsoRefused: they may not come in; says why.
        """

        async def opened(tx: Transaction, user: User) -> tuple[str, RefreshToken]:
            session_id, refresh = await self._sessions.opened(tx, user, by, client)
            owner = by.model_copy(
                update={"name": user.name, "role": user.role, "credential": session_id}
            )
            via = f"oidc:{known.service}"
            await tx.audit.add(owner, "session.login", session_id, client=client[:200], via=via)
            return session_id, refresh

        (session_id, refresh), changed = await self.settled(known, by, opened)
        return await self._sessions.logged_in(session_id, refresh), changed

    def _provider(self, name: str) -> OidcProvider:
        if name not in self._providers:
            raise NotFound(f"there is no service `{name[:60]}` to log in by")
        return self._providers[name]

    async def _client(self, name: str, provider: OidcProvider) -> tuple[Any, Any]:
        library = await asyncio.to_thread(import_module, "cortex.security.oidc")
        if name not in self._clients:
            self._clients[name] = library.OidcClient(provider)
        return self._clients[name], library


def _require_same(started: StartedLogin | None, name: str, back: Return) -> None:
    """Refuse what this browser was not sent away with, just now, to this service."""
    told = ""
    if started is None:
        told = "no login with this `state` is under way; it may have been finished already"
    elif not hmac.compare_digest(started.browser, _hash(back.browser_secret)):
        told = "it was begun in another browser, or this one keeps no cookies"
    elif started.provider != name:
        told = "it was begun with another service"
    elif started.expired:
        told = f"it was not finished within {LIFETIME.total_seconds() / 60:g} minutes"
    if told:
        raise SsoRefused(f"this login cannot be finished: {told}. Begin anew", name=f"oidc:{name}")


def _exchange(library: Any, secret: str, state: str, redirect_uri: str) -> Any:
    nonce, verifier = (
        _text(hmac.digest(secret.encode(), f"{use}:{state}".encode(), "sha256"))
        for use in ("nonce", "verifier")
    )
    return library.Exchange(state, nonce, verifier, redirect_uri)


def _away(name: str, error: Exception) -> ServiceUnavailable:
    return ServiceUnavailable(f"nobody can log in by `{name}` now: {error}")


def _random() -> str:
    return _text(secrets.token_bytes(32))


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _visible(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:200])
