"""A scripted world with a group in it: what its gang has decided, and what its planner says."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowHandle

from activities.contracts import AdvanceInput, AdvanceResult, VerdictInput, VerdictResult, WakeInput
from cortex.domain.ids import new_id
from cortex.domain.jobs import Outcome
from cortex.temporal.contracts import GroupInput, GroupResult
from tests.support import patience
from tests.workflows.conftest import LONGEST, World
from workflows.group import JobGroupWorkflow

WAIT = VerdictResult(answer="wait", wait=timedelta(minutes=1))
COMMIT = VerdictResult(answer="commit")
ABORT = VerdictResult(answer="abort", reason="`b` was late")


@dataclass
class GroupWorld(World):
    """Of the verdicts and advances, too, each is used once and the last one for ever."""

    group_id: str = field(default_factory=lambda: new_id("grp"))
    verdicts: deque[VerdictResult | Exception] = field(default_factory=lambda: deque([COMMIT]))
    advances: deque[AdvanceResult | Exception] = field(
        default_factory=lambda: deque([AdvanceResult(state="completed", done=True)])
    )
    asked: list[AdvanceInput] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    advanced: asyncio.Event = field(default_factory=asyncio.Event)

    def activities(self) -> list[Any]:
        return [*super().activities(), self.verdict, self.advance, self.wake_group]

    @activity.defn
    async def verdict(self, lease: VerdictInput) -> VerdictResult:
        self.calls.append("verdict")
        answer: VerdictResult = self._next(self.verdicts)
        if answer.answer == "wait":
            self.waiting.set()
        return answer

    @activity.defn
    async def advance(self, asked: AdvanceInput) -> AdvanceResult:
        self.asked.append(asked)
        self.advanced.set()
        answer: AdvanceResult = self._next(self.advances)
        return answer

    @activity.defn
    async def wake_group(self, woken: WakeInput) -> None:
        self.woken.append(woken.group_id)

    async def start_member(self, **fields: Any) -> WorkflowHandle[Any, Outcome]:
        """Start the job as a member of a gang; the workflow of the group need not be there."""
        return await self.start(**{"group_id": self.group_id, "gang": True, **fields})

    async def run_member(self, **fields: Any) -> Outcome:
        """Run the member to its end."""
        handle = await self.start_member(**fields)
        return await asyncio.wait_for(handle.result(), patience(40))

    async def start_group(self) -> WorkflowHandle[Any, GroupResult]:
        """Start the workflow of the group."""
        return await self.client.start_workflow(
            JobGroupWorkflow.run,
            GroupInput(group_id=self.group_id),
            id=self.group_id,
            task_queue=self.queue,
            execution_timeout=LONGEST,
        )

    async def at_wait(self) -> None:
        """Until a member has heard that nothing is decided; without waiting in real time."""
        await self._skip_to(self.waiting)

    async def at_watch(self) -> None:
        """Until a member runs."""
        await self._skip_to(self.watching)

    async def _skip_to(self, event: asyncio.Event) -> None:
        await self.preparing.wait()
        while not event.is_set():
            await self.env.sleep(1)

    @staticmethod
    def _next(answers: deque[Any]) -> Any:
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def lasted(handle: WorkflowHandle[Any, Any]) -> timedelta:
    """How long a workflow took, on its own clock."""
    told = await handle.describe()
    assert told.close_time is not None
    return told.close_time - told.start_time
