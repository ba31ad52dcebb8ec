"""A database that has fallen silent must not hold its requests.

A broken connection is noticed at once. One to a frozen server, or over a network that loses every
packet, stays quiet for many minutes, and so would the request that waits for it.
"""

import asyncio
import contextvars
import time
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware import in_api
from api.problems import problem_response
from cortex.domain.errors import DatabaseUnavailable

_PATIENCE: Final = 5.0
_AGAIN: Final = 0.5
_log = structlog.get_logger(__name__)


@dataclass(eq=False)
class _Waiting:
    """A request without an answer yet, and all that is needed to give it one."""

    scope: Scope
    receive: Receive
    send: Send
    task: "asyncio.Task[Any]"
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    since: float = field(default_factory=time.monotonic)
    abandoned: bool = False
    finished: bool = False


class PatienceMiddleware:
    """Answers 503 for a request that has no answer yet when the health probe finds no database.

    The work is cancelled and not waited for: psycopg's own cancelling waits for the server. One
    task looks after all requests, so that none needs a task of its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._waiting: set[_Waiting] = set()
        self._watch: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not in_api(scope):
            await self._app(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None
        waiting = _Waiting(scope, receive, send, task)

        async def send_first(message: Message) -> None:
            self._waiting.discard(waiting)
            if not waiting.abandoned:
                await send(message)

        self._waiting.add(waiting)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._look(), name="patience")
        try:
            await self._app(scope, receive, send_first)
        except BaseException as error:
            if not waiting.abandoned:
                raise
            task.uncancel()
            if not isinstance(error, asyncio.CancelledError):
                _log.info("request.abandoned", why=type(error).__name__)
        finally:
            waiting.finished = True
            self._waiting.discard(waiting)

    async def _look(self) -> None:
        """Until nobody waits any more: the next request starts it again."""
        while self._waiting:
            await asyncio.sleep(_AGAIN)
            before = time.monotonic() - _PATIENCE
            late = [waiting for waiting in self._waiting if waiting.since <= before]
            if not late:
                continue
            away = late[0].scope["app"].state.services.probe.database_away
            if away:
                await asyncio.gather(*(self._refuse(waiting, away) for waiting in late))

    async def _refuse(self, waiting: _Waiting, away: str) -> None:
        if waiting not in self._waiting:
            return  # it has its answer by now
        self._waiting.discard(waiting)
        waiting.abandoned = True
        # In the request's own context: the answer has its correlation id.
        response = waiting.context.run(problem_response, DatabaseUnavailable(away), waiting.scope)
        try:
            await response(waiting.scope, waiting.receive, waiting.send)
        except Exception as error:
            waiting.context.run(_log.info, "request.abandoned", why=type(error).__name__)
        if not waiting.finished:
            waiting.task.cancel()
