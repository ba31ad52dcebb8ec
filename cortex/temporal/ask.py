"""Asking the workers something through a short workflow, for a caller who waits."""

import asyncio
from datetime import timedelta
from typing import Any, Final, TypeVar

from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from cortex.domain.errors import ServiceUnavailable, TemporalUnavailable
from cortex.temporal.contracts import TASK_QUEUE

T = TypeVar("T")
_CALL: Final = timedelta(seconds=3)


async def ask_workers(
    client: Client,
    workflow: str,
    argument: Any,
    *,
    workflow_id: str,
    result_type: type[T],
    patience: float,
) -> T:
    """The result of the workflow; waits for `patience` seconds at most.

    Raises:
        WorkflowFailureError: it failed; the caller knows what that means.
        ServiceUnavailable: no worker answered.
        TemporalUnavailable: Temporal is away.
    """
    started = False
    try:
        async with asyncio.timeout(patience):
            handle = await client.start_workflow(
                workflow,
                argument,
                id=workflow_id,
                task_queue=TASK_QUEUE,
                result_type=result_type,
                execution_timeout=timedelta(seconds=2 * patience),
                rpc_timeout=_CALL,
            )
            started = True
            result: T = await handle.result()
            return result
    except TimeoutError as error:
        if started:
            raise ServiceUnavailable(
                f"no worker answered within {patience:g} s; is one running on the task queue "
                f"`{TASK_QUEUE}`?"
            ) from error
        raise TemporalUnavailable("Temporal does not answer") from error
    except WorkflowFailureError:
        raise
    except RPCError as error:
        raise TemporalUnavailable(f"Temporal does not answer: {error.message}") from error
    except RuntimeError as error:  # a lazy client's first connect
        raise TemporalUnavailable(f"Temporal does not answer: {error}") from error
