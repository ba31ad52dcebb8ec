"""A database that has fallen silent must not hold its requests.

A broken connection is noticed at once. One to a frozen server, or over a network that loses every
packet, stays quiet for many minutes, and so would the request that waits for it.
"""

import asyncio
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware import API_PREFIX
from cortex.domain.errors import DatabaseUnavailable

_PATIENCE: Final = 5.0
_AGAIN: Final = 0.5
_log = structlog.get_logger(__name__)


class PatienceMiddleware:
    """Answers 503 for a request that has no answer yet when the health probe finds no database.

    The work is cancelled and not waited for: psycopg's own cancelling waits for the server.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._left: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(API_PREFIX):
            await self._app(scope, receive, send)
            return
        answered = asyncio.get_running_loop().create_future()

        def done(_: object = None) -> None:
            if not answered.done():
                answered.set_result(None)

        async def send_first(message: Message) -> None:
            done()
            if work not in self._left:
                await send(message)

        async def run() -> None:
            await self._app(scope, receive, send_first)

        work = asyncio.create_task(run())
        work.add_done_callback(done)
        try:
            await self._wait(answered, scope)
        except BaseException:
            self._leave(work)
            raise
        await work

    async def _wait(self, answered: "asyncio.Future[Any]", scope: Scope) -> None:
        patience = _PATIENCE
        while not answered.done():
            await asyncio.wait((answered,), timeout=patience)
            patience = _AGAIN
            away = scope["app"].state.services.probe.database_away
            if away and not answered.done():
                raise DatabaseUnavailable(away)

    def _leave(self, work: "asyncio.Task[None]") -> None:
        self._left.add(work)
        work.add_done_callback(self._forget)
        work.cancel()

    def _forget(self, work: "asyncio.Task[None]") -> None:
        self._left.discard(work)
        if not work.cancelled() and work.exception() is not None:
            _log.info("request.abandoned", why=type(work.exception()).__name__)
