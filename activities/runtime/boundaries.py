"""Fault points of the activities, local ones too: before and after each.

Only for processes in which `cortex.faultpoints` is active; otherwise no worker has it.
"""

from collections.abc import Sequence
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from cortex import faultpoints


def bounded_activities() -> Sequence[Interceptor]:
    """The interceptors of a worker: none where no fault point is active."""
    return () if faultpoints.active is None else (_Boundaries(),)


class _Boundaries(Interceptor):
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Bounded(next)


class _Bounded(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        name = activity.info().activity_type
        faultpoints.passed("activity", f"before {name}")
        result = await self.next.execute_activity(input)
        faultpoints.passed("activity", f"after {name}")
        return result
