"""Ending tasks without losing what is asked of whoever ends them."""

import asyncio
from typing import Any


async def end_task(task: "asyncio.Future[Any]") -> None:
    """Cancel a task and wait until it has ended.

    Raises:
        asyncio.CancelledError: the caller was cancelled meanwhile; the task has ended all the same.
            (`suppress(CancelledError)` around `await task` would take that for the task's own.)
        Exception: what the task failed with, if it did.
    """
    task.cancel()
    asked: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            asked = error
            task.cancel()
    failure = None if task.cancelled() else task.exception()
    if asked is not None:
        raise asked
    if failure is not None:
        raise failure
