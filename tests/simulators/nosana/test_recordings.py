"""The simulator, put into the world of each recording of the real service, answers alike.

Each case is one test: the books are set as the recording's world was, the recorded request is sent,
and status, headers that matter and body are compared. Ids, times and the closed service's `/api` in
front are left out of it; every other difference is named in `OTHERWISE`, and what the simulator has
no route for in `NOT_SERVED`.
"""

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from simulators.nosana.replies import VAULT
from simulators.nosana.state import Status, address
from tests.providers.nosana.conftest import Sim
from tests.simulators.nosana.support import (
    RECORDINGS,
    add,
    add_run,
    answered,
    body,
    cursor,
    end,
    filled_up,
    marked,
    played,
    renamed,
    said,
    until,
    with_command,
    without,
)
from tests.support.recordings import Answer, Recording, needs

NOT_SERVED = {
    "auth-user-id-no-address": "wallets that sign: the service in front takes API keys instead",
    "events-none": "nobody here asks for events",
    "life-1-tasks": "nobody here asks for tasks",
    "life-5-tasks": "nobody here asks for tasks",
    "results-post-again": "a node's own call; the simulator's nodes are inside it",
    "results-post-bad-body": "a node's own call",
    "results-post-over-1-mib": "a node's own call; what comes of it is in lost-over-1-mib",
    "results-post-unknown-job": "a node's own call",
    "results-post-wrong-node": "a node's own call",
    "job-completed-result-on-ipfs": "results that only IPFS has: the recording's own is no result",
    "job-result-two-ops-first-fails": "one operation is run; the adapter sends no second one",
    "job-result-results-from-logs": "patterns over logs, which the adapter never sends",
}
"""Cases without a counterpart, and why none is needed."""

OTHERWISE: dict[str, tuple[str, str]] = {
    "job-result-no-newline-at-the-end": (
        "jobResult.opStates.0.logs.1.log",
        "the runtime behind the simulator keeps lines: a last one without a newline gets one",
    ),
}
"""Where in the body another value stands, and why that cannot matter."""


def alike(seen: Answer, wanted: Recording) -> None:
    answer = wanted.answer
    assert seen.status == answer.status
    assert seen.header("content-type") == answer.header("content-type")
    path = OTHERWISE.get(wanted.case, ("", ""))[0]
    one, other = body(seen), body(answer)
    if path:
        one, other = without(one, path), without(other, path)
    assert one == other


def cases(*starts: str) -> list[str]:
    return [case for case in RECORDINGS if case.startswith(starts) and case not in NOT_SERVED]


pytestmark = needs("nosana")


def test_the_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """Every recording is compared, or named with the reason."""
    compared = {*cases("create", "state", "list"), *JOBS, *RESULTS, *ONE}
    assert compared | set(NOT_SERVED) == set(RECORDINGS)
    assert not compared & set(NOT_SERVED)
    with capsys.disabled():
        print(  # noqa: T201
            f"\nnosana: {len(RECORDINGS)} recordings and openapi.json; the simulator answers "
            f"{len(compared)} alike ({len(OTHERWISE)} with a named difference), "
            f"{len(NOT_SERVED)} have no counterpart"
        )


@pytest.mark.parametrize("case", cases("create"))
async def test_creation(sim: Sim, case: str) -> None:
    recording = played(case)
    if case.startswith("create-body"):
        size = RECORDINGS[case].raw["request"]["body"]["size"]
        recording = filled_up(recording, size)
    if case == "create-long-name":
        recording = renamed(recording, "n" * 10_000)
    alike(await answered(sim, recording, vault=VAULT), recording)


@pytest.mark.parametrize("case", cases("state"))
async def test_states(sim: Sim, case: str) -> None:
    recording = played(case)
    status = recording.world.removeprefix("deployment in status ")
    name = f"ctx-{status}-{case.rpartition('-')[2]}"
    made = add(sim, name, status)  # type: ignore[arg-type]
    alike(await answered(sim, recording, deployment=made.id), recording)
    after = recording.raw["status_after"]
    if after == "gone":
        assert made.deleted
        return
    # What has been started or stopped goes on by itself; the recorded service had no worker.
    passing = {"RUNNING": ("STARTING", "RUNNING"), "STOPPING": ("STOPPING", "STOPPED")}
    assert made.status in passing.get(after, (after,))


@pytest.mark.parametrize("case", cases("list"))
async def test_lists(sim: Sim, case: str) -> None:
    recording = played(case)
    if case != "list-other-owner":
        began = datetime.fromisoformat("2026-11-29T14:09:43.015Z")
        for number in range(23):
            name = f"ctx-{number:02}" if number % 2 else "ctx-same"
            state: Status = {5: "ARCHIVED", 6: "RUNNING"}.get(number, "DRAFT")  # type: ignore
            time = began + timedelta(milliseconds=20 * number)
            add(sim, name, state, created_at=time)
    query = recording.request.path
    if "cursor=" in query:
        query = await cursor(sim, case)
    recording = replace(recording, request=replace(recording.request, path=query))
    seen = await answered(sim, recording)
    alike(marked(seen), replace(recording, answer=marked(recording.answer)))


RESULTS: dict[str, dict[str, Any]] = {
    "job-result-success": {},
    "job-result-failing-command": {},
    "job-result-killed-137": {},
    "job-result-no-newline-at-the-end": {},
    "job-result-runtime-error": {"cmd": ["nosuch"]},
    "job-result-stopped-before-start": {"held": "start", "fate": "stopped"},
    "job-result-stopped-while-pulling": {"held": "pull", "fate": "stopped"},
    "job-result-stopped-while-running": {"fate": "stopped"},
    "job-result-expired-while-pulling": {"held": "pull", "fate": "expired"},
    "job-result-expired-while-running": {"fate": "expired"},
    "job-result-expired-term-handled": {"fate": "expired"},
    "job-result-host-quit-while-running": {"fate": "host_shut_down"},
    "job-result-lost-over-1-mib": {"cmd": ["sh", "-c", "head -c 1500000 /dev/zero | tr '\\0' x"]},
}
"""What happens to the job of each; the rest is the recording's own definition."""


@pytest.mark.parametrize("case", RESULTS)
async def test_results(sim: Sim, case: str) -> None:
    """The command is really run, and ended as it was there."""
    how, recording = RESULTS[case], RECORDINGS.get(case)
    assert recording is not None
    definition = (
        recording.raw.get("definition") or RECORDINGS["job-result-success"].raw["definition"]
    )
    definition = json.loads(json.dumps(definition))
    args = definition["ops"][0]["args"]
    args["cmd"] = how.get("cmd", args["cmd"])
    world = sim.world.network
    world.books.held_at = how.get("held")
    made = add(sim, "ctx-job", "STARTING", definition=definition, updated_at=sim.world.clock.now())
    (run,) = await until(lambda: [r for r in world.books.of(made.id) if r.state != "QUEUED"])
    if how.get("fate"):
        if not how.get("held"):
            await said(sim, run, "out")
        await end(sim, made, run, how["fate"])
    await until(lambda: run.final)
    wanted = played(case)
    names = {name: run.id for name in re.findall(r"<(job [^>]*)>", wanted.request.path)}
    seen = await answered(sim, wanted, deployment=made.id, **names)
    alike(seen, with_command(wanted, args["cmd"]))


JOBS = (
    "job-completed-without-result",
    "job-stopped-while-queued",
    "job-unknown",
    "jobs-by-state",
    "get-with-jobs",
)


@pytest.mark.parametrize("case", JOBS)
async def test_jobs(sim: Sim, case: str) -> None:
    recording = played(case)
    sim.world.network.books.offline = True  # nothing in a queue is taken
    sim.world.network.books.held_at = "pull"  # nor does what runs end
    status: Status = "DRAFT" if case == "get-with-jobs" else "RUNNING"
    owner = add(sim, "ctx-jobs", status)
    begun = {"node": address("node"), "time_start": 1795961284}
    over = {**begun, "time_end": 1795961344, "state": "COMPLETED"}
    queued = add_run(sim, owner)
    run = add_run(sim, owner, state="RUNNING", stage="pull", **begun)
    if "<job" in recording.request.path:
        run = add_run(sim, owner, **over)
        if case == "job-stopped-while-queued":
            run = add_run(sim, owner, state="STOPPED")
    if case in ("jobs-by-state", "get-with-jobs"):
        run = add_run(sim, owner, state="RUNNING", stage="pull", **begun)
        queued.listed_at -= timedelta(seconds=1)
    names = {name: run.id for name in re.findall(r"<(job [^>]*)>", recording.request.path)}
    if case == "job-unknown":
        names = {"other owner": address("other")}
    alike(await answered(sim, recording, deployment=owner.id, **names), recording)


ONE: dict[str, Status | None] = {
    "archive-then": "STOPPED",
    "archived-delete": "ARCHIVED",
    "archived-start": "ARCHIVED",
    "auth-bad-signature": None,
    "delete-stopped": "STOPPED",
    "delete-again": None,
    "get-deleted": None,
    "get-of-other-owner": None,
    "get-after-autostart": "RUNNING",
    "life-2-job-completed": "STOPPED",
    "life-4-stop-running": "RUNNING",
    "life-5-stopping": "STOPPING",
    "route-unknown": None,
    "start-unknown-deployment": None,
    "start-with-content-type": "DRAFT",
}
"""Single cases: the state of the deployment that is asked about; None: there is none."""


@pytest.mark.parametrize("case", ONE)
async def test_single_cases(sim: Sim, case: str) -> None:
    recording, status = played(case), ONE[case]
    name = {"get-after-autostart": "ctx-auto"}.get(case, "ctx-end")
    there = add(sim, name, status).id if status else address("nowhere")
    names = re.findall(r"<((?:deployment|other owner)[^>]*)>", recording.request.path)
    alike(await answered(sim, recording, **dict.fromkeys(names, there)), recording)


async def test_a_life_goes_through_the_recorded_states(sim: Sim) -> None:
    """Created with `autostart`, RUNNING before there is a job, STOPPED by itself after it."""
    seen = json.loads((await answered(sim, played("create-autostart"), vault=VAULT)).body or b"")
    assert seen["status"] == "STARTING"
    made = sim.world.network.books.deployments[seen["id"]]
    books = sim.world.network.books
    await until(lambda: made.status == "RUNNING")
    assert not books.of(made.id)
    await until(lambda: made.status == "STOPPED")
    assert [run.state for run in books.of(made.id)] == ["COMPLETED"]


async def test_too_little_credit_is_tried_again(sim: Sim) -> None:
    """INSUFFICIENT_FUNDS is no end: with credits the job is listed, and costs."""
    books = sim.world.network.books
    books.assigned = books.settled(0)
    made = add(sim, "ctx", "STARTING", updated_at=sim.world.clock.now())
    await until(lambda: made.status == "INSUFFICIENT_FUNDS")
    assert [lease.alive for lease in await sim.world.leases()] == [True]
    books.assigned += 50
    await until(lambda: made.status == "STOPPED")
    assert sum(bill.amount for bill in await sim.world.bill()) > 0
