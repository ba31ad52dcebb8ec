"""The lives of jobs whose every boundary is broken, and how each must end."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import httpx

from cortex.client.errors import ApiError, ConnectionFailed
from cortex.embedded.simulators import provider_id
from tests.faults.books import Books
from tests.faults.crashpoints.stage import Role, Stage
from tests.support import eventually

_FOR_EVER: Final = 1_000_000
_OUTPUT: Final = "mkdir -p out; echo 42 > out/answer"


@dataclass(frozen=True)
class End:
    """How the job of a scenario must end."""

    state: str
    reason: str
    exit_code: int | None = None
    outputs: bool = False
    committed: int | None = 1
    """How many leases went live; None: any number."""


@dataclass(frozen=True)
class Scenario:
    """One life; it begins with a stage whose worker runs."""

    name: str
    networks: tuple[str, ...]
    play: Callable[[Stage], Awaitable[None]]
    ends: End | None = None
    api: bool = False
    victim: Role = "worker"
    settings: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[Stage], Awaitable[None]] | None = None
    """Comes before any process is started."""
    startup: bool = False
    """Whether the start of a worker counts as part of it: once per network is enough."""
    limit: float = 180.0
    """Seconds after which it is stuck: far more than it takes, also where many share a core."""


async def submits(stage: Stage, script: str = "exit 0", **fields: Any) -> str:
    """Submit one job; the rest happens by itself."""
    return await stage.submit(script, **fields)


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


async def persistently(stage: Stage, call: Callable[[], Awaitable[object]]) -> None:
    """Ask the API until it answers: it may have died."""

    async def answered() -> bool:
        try:
            await call()
        except ConnectionFailed:
            return False
        return True

    await eventually(answered, within=30, what="the API's answer")


async def cancelled(stage: Stage) -> None:
    job_id = await stage.submit("sleep 60")
    await stage.reaches(job_id, "running")
    assert stage.cortex is not None
    cortex = stage.cortex
    await persistently(stage, lambda: cortex.cancel(job_id))


async def extended(stage: Stage) -> None:
    job_id = await stage.submit("sleep 2", duration="5m")
    await stage.reaches(job_id, "running", "settling", "completed")
    assert stage.cortex is not None
    cortex = stage.cortex

    async def extend() -> None:
        try:
            await cortex.extend(job_id, timedelta(minutes=5))
        except ApiError as error:  # it was over before anybody could ask
            if error.code != "job_already_ended":
                raise

    await persistently(stage, extend)


async def out_of_time(stage: Stage) -> None:
    await stage.submit("sleep 60", duration="3s")


async def nosana_refuses_to_reserve(stage: Stage) -> None:
    await refuse(stage, "nosana", "POST /api/deployments/create", 402)


async def nosana_refuses_to_start(stage: Stage) -> None:
    await refuse(stage, "nosana", "POST /api/deployments/*/start", 400)


async def lost(stage: Stage) -> None:
    job_id = await stage.submit("sleep 2")
    await stage.reaches(job_id, "running")
    key = f"{job_id}-1"
    stage.lost.add(key)
    await act(stage, "nosana", "lose_lease", key=key)


def wrong_end(scenario: Scenario, stage: Stage, books: Books) -> Iterator[str]:
    """What is not as the scenario demands, beside the invariants."""
    end = scenario.ends
    if end is None:
        return
    for job in books.jobs:
        told = (job["state"], job["reason"], job["exit_code"])
        if told != (end.state, end.reason, end.exit_code):
            yield f"it ended {told}, and not {(end.state, end.reason, end.exit_code)}"
        live = [row for row in books.leases if row["job_id"] == job["id"] and row["committed_at"]]
        if end.committed is not None and len(live) != end.committed:
            yield f"{len(live)} leases went live, and not {end.committed}"
        kept = stage.folder / "data" / "outputs" / job["id"] / "out" / "answer"
        if end.outputs and not (kept.is_file() and kept.read_text() == "42\n"):
            yield "its outputs are gone"


DONE: Final = End("completed", "exited", 0)
WITH_OUTPUTS: Final = End("completed", "exited", 0, outputs=True)

SCENARIOS: Final = (
    Scenario("success on nosana", ("nosana",), plain_success, DONE, startup=True),
    Scenario("success on akash", ("akash",), success, WITH_OUTPUTS, startup=True),
    Scenario("success on golem", ("golem",), success, WITH_OUTPUTS, startup=True),
    Scenario("failure with a retry", ("nosana",), failure, End("failed", "exited", 3, committed=2)),
    Scenario(
        "cancel while it runs",
        ("nosana",),
        cancelled,
        End("cancelled", "cancelled"),
        api=True,
    ),
    Scenario("extend", ("nosana",), extended, DONE, api=True),
    Scenario("deadline", ("nosana",), out_of_time, End("failed", "deadline_exceeded")),
    Scenario(
        "fail-over: no reservation",
        ("nosana", "akash"),
        plain_success,
        DONE,
        before=nosana_refuses_to_reserve,
    ),
    Scenario(
        "fail-over: no commit",
        ("nosana", "akash"),
        plain_success,
        DONE,
        before=nosana_refuses_to_start,
    ),
    Scenario(
        "cancel, the API dies",
        ("nosana",),
        cancelled,
        End("cancelled", "cancelled"),
        api=True,
        victim="api",
    ),
)
A_BID: Final = Scenario("a bid on akash", ("akash",), plain_success, DONE)
"""For breaking the protocol on purpose."""
BY_NAME: Final = {scenario.name: scenario for scenario in (*SCENARIOS, A_BID)}
