"""Running reconcile by hand, on a stage of a test."""

import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from cortex.domain.ids import new_id
from cortex.domain.reconcile import Finding, FindingKind
from cortex.domain.states import JobState
from cortex.settings import ReconcileSettings
from cortex.temporal.contracts import (
    RECONCILE_WORKFLOW,
    TASK_QUEUE,
    Mode,
    ReconcileInput,
    ReconcileResult,
    ScopeResult,
    SeenFinding,
)
from tests.integration.conftest import Stage
from tests.support import eventually

NEVER = timedelta(hours=12)


def tuned(stage: Stage, **changes: Any) -> Stage:
    """The stage with reconcile by hand only, and without grace."""
    rules = {"every": NEVER, "grace": timedelta(0), **changes}
    reconcile = ReconcileSettings.model_validate(rules)
    stage.settings = stage.settings.model_copy(update={"reconcile": reconcile})
    return stage


async def run(
    stage: Stage, *providers: str, books: bool = False, mode: Mode = "act"
) -> list[ScopeResult]:
    """One run; what each part of it came to."""
    result: ReconcileResult = await stage.client.execute_workflow(
        RECONCILE_WORKFLOW,
        ReconcileInput(providers=providers, books=books, mode=mode, wait=timedelta(seconds=10)),
        id=f"reconcile-{uuid.uuid4().hex}",
        task_queue=TASK_QUEUE,
        result_type=ReconcileResult,
    )
    return list(result.scopes)


async def of_books(stage: Stage, mode: Mode = "act") -> list[SeenFinding]:
    """What a run finds in the books."""
    (scope,) = await run(stage, books=True, mode=mode)
    assert not scope.error
    return list(scope.findings)


async def of_provider(stage: Stage, provider_id: str, mode: Mode = "act") -> list[SeenFinding]:
    """What a run finds at a network."""
    (scope,) = await run(stage, provider_id, mode=mode)
    assert not scope.error
    return list(scope.findings)


async def findings(stage: Stage, kind: FindingKind, *, open_only: bool = False) -> list[Finding]:
    """What is written down of this kind, newest first."""
    async with stage.database.transaction() as tx:
        return await tx.findings.page(open_only=open_only, kind=kind)


async def told(stage: Stage) -> list[tuple[str, str]]:
    """Type and kind of all events of reconcile, in order."""
    async with stage.database.transaction() as tx:
        events = await tx.events.page(None, limit=5000)
    return [
        (event.type.value, event.data["kind"])
        for event in events
        if event.type.value.startswith("reconcile.")
    ]


async def running(stage: Stage, within: float = 30.0, **changes: Any) -> str:
    """A job once it runs."""
    job_id = await stage.submit(**changes)

    async def check() -> bool:
        job = await stage.job(job_id)
        assert not job.state.terminal, job.message
        return job.state is JobState.RUNNING

    await eventually(check, within=within, what=f"{job_id} running")
    await delivered(stage, job_id)
    return job_id


async def delivered(stage: Stage, job_id: str) -> None:
    """Wait until its commands are marked as delivered: until then reconcile leaves a job alone.

    Its workflow may be well on its way before.
    """
    query = text("SELECT count(*) FROM commands WHERE job_id = :id AND done_at IS NULL")

    async def check() -> bool:
        async with stage.database.reading() as tx:
            return int((await tx.connection.execute(query, {"id": job_id})).scalar_one()) == 0

    await eventually(check, what=f"all commands of {job_id} delivered")


async def terminate(stage: Stage, job_id: str, reason: str) -> None:
    """As somebody does in the Web UI. Returns when Temporal's list of what runs has noticed.

    Until then reconcile takes the job for one that is looked after, and finds it in its next run.
    """
    await stage.client.get_workflow_handle(job_id).terminate(reason=reason)
    query = f"WorkflowId = '{job_id}' AND ExecutionStatus = 'Running'"

    async def check() -> bool:
        return not [run async for run in stage.client.list_workflows(query)]

    await eventually(check, what=f"{job_id} gone from the list of what runs")


def strange_key() -> str:
    """A lease key that no database here knows."""
    return f"{new_id('job')}-1"
