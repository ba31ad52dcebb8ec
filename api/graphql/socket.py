"""Subscriptions over a WebSocket: the protocol `graphql-transport-ws`.

The connection itself is one like `/api/v1/ws`: who asks is known before it begins, is looked at
again when rights change, and is cut off where it reads too slowly. Queries and mutations go over
HTTP, where they are counted and wait their turn.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import orjson
from graphql import OperationType
from starlette.websockets import WebSocket

from api.graphql.context import Context
from api.graphql.http import DOCUMENTS
from api.graphql.operations import Operation, answered, read_request, refused
from api.live import Over, Session
from api.routes.live import serve_session
from cortex.domain.errors import CortexError, InvalidRequest
from cortex.domain.rights import Principal
from cortex.services.events.scopes import Scope
from cortex.services.events.streams import Item
from cortex.services.views import render
from cortex.tasks import end_task

PROTOCOL: Final = "graphql-transport-ws"
INVALID: Final = 4400
UNACKNOWLEDGED: Final = 4401
NO_INIT: Final = 4408
IN_USE: Final = 4409
SECOND_INIT: Final = 4429

_INIT_SECONDS: Final = 10.0
_LONGEST_ID: Final = 200


async def follow_graphql(socket: WebSocket) -> None:
    """Serve the subscriptions of one client.

    Raises:
        InvalidRequest: it does not offer the protocol.
    """
    if PROTOCOL not in (socket.scope.get("subprotocols") or ()):
        raise InvalidRequest(f"connect with the subprotocol `{PROTOCOL}`")
    await serve_session(socket, GraphQLSession, PROTOCOL)


class GraphQLSession(Session):
    """One connection to `/graphql`."""

    _acknowledged = False

    def _sign(self) -> dict[str, Any]:
        return {"type": "ping"}

    def _is_as_before(self, now: Principal) -> bool:
        """Events lead to jobs and bills: anything that changes in what one may do counts."""
        rights = ("role", "scopes", "memberships", "only")
        return all(getattr(now, name) == getattr(self._by, name) for name in rights)

    async def _listen(self) -> None:
        await self._first()
        await super()._listen()

    async def _first(self) -> None:
        """The client says that it is there, or is not waited for."""
        try:
            async with asyncio.timeout(_INIT_SECONDS):
                while not self._acknowledged:
                    await self._take(await self._receive())
        except TimeoutError:
            raise Over(NO_INIT, "Connection initialisation timeout") from None

    async def _take(self, text: str) -> None:
        message = _read(text)
        match message["type"]:
            case "connection_init":
                if self._acknowledged:
                    raise Over(SECOND_INIT, "Too many initialisation requests")
                self._acknowledged = True
                await self._send({"type": "connection_ack"})
            case "ping":
                await self._send({"type": "pong"})
            case "pong":
                pass
            case "subscribe":
                if not self._acknowledged:
                    raise Over(UNACKNOWLEDGED, "Unauthorized")
                await self._subscribe(_name(message), message.get("payload"))
            case "complete":
                task = self._subscriptions.pop(_name(message), None)
                if task is not None:
                    await end_task(task)
            case _:
                raise Over(INVALID, "Invalid message: its `type` is none of the protocol")

    async def _subscribe(self, name: str, payload: Any) -> None:
        await self._check()
        if name in self._subscriptions:
            raise Over(IN_USE, f"Subscriber for {name[:60]} already exists")
        try:
            self._require_room()
            operation = Operation(read_request(payload), DOCUMENTS)
            if operation.kind is not OperationType.SUBSCRIPTION:
                raise InvalidRequest(
                    f"a {operation.kind.value} goes by POST to this path; here are subscriptions"
                )
        except CortexError as error:
            await self._refuse(name, refused(error)["errors"])
            return
        self._start(name, lambda: self._follow(name, operation))

    async def _follow(self, name: str, operation: Operation) -> None:
        context = Context(by=self._by, services=self._services, live=self)
        async with aclosing(await operation.follow(context)) as results:
            async for result in results:
                answer = answered(context, result.data, result.errors)
                if result.data is None:  # it is not taken, or cannot go on
                    await self._refuse(name, answer["errors"])
                    return
                place = {"id": name, "type": "next", "payload": answer}
                await self._send_bytes(render(place), context.position)
        # Where the connection ends, the subscription is not complete: it can be resumed.
        if not self._over.done():
            self._subscriptions.pop(name, None)
            await self._send({"id": name, "type": "complete"})

    async def events(
        self, scope: Scope, *, after: str | None, from_now: bool
    ) -> AsyncIterator[Item]:
        """As of every session; what ends the connection does so beside GraphQL's own errors."""
        try:
            async for item in super().events(scope, after=after, from_now=from_now):
                yield item
        except Over as over:
            if not self._over.done():
                self._over.set_result(over)

    async def _refuse(self, name: str, errors: list[dict[str, Any]]) -> None:
        self._subscriptions.pop(name, None)
        await self._send({"id": name, "type": "error", "payload": errors})


def _read(text: str) -> dict[str, Any]:
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Over(INVALID, "Invalid message: it is no JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Over(INVALID, "Invalid message: it is an object with a `type`")
    return message


def _name(message: dict[str, Any]) -> str:
    name = message.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ID:
        raise Over(INVALID, f"Invalid message: its `id` has 1 to {_LONGEST_ID} characters")
    return name
