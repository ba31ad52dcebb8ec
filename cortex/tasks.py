"""Ending tasks without losing what is asked of them, or of whoever ends them."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable
from typing import Any, Final, TypeVar

T = TypeVar("T")

_AGAIN: Final = 5.0
"""Seconds until a task that has not ended is cancelled again.

A cancellation can get lost: `asyncio.wait_for` of Python 3.11 gives the result instead when both
come at once, and psycopg waits for its socket that way.
"""


async def end_task(task: "asyncio.Future[Any]") -> None:
    """Cancel a task and wait until it has ended.

    Raises:
        asyncio.CancelledError: the caller was cancelled meanwhile; the task has ended all the same.
            (`suppress(CancelledError)` around `await task` would take that for the task's own.)
        Exception: what the task failed with, if it did.
    """
    await end_tasks([task])
    failure = None if task.cancelled() else task.exception()
    if failure is not None:
        raise failure


async def end_tasks(tasks: Iterable["asyncio.Future[Any]"]) -> None:
    """Cancel these tasks and wait until all have ended, whatever they end with.

    Raises:
        asyncio.CancelledError: the caller was cancelled meanwhile; they have ended all the same.
    """
    ending = list(tasks)
    going = {task for task in ending if not task.done()}
    asked: asyncio.CancelledError | None = None
    while going:
        for task in going:
            task.cancel()
        try:
            _, going = await asyncio.wait(going, timeout=_AGAIN)
        except asyncio.CancelledError as error:
            asked = error
            going = {task for task in going if not task.done()}
    for task in ending:
        # Asked for, or a cancelled task keeps its frames alive with all that was open in them: a
        # connection to PostgreSQL that was just being made stays so until it is collected.
        with contextlib.suppress(asyncio.CancelledError):
            task.exception()
    if asked is not None:
        raise asked


async def apart(work: Coroutine[Any, Any, T]) -> T:
    """Do this in a task of its own, and wait for it.

    Below frames that others keep (SQLAlchemy's, with the exceptions that went through them) what is
    cancelled keeps what it had open until it is collected. Apart from them nothing of it is kept.

    Raises:
        asyncio.CancelledError: the caller was cancelled, and so was the work; it has ended.
        Exception: what it failed with.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task])
    finally:
        if not task.done():
            await end_tasks([task])
    return task.result()
