"""The WebSocket: live events of what one chooses, over one connection."""

from typing import Final

from fastapi import APIRouter
from starlette.websockets import WebSocket

from api.access import again_of, caller_of
from api.live import LiveSession
from api.problems import ServerBusy
from api.routing import PREFIX
from api.services import Services
from cortex.domain.rights import Action

router = APIRouter(prefix=PREFIX, tags=["events"])

SUBPROTOCOL: Final = "cortex.events.v1"


@router.websocket("/ws")
async def live(socket: WebSocket) -> None:
    """Subscribe, unsubscribe, resume; see docs/api.md."""
    services: Services = socket.app.state.services
    principal = caller_of(socket.scope)
    principal.require(Action.JOBS_READ)
    sessions: set[LiveSession] = socket.app.state.live_sessions
    most = services.settings.api.max_sockets
    if len(sessions) >= most:
        raise ServerBusy(f"server busy: {most} WebSockets are open; try again later")
    offered = socket.scope.get("subprotocols") or []
    session = LiveSession(
        socket,
        principal,
        again_of(socket.scope),
        authenticator=services.authenticator,
        streams=services.streams,
        ownership=services.ownership,
        database=services.database,
        patience=services.settings.api.slow_client.total_seconds(),
    )
    sessions.add(session)
    try:
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        await session.run()
    finally:
        sessions.discard(session)
