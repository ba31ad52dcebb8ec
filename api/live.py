"""One client on the WebSocket: what it subscribes to, how it is kept up, how it is cut off.

A client that reads too slowly is cut off, with the reason; it resumes each subscription after the
position of the last event that it had, and has missed nothing then. Who may no longer see what is
sent is cut off as well.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
import structlog
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from api.access import Again
from cortex.db.engine import Database
from cortex.domain.errors import (
    CortexError,
    FieldError,
    InvalidRequest,
    NotAuthenticated,
    field_errors,
)
from cortex.domain.rights import Action, Principal
from cortex.schemas.live import INCOMING, Incoming, Ping, Subscribe, Unsubscribe
from cortex.services.accounts.authentication import Authenticator
from cortex.services.accounts.ownership import Ownership
from cortex.services.events.scopes import Chosen
from cortex.services.events.streams import Item, Streams
from cortex.tasks import end_task

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


class _Over(Exception):
    """The connection is to end, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class LiveSession:
    """One accepted connection.

    Args:
        socket: It.
        by: Who asked for it.
        again: Finds out anew who asks.
        authenticator: Tells when somebody may do less, or more, than before.
        streams: Where events come from.
        ownership: Says whose jobs and groups are.
        database: To look up the members of groups.
        patience: Seconds that the client may take to make room for one message.
    """

    def __init__(
        self,
        socket: WebSocket,
        by: Principal,
        again: Again,
        *,
        authenticator: Authenticator,
        streams: Streams,
        ownership: Ownership,
        database: Database,
        patience: float,
    ) -> None:
        self._socket = socket
        self._by = by
        self._again = again
        self._authenticator = authenticator
        self._checked = authenticator.changes
        self._streams = streams
        self._ownership = ownership
        self._database = database
        self._patience = patience
        self._sending = asyncio.Lock()
        self._subscriptions: dict[str, asyncio.Task[None]] = {}
        self._over: asyncio.Future[_Over] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Serve it until one of the two ends it."""
        helpers = [
            asyncio.create_task(self._guarded(self._listen)),
            asyncio.create_task(self._guarded(self._watch)),
        ]
        try:
            over = await self._over
        finally:
            for task in [*helpers, *self._subscriptions.values()]:
                await end_task(task)
        if self._socket.client_state is WebSocketState.CONNECTED:
            with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect, OSError):
                async with asyncio.timeout(_CLOSING):
                    await self._socket.close(over.code, over.reason[:120])

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Whatever ends a part of it ends all of it."""
        over = _Over(_FAILED, "something went wrong in the server; its log says what")
        try:
            await work()
        except _Over as error:
            over = error
        except (WebSocketDisconnect, OSError):  # the client is gone
            over = _Over(_NORMAL, "")
        except RuntimeError as error:  # of starlette, where it was closed meanwhile
            _log.info("live.closed", error=str(error))
            over = _Over(_NORMAL, "")
        except Exception:
            _log.exception("live.failed")
        if not self._over.done():
            self._over.set_result(over)

    async def _listen(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code") or 1005)
            text = message.get("text")
            if text is None:
                raise _Over(UNREADABLE, "messages are text: JSON objects")
            await self._take(text)

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
        if len(self._subscriptions) >= _MOST:
            raise InvalidRequest(f"a connection has at most {_MOST} subscriptions")
        scope = await self._scope(asked)
        await self._send({"type": "subscribed", "id": asked.id})
        self._subscriptions[asked.id] = asyncio.create_task(
            self._guarded(lambda: self._stream(asked, scope))
        )

    async def _scope(self, asked: Subscribe) -> Chosen:
        """What is meant, as far as it may be seen."""
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

    async def _unsubscribe(self, asked: Unsubscribe) -> None:
        task = self._subscriptions.pop(asked.id, None)
        if task is None:
            raise InvalidRequest(f"there is no subscription `{asked.id}`")
        await end_task(task)
        await self._send({"type": "unsubscribed", "id": asked.id})

    async def _stream(self, asked: Subscribe, scope: Chosen) -> None:
        batches = self._streams.events(scope, after=asked.after, from_now=asked.start == "now")
        async for batch in batches:
            if self._checked != self._authenticator.changes:
                await self._check()
            for item in batch:
                await self._send_bytes(_event(asked.id, item), item.id)
        raise _Over(GOING_AWAY, "the server stops; connect again, and resume")

    async def _watch(self) -> None:
        """A sign of life now and then, and an end when the client may see less, or more."""
        while True:
            try:
                async with asyncio.timeout(_HEARTBEAT):
                    await self._authenticator.next_change()
            except TimeoutError:
                await self._send({"type": "heartbeat"})
            await self._check()

    async def _check(self) -> None:
        """Go on only if the client may still see what it gets."""
        changes = self._authenticator.changes
        try:
            now = await self._again()
        except NotAuthenticated as error:
            raise _Over(NOT_ALLOWED, error.detail) from None
        except CortexError:
            return  # it cannot be told now
        seen = self._by.projects(Action.JOBS_READ)
        if not now.may(Action.JOBS_READ) or now.projects(Action.JOBS_READ) != seen:
            raise _Over(NOT_ALLOWED, "what you may see has changed; connect again")
        self._checked = changes

    async def _send(self, message: dict[str, Any]) -> None:
        await self._send_bytes(orjson.dumps(message), None)

    async def _send_bytes(self, message: bytes, position: str | None) -> None:
        async with self._sending:
            try:
                async with asyncio.timeout(self._patience):
                    await self._socket.send_text(message.decode())
            except TimeoutError:
                place = f"; resume after the last event that you had (before {position})"
                raise _Over(TOO_SLOW, f"too slow{place if position else ''}") from None


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
