"""Being stopped: by a signal, or by a cancellation in Temporal. Nothing is left half-way for it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from cortex.domain.jobs import Outcome, Reason
    from cortex.temporal.contracts import CancelSignal
    from workflows.decisions import End, LeaseEnd, stopped_state

T = TypeVar("T")


class Stoppable:
    """What a workflow that can be stopped knows about it. The first stop counts."""

    def __init__(self) -> None:
        self._stop: str | None = None
        self._cause = Reason.CANCELLED

    def _stop_for(self, request: CancelSignal) -> None:
        if self._stop is None:
            self._stop = request.reason or "cancelled on request"
            self._cause = request.cause

    async def _through(self, start: Callable[[], Awaitable[T]]) -> T:
        """Run a step to its end. A cancellation of the workflow is remembered as a stop."""
        task = asyncio.ensure_future(start())
        while True:
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                self._note_cancellation()
                if task.cancelled():
                    raise

    async def _until(self, condition: Callable[[], bool], timeout: timedelta | None = None) -> bool:
        """Wait for the condition; False after the timeout. A cancellation counts as a stop."""
        try:
            await workflow.wait_condition(condition, timeout=timeout)
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            self._note_cancellation()
        return True

    async def _pause(self, wait: timedelta) -> None:
        if wait > timedelta(0):
            await self._until(self._stopped, wait)

    def _note_cancellation(self) -> None:
        self._stop = self._stop or "cancelled in Temporal"

    def _stopped(self) -> bool:
        if self._stop is None and workflow.cancellation_reason() is not None:
            self._note_cancellation()
        return self._stop is not None

    def _stop_end(self) -> LeaseEnd:
        return LeaseEnd(End.STOPPED, self._cause, self._stop or "cancelled")

    def _cancelled(self) -> Outcome:
        message = self._stop or "cancelled on request"
        return Outcome(state=stopped_state(self._cause), reason=self._cause, message=message)
