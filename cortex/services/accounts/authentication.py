"""Who asks: told from the API key or the access token that is sent.

Keys of the settings are known when the server starts. All others are in the database, looked up by
their hash and kept for a few seconds, as are the sessions of access tokens; whoever is changed
there is forgotten here at once (LISTEN), and after those seconds where that did not come through.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar

import structlog

from cortex.db import projects
from cortex.db.accounts import CHANNELS as ACCOUNTS
from cortex.db.accounts import KeyHolder, KeyUse
from cortex.db.engine import Database, Reading
from cortex.db.notify import Notifier
from cortex.db.sessions import SessionHolder
from cortex.domain.accounts import allowed_by, is_key, key_hash
from cortex.domain.errors import CortexError, NotAuthenticated
from cortex.domain.login_errors import NotLoggedIn
from cortex.domain.rights import Principal, Role
from cortex.domain.sessions import is_access_token
from cortex.services.accounts.sessions import ended_words
from cortex.services.accounts.signing import AccessTokens
from cortex.settings import ApiSettings
from cortex.tasks import end_task, end_tasks

CHANNELS: Final = (*ACCOUNTS, projects.CHANNEL)
"""What is listened to."""

T = TypeVar("T")

_KEPT: Final = 10.0
_JOINED: Final = 2.0
_AT_ONCE: Final = 4
_MOST_KEPT: Final = 10_000
_WRITE_EVERY: Final = 15.0

_NONE: Final[Mapping[str, Role]] = MappingProxyType({})

_log = structlog.get_logger(__name__)


class SettingsKeys:
    """The keys of the settings: `api.key`, and those of `api.keys`."""

    def __init__(self, settings: ApiSettings) -> None:
        roles = {name: entry.role for name, entry in settings.keys.items()}
        self._keys = [
            (_digest(key), name, roles.get(name, Role.ADMIN)) for name, key in settings.all_keys()
        ]

    def __bool__(self) -> bool:
        return bool(self._keys)

    def find(self, key: str) -> tuple[str, Role] | None:
        """Name and role of whoever has it."""
        given = _digest(key)
        # All are compared, so that the time it takes says nothing.
        matching = [
            (name, role) for known, name, role in self._keys if hmac.compare_digest(given, known)
        ]
        return matching[0] if matching else None


class Authenticator:
    """Finds whose key or token was sent, and notes when a key was used last."""

    def __init__(self, database: Database, notifier: Notifier, tokens: AccessTokens) -> None:
        self._database = database
        self._notifier = notifier
        self._tokens = tokens
        self._kept: dict[str, tuple[float, KeyHolder | None]] = {}
        self._memberships: dict[str, tuple[float, Mapping[str, Role]]] = {}
        self._sessions: dict[str, tuple[float, SessionHolder | None]] = {}
        self._looks: dict[tuple[int, int, str], tuple[float, asyncio.Task[Any]]] = {}
        self.turns = asyncio.Semaphore(_AT_ONCE)
        """For open streams that ask again, so that they leave the database to requests too."""
        self._changes = 0
        self._changed = asyncio.Event()
        self._uses: dict[str, KeyUse] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks = [
            *(asyncio.create_task(self._forget_changed(channel)) for channel in CHANNELS),
            asyncio.create_task(self._write_uses()),
        ]

    async def aclose(self) -> None:
        """Write the last uses, if the database is there."""
        for task in self._tasks:
            await end_task(task)
        await end_tasks(task for _, task in list(self._looks.values()))
        await self._write()

    async def principal(self, key: str, *, source: str, request_id: str) -> Principal:
        """Whoever this key or access token lets in.

        Raises:
            NotAuthenticated: nobody; it says why where it is one of ours.
            DatabaseUnavailable: PostgreSQL cannot be asked.
        """
        if is_access_token(key):
            return await self._logged_in(key, source=source, request_id=request_id)
        holder = await self._holder(key) if is_key(key) else None
        if holder is None:
            raise NotAuthenticated("this API key is not valid")
        now = datetime.now(UTC)
        _refuse_closed(holder, now)
        self._uses[holder.key_id] = KeyUse(now, source)
        return Principal(
            name=holder.name,
            role=holder.role,
            source=source,
            request_id=request_id,
            credential=holder.prefix,
            scopes=allowed_by(holder.scopes, budget=holder.budget),
            memberships=await self.memberships(holder.name, holder.role),
            only=holder.project,
            budget_key=holder.key_id if holder.budget else None,
        )

    @property
    def changes(self) -> int:
        """Grows with each change of what somebody may, as far as this process knows of them."""
        return self._changes

    async def next_change(self) -> None:
        """Wait for one."""
        await self._changed.wait()

    def forget(self) -> None:
        """Somebody was changed: ask the database anew, and wake who sends what may not be sent."""
        self._changes += 1
        self._kept.clear()
        self._memberships.clear()
        self._sessions.clear()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def memberships(self, name: str, role: Role) -> Mapping[str, Role]:
        """The projects that somebody is in; admins need not be asked for, they may do everything.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot be asked.
        """
        if role is Role.ADMIN:
            return _NONE

        async def look(tx: Reading) -> Mapping[str, Role]:
            return await tx.projects.memberships(name)

        return await self._looked_up(self._memberships, name, look)

    async def _logged_in(self, token: str, *, source: str, request_id: str) -> Principal:
        claims = await self._tokens.read(token)

        async def look(tx: Reading) -> SessionHolder | None:
            return await tx.sessions.holder(claims.session)

        holder = await self._looked_up(self._sessions, claims.session, look)
        if holder is None or holder.name != claims.user:
            raise NotLoggedIn("the session of this access token is not known, or not any more")
        if holder.ended_at is not None:
            words = f"{ended_words(holder.ended_why)} at {_time(holder.ended_at)}"
            raise NotLoggedIn(f"the session `{holder.id}` {words}; log in")
        if holder.expires_at <= datetime.now(UTC):
            raise NotLoggedIn(f"the session has expired at {_time(holder.expires_at)}; log in")
        if not holder.active:
            raise NotLoggedIn(f"`{holder.name}` is switched off")
        return Principal(
            name=holder.name,
            role=holder.role,
            source=source,
            request_id=request_id,
            credential=holder.id,
            memberships=await self.memberships(holder.name, holder.role),
        )

    async def _holder(self, key: str) -> KeyHolder | None:
        hashed = key_hash(key)

        async def look(tx: Reading) -> KeyHolder | None:
            return await tx.accounts.holder(hashed)

        return await self._looked_up(self._kept, hashed, look)

    async def _looked_up(
        self,
        kept: dict[str, tuple[float, T]],
        what: str,
        look: Callable[[Reading], Awaitable[T]],
    ) -> T:
        now = asyncio.get_running_loop().time()
        known = kept.get(what)
        if known is not None and now < known[0]:
            return known[1]
        # After a change all open streams ask in the same moment, and many of them the same.
        place = (id(kept), self._changes, what)
        began, task = self._looks.get(place, (now, None))
        # One that takes longer may wait for a connection that has fallen silent.
        if task is None or task.done() or now - began > _JOINED:
            task = asyncio.create_task(self._look_up(kept, what, look))
            self._looks[place] = now, task
            task.add_done_callback(partial(self._looked, place))
        # Whoever gives up waiting must not end the look of the others.
        looked_up: T = await asyncio.shield(task)
        return looked_up

    def _looked(self, place: tuple[int, int, str], task: "asyncio.Task[Any]") -> None:
        if self._looks.get(place, (0.0, None))[1] is task:
            del self._looks[place]
        if not task.cancelled():
            task.exception()  # nobody may wait for it any more

    async def _look_up(
        self,
        kept: dict[str, tuple[float, T]],
        what: str,
        look: Callable[[Reading], Awaitable[T]],
    ) -> T:
        changes, until = self._changes, asyncio.get_running_loop().time() + _KEPT
        async with self._database.reading() as tx:
            looked_up = await look(tx)
        if len(kept) >= _MOST_KEPT:
            kept.clear()
        if changes == self._changes:  # else it may be as it was before the change
            kept[what] = (until, looked_up)
        return looked_up

    async def _forget_changed(self, channel: str) -> None:
        with self._notifier.subscribe(channel) as changed:
            while True:
                await changed.wait()
                changed.clear()
                self.forget()

    async def _write_uses(self) -> None:
        while True:
            await asyncio.sleep(_WRITE_EVERY)
            await self._write()

    async def _write(self) -> None:
        uses, self._uses = self._uses, {}
        if not uses:
            return
        try:
            async with self._database.statement() as tx:
                await tx.accounts.used(uses)
        except CortexError as error:
            self._uses = {**uses, **self._uses}
            _log.warning("keys.use_not_written", error=error.detail, keys=len(uses))


def _refuse_closed(holder: KeyHolder, now: datetime) -> None:
    which = f"the API key `{holder.prefix}`"
    if holder.revoked_at is not None:
        raise NotAuthenticated(f"{which} was revoked at {_time(holder.revoked_at)}")
    if holder.expires_at is not None and holder.expires_at <= now:
        raise NotAuthenticated(f"{which} has expired at {_time(holder.expires_at)}")
    if not holder.active:
        raise NotAuthenticated(f"{which} is of `{holder.name}`, who is switched off")


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
