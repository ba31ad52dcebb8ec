"""Workers over the scripted worlds of the workflows' tests."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from tests.support.sandbox import RUNNER


@asynccontextmanager
async def serving(
    client: Client,
    queues: Mapping[str, Sequence[type]],
    activities: Sequence[Callable[..., Any]],
) -> AsyncIterator[None]:
    """One worker for each queue, with the workflows of that queue and all activities."""
    async with AsyncExitStack() as stack:
        for queue, workflows in queues.items():
            worker = Worker(
                client,
                task_queue=queue,
                workflows=workflows,
                activities=activities,
                workflow_runner=RUNNER,
            )
            await stack.enter_async_context(worker)
        yield
