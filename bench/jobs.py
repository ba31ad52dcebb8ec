"""How much a job costs over the bare Temporal workflow that it is made of.

Bare: a workflow of as many activities as a job has, which do nothing. Job: `JobWorkflow` on a
provider that does nothing, with its database transactions, events, ledger and delivery. Both run
on the same servers with one worker in this process, in turns, so that the machine's mood hits
both alike.
"""

import asyncio
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio.worker import PollerBehaviorAutoscaling, Worker

from bench.bare import BareWorkflow, nothing
from bench.stage import Stage, open_stage
from cortex.db.jobs.repository import NewJob
from cortex.db.outbox.commands import Command
from cortex.domain.ids import new_id
from cortex.domain.spec import JobSpec
from cortex.temporal.outbox.deliver import deliver

_QUEUE = "bare"
_SPEC = JobSpec(command=("true",))
_LATER = timedelta(hours=1)


async def measure(*, rounds: int, per_round: int, in_flight: int) -> str:
    """Both rates and their ratio, as a table."""
    async with open_stage({}) as stage, stage.worker():
        worker = Worker(
            stage.client,
            task_queue=_QUEUE,
            workflows=[BareWorkflow],
            activities=[nothing],
            activity_task_poller_behavior=PollerBehaviorAutoscaling(initial=2, maximum=10),
            workflow_task_poller_behavior=PollerBehaviorAutoscaling(initial=2, maximum=10),
        )
        async with worker:
            job_id = await _job(stage)
            activities = await _activities(stage, job_id)

            async def bare() -> None:
                await stage.client.execute_workflow(
                    BareWorkflow.run, activities, id=f"bare-{uuid.uuid4()}", task_queue=_QUEUE
                )

            async def job() -> None:
                await _job(stage)

            await _rate(bare, 20, in_flight)
            await _rate(job, 20, in_flight)
            pairs = [
                (await _rate(bare, per_round, in_flight), await _rate(job, per_round, in_flight))
                for _ in range(rounds)
            ]
    return _table(pairs, activities, per_round, in_flight)


async def _job(stage: Stage) -> str:
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


async def _activities(stage: Stage, job_id: str) -> int:
    history = await stage.client.get_workflow_handle(job_id).fetch_history()
    # A local activity leaves a marker.
    return sum(
        event.HasField("activity_task_scheduled_event_attributes")
        or event.HasField("marker_recorded_event_attributes")
        for event in history.events
    )


async def _rate(run: Callable[[], Awaitable[None]], count: int, in_flight: int) -> float:
    slots = asyncio.Semaphore(in_flight)

    async def one() -> None:
        async with slots:
            await run()

    started = time.monotonic()
    await asyncio.gather(*(one() for _ in range(count)))
    return count / (time.monotonic() - started)


def _table(
    pairs: list[tuple[float, float]], activities: int, per_round: int, in_flight: int
) -> str:
    lines = [
        f"1. A job against a bare workflow of {activities} activities "
        f"({per_round} each per round, {in_flight} in flight, one worker)",
        "   round   bare/s    job/s    ratio",
    ]
    for number, (bare, job) in enumerate(pairs, start=1):
        lines.append(f"   {number:5d} {bare:8.1f} {job:8.1f} {job / bare:8.2f}")
    ratio = statistics.median(job / bare for bare, job in pairs)
    lines.append(f"   median ratio {ratio:.2f} (aim: 0.70 or more)")
    return "\n".join(lines)
