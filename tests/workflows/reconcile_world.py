"""Scripted activities for the workflows `Reconcile` and `Rescue`, on a clock that jumps."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from activities.contracts import FinishInput, LeaseInput, SettleInput
from activities.reconcile.rescue import RescuePlan
from cortex.domain.ids import new_id
from cortex.domain.jobs import Outcome, Reason
from cortex.domain.reconcile import Finding, FindingKind
from cortex.domain.states import JobState
from cortex.temporal.contracts import (
    ReconcileInput,
    ReconcileResult,
    RescueInput,
    RescueResult,
    ScopeInput,
    ScopeResult,
    SeenFinding,
    provider_queue,
    rescue_id,
)
from tests.workflows.serving import serving
from workflows.reconcile import ReconcileWorkflow
from workflows.rescue import RescueWorkflow

FAILED = Outcome(state=JobState.FAILED, reason=Reason.WORKFLOW_GONE, message="it was terminated")


@dataclass
class ReconcileWorld:
    """What the activities answer, and what they were asked."""

    env: WorkflowEnvironment
    provider: str = field(default_factory=lambda: f"p-{uuid.uuid4().hex[:6]}")
    queue: str = field(default_factory=lambda: f"q-{uuid.uuid4().hex[:6]}")
    job_id: str = field(default_factory=lambda: new_id("job"))
    plan: RescuePlan = field(default_factory=RescuePlan)
    failing_settles: int = 0
    broken: bool = False
    grace: timedelta | None = None
    """With one, the first look at the books finds something that is due after it."""
    wait: timedelta = timedelta(seconds=30)
    calls: list[str] = field(default_factory=list)
    settled: list[SettleInput] = field(default_factory=list)
    scopes: list[ScopeInput] = field(default_factory=list)

    def lease(self, attempt: int) -> LeaseInput:
        key = f"{self.job_id}-{attempt}"
        return LeaseInput(job_id=self.job_id, lease_key=key, provider_id=self.provider)

    def activities(self) -> list[Callable[..., Any]]:
        return [
            self.plan_rescue,
            self.settle,
            self.finish,
            self.reconcile_provider,
            self.reconcile_books,
        ]

    @activity.defn
    async def plan_rescue(self, _given: RescueInput) -> RescuePlan:
        self.calls.append("plan")
        return self.plan

    @activity.defn
    async def settle(self, closing: SettleInput) -> None:
        self.calls.append("settle")
        if self.failing_settles:
            self.failing_settles -= 1
            raise RuntimeError("network down")
        self.settled.append(closing)

    @activity.defn
    async def finish(self, ending: FinishInput) -> None:
        self.calls.append(f"finish {ending.outcome.state.value}")

    @activity.defn
    async def reconcile_provider(self, chosen: ScopeInput) -> ScopeResult:
        self.scopes.append(chosen)
        if self.broken:
            raise ApplicationError("a bug", type="Bug", non_retryable=True)
        return ScopeResult(provider_id=chosen.provider_id, checked=2)

    @activity.defn
    async def reconcile_books(self, chosen: ScopeInput) -> ScopeResult:
        self.scopes.append(chosen)
        if self.grace is None or len(self.scopes) > 1:
            return ScopeResult(checked=5)
        now = await self.env.get_current_time()
        seen = Finding(
            id="fnd_1",
            kind=FindingKind.UNSERVED,
            subject="p",
            message="x",
            first_seen_at=now,
            last_seen_at=now,
        )
        due = SeenFinding(finding=seen, next="later", due_at=now + self.grace)
        return ScopeResult(checked=5, findings=(due,))

    async def rescue(self) -> WorkflowHandle[Any, RescueResult]:
        return await self.env.client.start_workflow(
            RescueWorkflow.run,
            RescueInput(job_id=self.job_id),
            id=rescue_id(self.job_id),
            task_queue=self.queue,
        )

    async def reconcile(
        self, *providers: str, again: bool = False
    ) -> WorkflowHandle[Any, ReconcileResult]:
        return await self.env.client.start_workflow(
            ReconcileWorkflow.run,
            ReconcileInput(providers=providers, books=True, again=again, wait=self.wait),
            id=f"reconcile-{uuid.uuid4().hex}",
            task_queue=self.queue,
        )


@asynccontextmanager
async def open_reconcile_world(env: WorkflowEnvironment) -> AsyncIterator[ReconcileWorld]:
    """A world of its own, with workers that serve it."""
    made = ReconcileWorld(env)
    queues: dict[str, list[type]] = {
        made.queue: [ReconcileWorkflow, RescueWorkflow],
        provider_queue(made.provider): [],
    }
    async with serving(env.client, queues, made.activities()):
        yield made
