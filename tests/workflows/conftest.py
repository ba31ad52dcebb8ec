"""The time-skipping server, and a scripted world in place of the activities."""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType, IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from activities.contracts import (
    AcquireResult,
    CheckResult,
    CommitResult,
    FinishInput,
    LeaseInput,
    PlaceInput,
    PlaceResult,
    SettleInput,
    SettleResult,
    WarnInput,
    WarnResult,
)
from cortex.domain.ids import lease_key, new_id
from cortex.domain.jobs import Outcome
from cortex.domain.states import RunState
from cortex.temporal import contracts
from cortex.temporal.contracts import JobInput, LeaseChange, provider_queue
from tests.support import eventually, patience, temporal_program
from tests.workflows.serving import serving
from workflows.group import JobGroupWorkflow
from workflows.job import JobWorkflow

LONGEST = timedelta(days=90)
"""No workflow of a test takes so long. The server's clock jumps there after the end of one, and by
ten years without it: soon to where no timestamp reaches, and then everything hangs."""


@asynccontextmanager
async def time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A server whose clock jumps to the next timer."""
    env = await WorkflowEnvironment.start_time_skipping(
        data_converter=pydantic_data_converter,
        test_server_existing_path=temporal_program("temporal-test-server"),
    )
    async with env:
        attributes = {
            key.name: IndexedValueType.ValueType(int(key.indexed_value_type))
            for key in contracts.SEARCH_ATTRIBUTES
        }
        await env.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=env.client.namespace, search_attributes=attributes)
        )
        yield env


@pytest.fixture(scope="session")
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    """One time-skipping server for all tests of a process."""
    async with time_skipping() as env:
        yield env


def refusal(kind: str, message: str = "no") -> ApplicationError:
    """The error that an activity makes of a provider's error."""
    return ApplicationError(message, type=kind, non_retryable=True)


@dataclass
class World:
    """Scripted activities. Each answer is used once, the last one for ever."""

    env: WorkflowEnvironment
    provider: str = field(default_factory=lambda: f"p-{uuid.uuid4().hex[:6]}")
    queue: str = field(default_factory=lambda: f"q-{uuid.uuid4().hex[:6]}")
    job_id: str = field(default_factory=lambda: new_id("job"))
    places: deque[PlaceResult | Exception | None] = field(default_factory=lambda: deque([None]))
    """None: placed with the provider."""
    prepares: deque[Exception | float | None] = field(default_factory=lambda: deque([None]))
    """A number: takes so many seconds and heartbeats."""
    commits: deque[Exception | LeaseChange | str | None] = field(
        default_factory=lambda: deque(["exit 0"])
    )
    held: deque[bool] = field(default_factory=lambda: deque([False]))
    """Whether `acquire` finds the job cancelled after it has reserved."""
    settles: deque[Exception | timedelta | None] = field(default_factory=lambda: deque([None]))
    """A time: the job was extended by so much before the settlement began."""
    checks: deque[str | Exception | None] = field(default_factory=lambda: deque([None]))
    warns: deque[timedelta | Exception] = field(default_factory=lambda: deque([timedelta(0)]))
    """By how much the job is extended instead of warned."""
    duration: timedelta = timedelta(hours=1)
    one_step: bool = True
    """Whether a job without a gang may reserve and commit with `acquire`."""
    calls: list[str] = field(default_factory=list)
    excluded: list[tuple[str, ...]] = field(default_factory=list)
    warned: list[WarnInput] = field(default_factory=list)
    settled: list[SettleInput] = field(default_factory=list)
    finished: list[Outcome] = field(default_factory=list)
    live: set[str] = field(default_factory=set)
    preparing: asyncio.Event = field(default_factory=asyncio.Event)
    watching: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def client(self) -> Client:
        return self.env.client

    def activities(self) -> list[Callable[..., Any]]:
        return [
            self.place,
            self.acquire,
            self.prepare,
            self.commit,
            self.check,
            self.warn,
            self.settle,
            self.finish,
        ]

    @activity.defn
    async def place(self, placing: PlaceInput) -> PlaceResult:
        self.calls.append("place")
        self.excluded.append(placing.excluded)
        answer = _next(self.places)
        if isinstance(answer, Exception):
            raise answer
        key = lease_key(placing.job_id, placing.attempt)
        return answer or PlaceResult(
            lease_key=key, provider_id=self.provider, one_step=self.one_step
        )

    @activity.defn
    async def acquire(self, target: LeaseInput) -> AcquireResult:
        self.calls.append("acquire")
        await self._prepare(target)
        if _next(self.held):
            return AcquireResult()
        live = await self._commit(target)
        return AcquireResult(deadline_at=live.deadline_at, change=live.change)

    @activity.defn
    async def prepare(self, target: LeaseInput) -> None:
        self.calls.append("prepare")
        await self._prepare(target)

    async def _prepare(self, target: LeaseInput) -> None:
        self.preparing.set()
        self.live.add(target.lease_key)
        answer = _next(self.prepares)
        if isinstance(answer, Exception):
            raise answer
        for _ in range(int((answer or 0) * 20)):
            activity.heartbeat()
            await asyncio.sleep(0.05)

    @activity.defn
    async def commit(self, target: LeaseInput) -> CommitResult:
        self.calls.append("commit")
        return await self._commit(target)

    async def _commit(self, target: LeaseInput) -> CommitResult:
        answer = _next(self.commits)
        if isinstance(answer, Exception):
            raise answer
        self.live.add(target.lease_key)
        self.watching.set()
        change = exited(target.lease_key, answer) if isinstance(answer, str) else answer
        now = await self.env.get_current_time()
        return CommitResult(deadline_at=now + self.duration, change=change)

    @activity.defn
    async def check(self, target: LeaseInput) -> CheckResult:
        self.calls.append("check")
        answer = _next(self.checks)
        if isinstance(answer, Exception):
            raise answer
        return CheckResult(change=exited(target.lease_key, answer) if answer else None)

    @activity.defn
    async def warn(self, warning: WarnInput) -> WarnResult:
        self.calls.append("warn")
        self.warned.append(warning)
        answer = _next(self.warns)
        if isinstance(answer, Exception):
            raise answer
        return WarnResult(deadline_at=warning.deadline_at + answer)

    @activity.defn
    async def settle(self, closing: SettleInput) -> SettleResult:
        self.calls.append("settle")
        answer = _next(self.settles)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None and closing.deadline is not None:
            return SettleResult(deadline_at=closing.deadline + answer)
        self.live.discard(closing.lease_key)
        self.settled.append(closing)
        return SettleResult()

    @activity.defn
    async def finish(self, ending: FinishInput) -> None:
        self.calls.append("finish")
        self.finished.append(ending.outcome)

    async def start(self, **fields: Any) -> WorkflowHandle[Any, Outcome]:
        """Start the job's workflow."""
        return await self.client.start_workflow(
            JobWorkflow.run,
            JobInput(job_id=self.job_id, **fields),
            id=self.job_id,
            task_queue=self.queue,
            execution_timeout=LONGEST,
        )

    async def acquired(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Until a step at the provider is over and the workflow knows of it.

        The time-skipping server takes no cancellation of a step that is just ending.
        """

        async def known() -> bool:
            kinds = [event.event_type async for event in handle.fetch_history_events()]
            ended = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
            rest = kinds[kinds.index(ended) :] if ended in kinds else ()
            return EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED in rest

        await eventually(known, what="the workflow knows of its lease")

    async def run(self, **fields: Any) -> Outcome:
        """Run the job to its end."""
        handle = await self.start(**fields)
        return await asyncio.wait_for(handle.result(), patience(40))


def exited(key: str, text: str, version: int = 1) -> LeaseChange:
    """`exit 3`, `lost` or `running` as a change of a lease."""
    if text.startswith("exit "):
        return LeaseChange(key=key, version=version, state=RunState.EXITED, exit_code=int(text[5:]))
    return LeaseChange(key=key, version=version, state=RunState(text))


def _next(answers: "deque[Any]") -> Any:
    return answers.popleft() if len(answers) > 1 else answers[0]


AnyWorld = TypeVar("AnyWorld", bound=World)


@asynccontextmanager
async def open_world(
    env: WorkflowEnvironment,
    kind: type[AnyWorld] = World,  # type: ignore[assignment]
) -> AsyncIterator[AnyWorld]:
    """A scripted world, with workers that serve it."""
    made = kind(env)
    queues: dict[str, list[type]] = {
        made.queue: [JobWorkflow, JobGroupWorkflow],
        provider_queue(made.provider): [],
    }
    async with serving(env.client, queues, made.activities()):
        yield made


@pytest.fixture
async def world(skipping: WorkflowEnvironment) -> AsyncIterator[World]:
    """A world of its own for each test."""
    async with open_world(skipping, World) as made:
        yield made
