"""Interceptor of every activity: heartbeats, log context and error translation.

A heartbeat is how a worker's death is noticed before `start_to_close`, and how an activity hears
of a cancellation.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.runtime.errors import translated
from cortex.domain.failures import FailureType
from cortex.tasks import end_tasks

T = TypeVar("T")
_AT: ContextVar[list[str]] = ContextVar("doing")


class ActivityGuard(Interceptor):
    """Wraps each activity in heartbeats, log context and `translated`."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Guarded(next)


class _Guarded(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        structlog.contextvars.bind_contextvars(
            activity=info.activity_type, workflow_id=info.workflow_id, attempt=info.attempt
        )
        with translated():
            async with beating():
                return await self.next.execute_activity(input)


@contextlib.asynccontextmanager
async def beating() -> AsyncIterator[None]:
    """Heartbeats three times per timeout while the body runs; they say what it is at."""
    timeout = activity.info().heartbeat_timeout
    if not timeout:
        yield
        return
    at: list[str] = []
    _AT.set(at)
    beat = _Beat(timeout.total_seconds() / 3, at)
    try:
        yield
    finally:
        beat.end()


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
    """What the running activity is at, for its next heartbeats: the explorer shows it."""
    at = _AT.get(None)
    if at is None:
        yield
        return
    at.append(what)
    try:
        yield
    finally:
        at.remove(what)


async def to_its_end(work: Coroutine[Any, Any, T], *, within: timedelta) -> T:
    """Do what must not be abandoned half-way: a stop of the workflow waits for its outcome.

    Anything else that ends the running activity, such as the end of its worker, ends this too.

    Raises:
        ApplicationError: it took longer than `within`; another try may go on.
    """
    task = asyncio.ensure_future(_within(within, work))
    try:
        while True:
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                cause = activity.cancellation_details()
                if task.done() or cause is None or not cause.cancel_requested:
                    raise
    finally:
        if not task.done():
            await end_tasks([task])


async def _within(limit: timedelta, work: Coroutine[Any, Any, T]) -> T:
    try:
        async with asyncio.timeout(limit.total_seconds()) as clock:
            return await work
    except TimeoutError as error:
        if not clock.expired():
            raise
        raise ApplicationError(f"not done within {limit}", type=FailureType.NOT_IN_TIME) from error


class _Beat:
    """A heartbeat every so many seconds. No task: most steps end before the first one is due."""

    def __init__(self, every: float, at: list[str]) -> None:
        self._every = every
        self._at = at
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_later(every, self._tell)

    def end(self) -> None:
        self._next.cancel()

    def _tell(self) -> None:
        self._next = self._loop.call_later(self._every, self._tell)
        activity.heartbeat(*self._at)
