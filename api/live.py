"""One client on a WebSocket: what it subscribes to, how it is kept up, how it is cut off.

A client that reads too slowly is cut off, with the reason; it resumes each subscription after the
position of the last event that it had, and has missed nothing then. Who may no longer see what is
sent is cut off as well.
"""

import asyncio
import contextlib
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import orjson
import structlog
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from api.access import Again
from api.services import Services
from cortex.domain.errors import (
    CortexError,
    FieldError,
    InvalidRequest,
    NotAuthenticated,
    field_errors,
)
from cortex.domain.rights import Action, Principal
from cortex.schemas.live import INCOMING, Incoming, Ping, Subscribe, Unsubscribe
from cortex.services.events.scopes import Chosen, Scope
from cortex.services.events.streams import Item
from cortex.tasks import end_task, end_tasks

_NORMAL: Final = 1000
GOING_AWAY: Final = 1001
UNREADABLE: Final = 1007
_FAILED: Final = 1011
NOT_ALLOWED: Final = 4403
TOO_SLOW: Final = 4408
MAX_MESSAGE: Final = 64 * 2**10
_MOST: Final = 100
_HEARTBEAT: Final = 15.0
_CLOSING: Final = 5.0

_log = structlog.get_logger(__name__)


class Over(Exception):
    """The connection is to end, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Session(ABC):
    """One accepted connection, whatever is spoken over it.

    Args:
        socket: It.
        by: Who asked for it.
        again: Finds out anew who asks.
        services: Where events come from, and who says what may be seen of them.
    """

    def __init__(self, socket: WebSocket, by: Principal, again: Again, services: Services) -> None:
        self._socket = socket
        self._by = by
        self._again = again
        self._services = services
        self._authenticator = services.authenticator
        self._checked = services.authenticator.changes
        self._streams = services.streams
        self._ownership = services.ownership
        self._database = services.database
        self._patience = services.settings.api.slow_client.total_seconds()
        self._sending = asyncio.Lock()
        self._subscriptions: dict[str, asyncio.Task[None]] = {}
        self._over: asyncio.Future[Over] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Serve it until one of the two ends it."""
        helpers = [
            asyncio.create_task(self._guarded(self._listen)),
            asyncio.create_task(self._guarded(self._watch)),
        ]
        try:
            over = await self._over
        finally:
            # All at once: where many are cut short, one after the other would take long.
            await end_tasks([*helpers, *self._subscriptions.values()])
        if self._socket.client_state is WebSocketState.CONNECTED:
            with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect, OSError):
                async with asyncio.timeout(_CLOSING):
                    await self._socket.close(over.code, over.reason[:120])

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Whatever breaks a part of it off ends all of it."""
        over = Over(_FAILED, "something went wrong in the server; its log says what")
        try:
            await work()
            return
        except Over as error:
            over = error
        except (WebSocketDisconnect, OSError):  # the client is gone
            over = Over(_NORMAL, "")
        except RuntimeError as error:  # of starlette, where it was closed meanwhile
            _log.info("live.closed", error=str(error))
            over = Over(_NORMAL, "")
        except Exception:
            _log.exception("live.failed")
        if not self._over.done():
            self._over.set_result(over)

    async def _listen(self) -> None:
        while True:
            await self._take(await self._receive())

    async def _receive(self) -> str:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code") or 1005)
        text: str | None = message.get("text")
        if text is None:
            raise Over(UNREADABLE, "messages are text: JSON objects")
        return text

    @abstractmethod
    async def _take(self, text: str) -> None:
        """One message of the client."""

    @abstractmethod
    def _sign(self) -> dict[str, Any]:
        """A message that says that the server lives."""

    def _start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Begin what a subscription of this name does."""
        self._subscriptions[name] = asyncio.create_task(self._guarded(work))

    def _require_room(self) -> None:
        if len(self._subscriptions) >= _MOST:
            raise InvalidRequest(f"a connection has at most {_MOST} subscriptions")

    async def events(
        self, scope: Scope, *, after: str | None, from_now: bool
    ) -> AsyncIterator[Item]:
        """The events of a scope as they come, until its last; each may be seen when it is given."""
        async for batch in self._streams.events(scope, after=after, from_now=from_now):
            if self._checked != self._authenticator.changes:
                await self._check()
            for item in batch:
                if item.event == "end":
                    return
                yield item
        raise Over(GOING_AWAY, "the server stops; connect again, and resume")

    async def chosen(self, asked: Subscribe) -> Chosen:
        """What is meant, as far as it may be seen.

        Raises:
            NotFound: there is no such job or group, or none that one may know of.
        """
        projects = self._by.projects(Action.JOBS_READ)
        if asked.projects:
            wanted = frozenset(asked.projects)
            projects = wanted if projects is None else wanted & projects
        subjects = {*asked.jobs, *asked.groups}
        for subject in subjects:
            await self._ownership.require(self._by, Action.JOBS_READ, subject)
        members: list[str] = []
        async with self._database.reading() as tx:
            for group_id in asked.groups:
                members += await tx.group_reads.job_ids(group_id)
        return Chosen(
            projects=projects,
            types=asked.chosen_types(),
            subjects=frozenset(subjects.union(members)) if subjects else None,
        )

    async def _watch(self) -> None:
        """A sign of life now and then, and an end when the client may see less, or more.

        Clients that all came in the same moment, after a restart, do not get them in the same
        moment.
        """
        while True:
            try:
                async with asyncio.timeout(_HEARTBEAT * random.uniform(0.6, 1)):
                    await self._authenticator.next_change()
            except TimeoutError:
                await self._send(self._sign())
            await self._check()

    async def _check(self) -> None:
        """Go on only if the client may still see what it gets."""
        changes = self._authenticator.changes
        try:
            async with self._authenticator.turns:
                now = await self._again()
        except NotAuthenticated as error:
            raise Over(NOT_ALLOWED, error.detail) from None
        except CortexError:
            return  # it cannot be told now
        if not self._is_as_before(now):
            raise Over(NOT_ALLOWED, "what you may see has changed; connect again")
        self._checked = changes

    def _is_as_before(self, now: Principal) -> bool:
        """Whether one may still see the same as when the connection began."""
        seen = self._by.projects(Action.JOBS_READ)
        return now.may(Action.JOBS_READ) and now.projects(Action.JOBS_READ) == seen

    async def _send(self, message: dict[str, Any]) -> None:
        await self._send_bytes(orjson.dumps(message), None)

    async def _send_bytes(self, message: bytes, position: str | None) -> None:
        async with self._sending:
            try:
                async with asyncio.timeout(self._patience):
                    await self._socket.send_text(message.decode())
            except TimeoutError:
                place = f"; resume after the last event that you had (before {position})"
                raise Over(TOO_SLOW, f"too slow{place if position else ''}") from None


class LiveSession(Session):
    """One connection to `/api/v1/ws`."""

    def _sign(self) -> dict[str, Any]:
        return {"type": "heartbeat"}

    async def _take(self, text: str) -> None:
        name = None
        try:
            asked = _read(text)
            if isinstance(asked, Ping):
                await self._send({"type": "pong"})
                return
            name = asked.id
            if isinstance(asked, Subscribe):
                await self._subscribe(asked)
            else:
                await self._unsubscribe(asked)
        except CortexError as error:
            await self._send(
                {
                    "type": "error",
                    "id": name,
                    "code": error.code,
                    "detail": error.detail,
                    "errors": [each.model_dump() for each in error.errors],
                }
            )

    async def _subscribe(self, asked: Subscribe) -> None:
        await self._check()
        if asked.id in self._subscriptions:
            raise InvalidRequest(f"there is a subscription `{asked.id}` already")
        self._require_room()
        scope = await self.chosen(asked)
        await self._send({"type": "subscribed", "id": asked.id})
        self._start(asked.id, lambda: self._stream(asked, scope))

    async def _unsubscribe(self, asked: Unsubscribe) -> None:
        task = self._subscriptions.pop(asked.id, None)
        if task is None:
            raise InvalidRequest(f"there is no subscription `{asked.id}`")
        await end_task(task)
        await self._send({"type": "unsubscribed", "id": asked.id})

    async def _stream(self, asked: Subscribe, scope: Chosen) -> None:
        events = self.events(scope, after=asked.after, from_now=asked.start == "now")
        async for item in events:
            await self._send_bytes(_event(asked.id, item), item.id)


def _read(text: str) -> Incoming:
    try:
        value = orjson.loads(text)
        kind = INCOMING.get(str(value.get("type"))) if isinstance(value, dict) else None
        if kind is None:
            message = f"must be one of {', '.join(f'`{name}`' for name in INCOMING)}"
            raise InvalidRequest(
                f"the message is not valid: it is a JSON object, and its `type` {message}",
                errors=[FieldError(field="type", message=message)],
            )
        return kind.model_validate(value)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the message is no JSON: {error}") from None
    except ValidationError as error:
        errors = field_errors(error)
        words = ", ".join(f"`{each.field}` {each.message}" for each in errors[:3])
        raise InvalidRequest(f"the message is not valid: {words}", errors=errors) from None


def _event(name: str, item: Item) -> bytes:
    head = orjson.dumps({"type": "event", "id": name, "position": item.id})
    return head[:-1] + b',"event":' + item.data + b"}"
