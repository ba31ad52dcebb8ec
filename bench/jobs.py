"""How much a job costs over the bare Temporal workflow that it is made of.

Bare: a workflow of four remote activities, which do nothing. Job: `JobWorkflow` on a provider that
does nothing, with its statements, events, ledger and delivery. Both run on the same servers with
one worker in this process, in turns, so that the machine's mood hits both alike.
"""

import asyncio
import statistics
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Final

from temporalio.api.enums.v1 import EventType
from temporalio.worker import (
    PollerBehaviorAutoscaling,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from bench.bare import BareWorkflow, nothing
from bench.stage import Stage, open_stage
from cortex.db.jobs.repository import NewJob
from cortex.db.outbox.commands import Command
from cortex.domain.ids import new_id
from cortex.domain.spec import JobSpec
from cortex.temporal.outbox.deliver import deliver

ACTIVITIES = 4
"""Of the bare workflow: what a job had when the aim was set. The aim stays what it was."""
_RUNNERS: Final[Mapping[str, WorkflowRunner]] = {
    "bare": SandboxedWorkflowRunner(),
    "raw": UnsandboxedWorkflowRunner(),
}
"""By the name of their queue: in the sandbox, as a user writes it; and outside, as jobs run."""
_SPEC = JobSpec(command=("true",))
_LATER = timedelta(hours=1)


async def measure(
    *, rounds: int, per_round: int, in_flight: int, temporal: str | None = None
) -> str:
    """Both rates and their ratio, as a table; on the Temporal server at `temporal`, if given."""
    async with (
        open_stage({}, temporal=temporal) as stage,
        stage.worker(),
        AsyncExitStack() as stack,
    ):
        for queue, runner in _RUNNERS.items():
            await stack.enter_async_context(_bare_worker(stage, queue, runner))
        kinds = await _kinds(stage, await run_job(stage))
        runs: dict[str, Callable[[], Awaitable[None]]] = {
            queue: partial(_run_bare, stage, queue) for queue in _RUNNERS
        }
        runs["job"] = partial(_run_one, stage)
        for run in runs.values():
            await _rate(run, 20, in_flight)
        rows = [
            {name: await _rate(run, per_round, in_flight) for name, run in runs.items()}
            for _ in range(rounds)
        ]
    where = "the embedded server" if temporal is None else f"the server at {temporal}"
    return _table(rows, kinds, where, f"{per_round} each per round, {in_flight} in flight")


def _bare_worker(stage: Stage, queue: str, runner: WorkflowRunner) -> Worker:
    return Worker(
        stage.client,
        task_queue=queue,
        workflows=[BareWorkflow],
        activities=[nothing],
        workflow_runner=runner,
        activity_task_poller_behavior=PollerBehaviorAutoscaling(initial=2, maximum=10),
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(initial=2, maximum=10),
    )


async def _run_bare(stage: Stage, queue: str) -> None:
    await stage.client.execute_workflow(
        BareWorkflow.run, ACTIVITIES, id=f"{queue}-{uuid.uuid4()}", task_queue=queue
    )


async def _run_one(stage: Stage) -> None:
    await run_job(stage)


async def run_job(stage: Stage) -> str:
    """Accept a job, start it as the API does, wait for its end."""
    job_id = new_id("job")
    async with stage.database.statement() as tx:  # one statement, as the API does it
        new = NewJob(job_id, "bench", _SPEC)
        await tx.acceptance.store([new], [_SPEC.model_dump(mode="json")], delay=_LATER)
        job = await tx.jobs.get(job_id)
    command = Command(id=0, job_id=job_id, kind="start", payload={}, attempts=1)
    await deliver(stage.client, command, job, stage.settings.jobs)
    await stage.client.get_workflow_handle(job_id).result()
    return job_id


async def _kinds(stage: Stage, job_id: str) -> Counter[str]:
    """How many events of each kind a job's history has."""
    history = await stage.client.get_workflow_handle(job_id).fetch_history()
    return Counter(EventType.Name(event.event_type) for event in history.events)


async def _rate(run: Callable[[], Awaitable[None]], count: int, in_flight: int) -> float:
    slots = asyncio.Semaphore(in_flight)

    async def one() -> None:
        async with slots:
            await run()

    started = time.monotonic()
    await asyncio.gather(*(one() for _ in range(count)))
    return count / (time.monotonic() - started)


def _table(rows: list[dict[str, float]], kinds: Counter[str], where: str, how_many: str) -> str:
    lines = [
        f"1. A job against a bare workflow of {ACTIVITIES} activities on {where} "
        f"({how_many}, one worker)",
        f"   a job: {kinds.total()} events, "
        f"{kinds['EVENT_TYPE_WORKFLOW_TASK_COMPLETED']} workflow tasks, "
        f"{kinds['EVENT_TYPE_ACTIVITY_TASK_SCHEDULED']} remote and "
        f"{kinds['EVENT_TYPE_MARKER_RECORDED']} local activities, "
        f"{kinds['EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES']} updates of search attributes",
        "   `bare` runs in the SDK's sandbox, as a user writes it; `raw` outside of it, as a job",
        "   round   bare/s    raw/s    job/s    job/bare    job/raw",
    ]
    for number, rate in enumerate(rows, start=1):
        lines.append(
            f"   {number:5d} {rate['bare']:8.1f} {rate['raw']:8.1f} {rate['job']:8.1f}"
            f" {rate['job'] / rate['bare']:11.2f} {rate['job'] / rate['raw']:10.2f}"
        )
    to_bare, to_raw = (
        statistics.median(rate["job"] / rate[other] for rate in rows) for other in ("bare", "raw")
    )
    lines.append(f"   median ratio {to_bare:.2f} (aim: 1.00 or more), to `raw` {to_raw:.2f}")
    return "\n".join(lines)
