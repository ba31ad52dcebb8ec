"""Compares networks, books and Temporal: by schedule (`reconcile:<provider>`) and on demand."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, FailureError, TimeoutError, TimeoutType

with workflow.unsafe.imports_passed_through():
    from activities.reconcile.run import ReconcileActivities
    from cortex.temporal.contracts import (
        RECONCILE_WORKFLOW,
        ReconcileInput,
        ReconcileResult,
        ScopeInput,
        ScopeResult,
        provider_queue,
    )

_LONGEST = timedelta(minutes=15)
_LONGEST_WAIT = timedelta(minutes=15)
_MARGIN = timedelta(seconds=1)
_HEARTBEAT = timedelta(seconds=30)
_TRIES = RetryPolicy(initial_interval=timedelta(seconds=2), maximum_attempts=3)


@workflow.defn(name=RECONCILE_WORKFLOW)
class ReconcileWorkflow:
    @workflow.run
    async def run(self, comparison: ReconcileInput) -> ReconcileResult:
        """Every part on its own: one that fails keeps no other from its work."""
        scopes = await self._look(comparison)
        due = [finding.due_at for scope in scopes for finding in scope.findings if finding.due_at]
        wait = max(due) - workflow.now() if due else timedelta(0)
        if comparison.again and timedelta(0) < wait <= _LONGEST_WAIT:
            # What was seen too early is settled in this run, not a whole period later.
            await workflow.sleep(wait + _MARGIN)
            scopes = await self._look(comparison)
        return ReconcileResult(
            mode=comparison.mode, scopes=tuple(scopes), finished_at=workflow.now()
        )

    async def _look(self, comparison: ReconcileInput) -> list[ScopeResult]:
        parts = [self._provider(comparison, provider_id) for provider_id in comparison.providers]
        if comparison.books:
            parts.append(self._books(comparison))
        return list(await asyncio.gather(*parts))

    async def _provider(self, comparison: ReconcileInput, provider_id: str) -> ScopeResult:
        try:
            return await workflow.execute_activity_method(
                ReconcileActivities.reconcile_provider,
                ScopeInput(provider_id=provider_id, mode=comparison.mode),
                task_queue=provider_queue(provider_id),
                schedule_to_start_timeout=comparison.wait,
                start_to_close_timeout=_LONGEST,
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_TRIES,
                summary=f"what does {provider_id} hold?",
            )
        except ActivityError as error:
            return ScopeResult(provider_id=provider_id, error=_why(error, provider_id))

    async def _books(self, comparison: ReconcileInput) -> ScopeResult:
        try:
            return await workflow.execute_activity_method(
                ReconcileActivities.reconcile_books,
                ScopeInput(mode=comparison.mode),
                start_to_close_timeout=_LONGEST,
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_TRIES,
                summary="who looks after the jobs?",
            )
        except ActivityError as error:
            return ScopeResult(error=_why(error, ""))


def _why(error: ActivityError, provider_id: str) -> str:
    cause = error.cause
    if isinstance(cause, TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_START:
        return f"no worker serves the queue `{provider_queue(provider_id)}`"
    if isinstance(cause, FailureError):
        return cause.message[:500]
    return str(cause or error)[:500]
