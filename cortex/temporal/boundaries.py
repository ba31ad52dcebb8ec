"""Fault points of the Temporal client: before and after every start and signal.

Only for processes in which `cortex.faultpoints` is active; otherwise no client has it.
"""

from collections.abc import Sequence
from typing import Any

from temporalio.client import (
    Interceptor,
    OutboundInterceptor,
    SignalWorkflowInput,
    StartWorkflowInput,
    TerminateWorkflowInput,
    WorkflowHandle,
)

from cortex import faultpoints


def bounded_calls() -> Sequence[Interceptor]:
    """The interceptors of a client: none where no fault point is active."""
    return () if faultpoints.active is None else (_Boundaries(),)


class _Boundaries(Interceptor):
    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _Bounded(next)


class _Bounded(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        faultpoints.passed("temporal", f"before start {input.workflow}")
        handle = await super().start_workflow(input)
        faultpoints.passed("temporal", f"after start {input.workflow}")
        return handle

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        faultpoints.passed("temporal", f"before signal {input.signal}")
        await super().signal_workflow(input)
        faultpoints.passed("temporal", f"after signal {input.signal}")

    async def terminate_workflow(self, input: TerminateWorkflowInput) -> None:
        faultpoints.passed("temporal", "before terminate")
        await super().terminate_workflow(input)
        faultpoints.passed("temporal", "after terminate")
