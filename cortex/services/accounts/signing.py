"""Access tokens: made and checked, and the keys that sign them, which are replaced by age."""

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, Final

import orjson
import structlog

from cortex.db.engine import Database
from cortex.db.signing import StoredSigningKey
from cortex.domain.errors import CortexError
from cortex.domain.ids import new_id
from cortex.domain.login_errors import NotLoggedIn
from cortex.domain.sessions import SessionRules
from cortex.security.keyring import KeyRing
from cortex.security.places import signing_place

_SIGNS_FOR: Final = 30.0
"""Seconds after which a process asks whether another has replaced the key that signs."""
_ASKS_EVERY: Final = 2.0
"""Seconds between two looks for keys that are not known yet, whatever is sent."""
_KNOWN_FOR: Final = 60.0
"""Seconds after which the keys are looked up anew: one that is deleted opens nothing any more."""
_KEPT: Final = timedelta(hours=1)
"""How much longer than its tokens a replaced key is kept."""
_MOST_KEPT: Final = 10_000
_KEY_ID: Final = re.compile(r"sig_[0-9a-hjkmnp-tv-z]{26}")
_BAD: Final = "the access token is not valid: "

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Claims:
    """What a token says, once its signature is checked.

    Attributes:
        user: Name of whoever logged in (`sub`).
        session: Id of the session (`sid`).
    """

    user: str
    session: str
    issued_at: datetime
    expires_at: datetime


class AccessTokens:
    """Makes and checks access tokens of this installation."""

    def __init__(
        self,
        database: Database,
        keyring: KeyRing,
        rules: SessionRules,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._database = database
        self._keyring = keyring
        self._rules = rules
        self._signing: tuple[float, str, Any] = (0.0, "", None)
        self._making = asyncio.Lock()
        self._public: dict[str, Any] = {}
        self._asked_at = float("-inf")
        self._checked: dict[bytes, Claims] = {}

    async def prepare(self) -> None:
        """See to it that there is a key that signs.

        Raises:
            ServiceUnavailable: there is none, and no encryption key to keep one with.
        """
        await self._signing_key()

    async def make(self, user: str, session: str) -> str:
        """A token for a session.

        Raises:
            ServiceUnavailable: there is no encryption key to keep the signing key with.
        """
        key_id, key = await self._signing_key()
        now = self._clock()
        content = {
            "iss": self._rules.issuer,
            "aud": self._rules.audience,
            "sub": user,
            "sid": session,
            "iat": int(now.timestamp()),
            "exp": int((now + self._rules.access_lifetime).timestamp()),
        }
        token: str = _tokens().sign(key, key_id, orjson.dumps(content))
        return token

    async def read(self, token: str) -> Claims:
        """What a token says.

        Raises:
            NotLoggedIn: it is not valid; says why.
            DatabaseUnavailable: its key is not known here yet, and PostgreSQL cannot be asked.
        """
        if asyncio.get_running_loop().time() - self._asked_at >= _KNOWN_FOR:
            await self._look_up_keys()
        digest = hashlib.sha256(token.encode()).digest()
        claims = self._checked.get(digest)
        if claims is None:
            claims = await self._verified(token)
            if len(self._checked) >= _MOST_KEPT:
                self._checked.clear()
            self._checked[digest] = claims
        now = self._clock()
        if claims.expires_at <= now:
            self._checked.pop(digest, None)
            raise NotLoggedIn(
                f"the access token has expired at {claims.expires_at.isoformat()}; get another "
                "with the refresh token (`POST /auth/refresh`), or log in"
            )
        if claims.issued_at > now + self._rules.leeway:
            raise NotLoggedIn(f"{_BAD}it is of the future; the clocks of servers differ")
        return claims

    async def published(self) -> list[dict[str, str]]:
        """The public keys (JWKs) that good tokens may be signed with, the newest first."""
        async with self._database.reading() as tx:
            return await tx.signing.public(kept=self._kept)

    @property
    def _kept(self) -> timedelta:
        return self._rules.access_lifetime + _KEPT

    async def _verified(self, token: str) -> Claims:
        library = await asyncio.to_thread(_tokens)
        try:
            key = await self._public_key(library.key_id_of(token))
            content: bytes = library.verified(token, key)
        except library.BadToken as error:
            raise NotLoggedIn(f"{_BAD}{error}") from None
        return self._claims(content)

    def _claims(self, content: bytes) -> Claims:
        try:
            given = orjson.loads(content)
            if given["iss"] != self._rules.issuer:
                raise NotLoggedIn(f"{_BAD}it is of another issuer")
            if given["aud"] != self._rules.audience:
                raise NotLoggedIn(f"{_BAD}it is for another audience")
            times = [datetime.fromtimestamp(given[name], UTC) for name in ("iat", "exp")]
            return Claims(str(given["sub"]), str(given["sid"]), *times)
        except (ValueError, KeyError, TypeError, OverflowError, OSError):
            raise NotLoggedIn(f"{_BAD}its content is not what is expected") from None

    async def _public_key(self, key_id: str) -> Any:
        if not _KEY_ID.fullmatch(key_id):
            raise _unknown_key()
        now = asyncio.get_running_loop().time()
        if key_id not in self._public and now - self._asked_at >= _ASKS_EVERY:
            await self._look_up_keys()
        if key_id not in self._public:
            raise _unknown_key()
        return self._public[key_id]

    async def _look_up_keys(self) -> None:
        self._asked_at = asyncio.get_running_loop().time()
        published = {parts["kid"]: parts for parts in await self.published()}
        if self._public.keys() - published.keys():  # what they have signed is good no more
            self._checked.clear()
        self._public = {
            name: self._public.get(name) or _tokens().read_key(parts)
            for name, parts in published.items()
        }

    async def _signing_key(self) -> tuple[str, Any]:
        """The key that signs: read, or made."""
        async with self._making:
            until, key_id, key = self._signing
            now = asyncio.get_running_loop().time()
            if key is None or now >= until:
                await asyncio.to_thread(_tokens)
                key_id, key = await self._newest() or await self._replaced()
                self._signing = (now + _SIGNS_FOR, key_id, key)
                self._public[key_id] = key
            return key_id, key

    async def _newest(self) -> tuple[str, Any] | None:
        async with self._database.reading() as tx:
            stored = await tx.signing.newest(younger_than=self._rules.rotate_after)
        return self._opened(stored)

    async def _replaced(self) -> tuple[str, Any]:
        """A new key, unless another process has made one meanwhile."""
        async with self._database.transaction() as tx:
            await tx.signing.lock()
            stored = await tx.signing.newest(younger_than=self._rules.rotate_after)
            opened = self._opened(stored)
            if opened is not None:
                return opened
            key_id = new_id("sig")
            key = _tokens().new_key(key_id)
            sealed = self._keyring.encrypt(
                _tokens().private_parts(key), signing_place(key_id), what="signing keys of logins"
            )
            public = _tokens().public_parts(key)
            await tx.signing.replace(key_id, public, sealed, kept=self._kept)
        _log.info("signing_key.made", key_id=key_id)
        return key_id, key

    def _opened(self, stored: StoredSigningKey | None) -> tuple[str, Any] | None:
        if stored is None:
            return None
        try:
            parts = self._keyring.decrypt(stored.sealed, signing_place(stored.id))
        except CortexError as error:  # its encryption key was taken out of the ring
            _log.warning("signing_key.lost", key_id=stored.id, error=error.detail)
            return None
        return stored.id, _tokens().read_key(parts)


def _unknown_key() -> NotLoggedIn:
    return NotLoggedIn(f"{_BAD}the key that signed it is not known, or not any more")


def _tokens() -> Any:
    return import_module("cortex.security.tokens")
