"""Reconcile on demand, and what it found so far."""

import asyncio
import re
from datetime import timedelta
from typing import Any, Final

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from cortex.db.engine import Database
from cortex.domain.errors import NotFound, ServiceUnavailable, TemporalUnavailable
from cortex.domain.ids import new_id
from cortex.domain.reconcile import Finding, FindingKind
from cortex.domain.rights import Principal
from cortex.schemas.reconcile import (
    FindingPage,
    FindingView,
    ReconcileReport,
    ReconcileRequest,
    ScopeReport,
    SeenFindingView,
)
from cortex.services.pagination import decode_cursor, encode_cursor
from cortex.services.providers.queries import ProviderRegistry
from cortex.temporal.contracts import (
    RECONCILE_WORKFLOW,
    TASK_QUEUE,
    ReconcileInput,
    ReconcileResult,
    ScopeResult,
)

_WAIT: Final = 11.0
"""Seconds that a caller waits; what takes longer is asked for by its id."""
_NOBODY: Final = timedelta(seconds=8)
_CALL: Final = timedelta(seconds=3)
_RUN: Final = re.compile(r"reconcile-[0-9a-z]{26}")


class Reconciling:
    """Starts runs and reads findings."""

    def __init__(self, database: Database, client: Client, registry: ProviderRegistry) -> None:
        self._database = database
        self._client = client
        self._registry = registry

    async def run(self, wanted: ReconcileRequest, by: Principal) -> ReconcileReport:
        """Compare now, and wait a while for the result.

        Raises:
            NotFound: there is no such provider.
            TemporalUnavailable: Temporal is away.
            ServiceUnavailable: the run failed.
        """
        providers = await self._providers(wanted.provider)
        if not wanted.dry_run:
            async with self._database.transaction() as tx:
                await tx.audit.add(by, "reconcile.run", wanted.provider or "all")
        run_id = f"reconcile-{new_id('fnd').removeprefix('fnd_')}"
        what = ReconcileInput(
            providers=providers,
            books=wanted.provider is None,
            mode="list" if wanted.dry_run else "act",
            wait=_NOBODY,
        )
        handle = await self._start(run_id, what)
        try:
            async with asyncio.timeout(_WAIT):
                return await self._result(run_id, handle)
        except TimeoutError:
            return ReconcileReport(id=run_id, status="running", dry_run=wanted.dry_run)

    async def report(self, run_id: str) -> ReconcileReport:
        """A run that was started before.

        Raises:
            NotFound: there is none with this id, or it was long ago.
        """
        if not _RUN.fullmatch(run_id):
            raise NotFound(f"there is no run `{run_id[:60]}` of reconcile")
        handle = self._client.get_workflow_handle(run_id, result_type=ReconcileResult)
        try:
            description = await handle.describe(rpc_timeout=_CALL)
            if description.close_time is None:
                return ReconcileReport(id=run_id, status="running")
            return await self._result(run_id, handle)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                raise NotFound(f"there is no run `{run_id}` of reconcile") from error
            raise TemporalUnavailable(f"Temporal does not answer: {error.message}") from error
        except RuntimeError as error:  # a lazy client's first connect
            raise TemporalUnavailable(f"Temporal does not answer: {error}") from error

    async def findings(
        self,
        *,
        open_only: bool,
        kind: FindingKind | None,
        provider_id: str | None,
        cursor: str | None,
        limit: int,
    ) -> FindingPage:
        """Findings, newest first."""
        async with self._database.transaction() as tx:
            findings = await tx.findings.page(
                open_only=open_only,
                kind=kind,
                provider_id=provider_id,
                before=decode_cursor(cursor),
                limit=limit + 1,
            )
        page = findings[:limit]
        last = page[-1] if len(findings) > limit else None
        return FindingPage(
            items=tuple(FindingView(**_fields(finding)) for finding in page),
            next_cursor=encode_cursor((last.first_seen_at, last.id)) if last else None,
        )

    async def _providers(self, only: str | None) -> tuple[str, ...]:
        views = await self._registry.views()
        if only is not None and only not in {view.id for view in views}:
            raise NotFound(f"there is no provider `{only[:60]}`")
        served = [view.id for view in views if view.configured]
        # What is switched off and empty has no queue, and nothing to be asked for.
        busy = {view.id for view in views if view.enabled or view.active_leases}
        return (only,) if only else tuple(name for name in served if name in busy)

    async def _start(
        self, run_id: str, what: ReconcileInput
    ) -> WorkflowHandle[Any, ReconcileResult]:
        try:
            async with asyncio.timeout(2 * _CALL.total_seconds()):
                return await self._client.start_workflow(
                    RECONCILE_WORKFLOW,
                    what,
                    id=run_id,
                    task_queue=TASK_QUEUE,
                    result_type=ReconcileResult,
                    rpc_timeout=_CALL,
                    static_summary="on demand",
                )
        except RPCError as error:
            raise TemporalUnavailable(f"Temporal does not answer: {error.message}") from error
        except (TimeoutError, RuntimeError) as error:  # RuntimeError: a lazy client's first connect
            raise TemporalUnavailable(f"Temporal does not answer: {error}") from error

    async def _result(
        self, run_id: str, handle: WorkflowHandle[Any, ReconcileResult]
    ) -> ReconcileReport:
        try:
            result = await handle.result()
        except WorkflowFailureError as error:
            raise ServiceUnavailable(f"run `{run_id}` of reconcile failed; try again") from error
        except RPCError as error:
            raise TemporalUnavailable(f"Temporal does not answer: {error.message}") from error
        return ReconcileReport(
            id=run_id,
            status="done",
            dry_run=result.mode == "list",
            finished_at=result.finished_at,
            scopes=tuple(_scope(scope) for scope in result.scopes),
        )


def _scope(scope: ScopeResult) -> ScopeReport:
    return ScopeReport(
        provider_id=scope.provider_id,
        error=scope.error,
        checked=scope.checked,
        findings=tuple(
            SeenFindingView(**_fields(settled.finding), done=settled.done, next=settled.next)
            for settled in scope.findings
        ),
        more=scope.more,
    )


def _fields(finding: Finding) -> dict[str, Any]:
    return finding.model_dump()
