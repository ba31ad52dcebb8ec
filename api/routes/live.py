"""The WebSocket: live events of what one chooses, over one connection."""

from typing import Final

from fastapi import APIRouter
from starlette.websockets import WebSocket

from api.access import again_of, caller_of
from api.admission import LiveStreams
from api.live import LiveSession, Session
from api.routing import PREFIX
from api.services import Services
from cortex.domain.rights import Action

router = APIRouter(prefix=PREFIX, tags=["events"])

SUBPROTOCOL: Final = "cortex.events.v1"


@router.websocket("/ws")
async def live(socket: WebSocket) -> None:
    """Subscribe, unsubscribe, resume; see docs/api.md."""
    offered = socket.scope.get("subprotocols") or []
    await serve_session(socket, LiveSession, SUBPROTOCOL if SUBPROTOCOL in offered else None)


async def serve_session(socket: WebSocket, kind: type[Session], subprotocol: str | None) -> None:
    """Take a connection, if there is room, and serve it until it ends.

    Raises:
        ServerBusy: there is none on this server.
        TooManyStreams: there is none for this user.
    """
    services: Services = socket.app.state.services
    principal = caller_of(socket.scope)
    principal.require(Action.JOBS_READ)
    sessions: set[Session] = socket.app.state.live_sessions
    live: LiveStreams = socket.app.state.live_streams
    with live.socket(socket.scope):
        session = kind(socket, principal, again_of(socket.scope), services)
        sessions.add(session)
        try:
            await socket.accept(subprotocol)
            await session.run()
        finally:
            sessions.discard(session)
