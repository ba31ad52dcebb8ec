"""What happens to the jobs of the scenarios: who submits, changes and disturbs them."""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import httpx
from temporalio.service import RPCError

from cortex.client.errors import ApiError
from cortex.domain.money import Money
from cortex.domain.money.budgets import BudgetAction, BudgetPeriod
from cortex.embedded.simulators import provider_id
from cortex.temporal.contracts import (
    BUDGETS_WORKFLOW,
    RECONCILE_WORKFLOW,
    TASK_QUEUE,
    ReconcileInput,
)
from tests.faults.crashpoints.stage import Stage, answered
from tests.support import eventually

_FOR_EVER: Final = 1_000_000
_OUTPUT: Final = "mkdir -p out; echo 42 > out/answer"
TRIO: Final = ("akash", "nosana", "render")


async def sim(stage: Stage, network: str, method: str, path: str, body: Any) -> None:
    """Let something happen at a simulated network."""
    async with httpx.AsyncClient(base_url=stage.urls[provider_id(network)]) as http:
        (await http.request(method, f"/_sim/{path}", json=body)).raise_for_status()


async def refuse(stage: Stage, network: str, call: str, status: int) -> None:
    """From now on this network refuses a call, without any effect."""
    rule = {"match": call, "fault": "error_before", "status": status, "times": _FOR_EVER}
    await sim(stage, network, "PUT", "faults", [rule])


async def act(stage: Stage, network: str, action: str, **args: Any) -> None:
    """An action of a simulated world."""
    await sim(stage, network, "POST", "world", {"action": action, "args": args})


async def success(stage: Stage) -> None:
    await stage.submit(_OUTPUT, outputs=["out"])


async def plain_success(stage: Stage) -> None:
    await stage.submit("echo done")


async def on_this_machine(stage: Stage) -> None:
    await stage.submit(_OUTPUT, outputs=["out"], image=None)


async def failure(stage: Stage) -> None:
    await stage.submit("exit 3", retries={"on_failure": 1})


async def cancelled(stage: Stage) -> None:
    job_id = await stage.submit("sleep 60")
    await stage.reaches(job_id, "running")
    assert stage.cortex is not None
    cortex = stage.cortex
    await answered(lambda: cortex.cancel(job_id))


async def settled_by_force(stage: Stage) -> None:
    """Somebody ends a job that runs, and decides what it has cost."""
    job_id = await stage.submit("sleep 60")
    await stage.reaches(job_id, "running")
    stage.lost.add(f"{job_id}-1")  # its bill is not the network's
    assert stage.cortex is not None
    cortex = stage.cortex

    async def settle() -> None:
        try:
            await cortex.resolve(job_id, "settle", amount="2 USD", reason="test", force=True)
        except ApiError as error:
            if error.status != 409:  # it was accepted, and nobody heard the answer
                raise

    await answered(settle)


async def extended(stage: Stage) -> None:
    job_id = await stage.submit("sleep 2", duration="5m")
    await stage.reaches(job_id, "running", "settling", "completed")
    assert stage.cortex is not None
    cortex = stage.cortex

    async def extend() -> None:
        try:
            await cortex.extend(job_id, timedelta(minutes=5))
        except ApiError as error:
            if error.status != 409:  # it was over before anybody could ask
                raise

    await answered(extend)


async def out_of_time(stage: Stage) -> None:
    await stage.submit("sleep 60", duration="3s")


async def nosana_refuses_to_reserve(stage: Stage) -> None:
    await act(stage, "nosana", "drain_funds")


async def nosana_refuses_to_start(stage: Stage) -> None:
    await refuse(stage, "nosana", "POST /api/deployments/create", 402)


async def render_gives_a_dear_node(stage: Stage) -> None:
    """The next job there gets a node that costs more than its offer said."""
    await act(stage, "render", "assign_dearer")


async def lost(stage: Stage) -> None:
    """The first to run goes on until its lease is lost, however long that takes; the next ends."""
    first = stage.folder / "first"
    job_id = await stage.submit(f"[ -e {first} ] && exit 0; touch {first}; exec sleep 600")
    await stage.reaches(job_id, "running")

    async def begun() -> bool:  # a network may call it running before its command is
        return await asyncio.to_thread(first.exists)

    await eventually(begun, within=120, what="the command")
    key = f"{job_id}-1"
    stage.lost.add(key)
    await act(stage, "nosana", "lose_lease", key=key)


async def started(stage: Stage, workflow: str, argument: Any = None) -> None:
    """Start what otherwise a schedule starts, and wait for it, whoever has to finish it."""
    handle = await stage.client.start_workflow(
        workflow,
        args=[] if argument is None else [argument],
        id=f"by-hand:{uuid.uuid4().hex[:8]}",
        task_queue=TASK_QUEUE,
    )
    await handle.result()


async def until_over(stage: Stage, job_id: str, step: Callable[[], Awaitable[None]]) -> None:
    """Do something again and again until the job has ended."""

    async def ended() -> bool:
        await step()
        return await stage.state(job_id) in ("completed", "failed", "cancelled")

    await eventually(ended, within=120, what=f"the end of {job_id}")


async def over_its_budget(stage: Stage) -> None:
    """A budget comes when the job runs already, and is used up at once."""
    job_id = await stage.submit("sleep 60")
    await stage.reaches(job_id, "running")
    assert stage.cortex is not None
    cortex = stage.cortex
    amount = Money.model_validate("0.000000001 USD")
    day, stop = BudgetPeriod.DAY, BudgetAction.STOP
    await answered(lambda: cortex.create_budget("tight", amount, action=stop, period=day))
    await until_over(stage, job_id, lambda: started(stage, BUDGETS_WORKFLOW))


async def terminated(stage: Stage) -> None:
    """Somebody ends the workflow by hand; reconcile finds the job and finishes it."""
    job_id = await stage.submit("sleep 60")
    await stage.reaches(job_id, "running")
    with contextlib.suppress(RPCError):
        await stage.client.get_workflow_handle(job_id).terminate("by hand")
    reconcile = ReconcileInput(books=True, providers=(provider_id("nosana"),))
    await until_over(stage, job_id, lambda: started(stage, RECONCILE_WORKFLOW, reconcile))
    stage.workflows.append(f"rescue:{job_id}")


async def trio(stage: Stage) -> None:
    """A group of three over three networks."""
    await stage.submit_group(
        {
            "name": "trio",
            "policy": "all_or_nothing",
            "prepare_timeout": "60s",
            "jobs": [
                {
                    "name": name,
                    "command": ["sh", "-c", f"echo begun >> {stage.mark(name)}"],
                    "placement": {"providers": [provider_id(name)], "timeout": "2m"},
                }
                for name in TRIO
            ],
            "defaults": {
                "image": "busybox",
                "duration": "10m",
                "resources": {"cpu": "500m", "memory": "256Mi"},
            },
        }
    )
