"""The simulator, put into the world of each recording of the real service, answers alike.

Each case is one test: the books are set as the recording's world was, the recorded request is sent,
and status, headers that matter and body are compared. Ids, times and the closed service's `/api` in
front are left out of it; every other difference is named in `OTHERWISE`, and what the simulator has
no route for in `NOT_SERVED`.
"""

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from providers.conformance import eventually
from simulators.nosana import API_KEY
from simulators.nosana.replies import VAULT
from simulators.nosana.state import Books, Deployment, Run, Status, address
from tests.providers.nosana.conftest import Sim, simulated
from tests.support.recordings import Answer, Recording, ask, load, needs

T = TypeVar("T")
RECORDINGS = load("nosana")
MARKET = address("market", "nvidia-3060")
LATER = timedelta(hours=1)

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

_ID = re.compile(r"[1-9A-HJ-NP-Za-km-z]{43,44}|5{88}|[1-9A-HJ-NP-Za-km-z]{86,88}|[0-9a-f]{64}")
_HOST = re.compile(r"https://[1-9A-HJ-NP-Za-km-z]+\.node\.k8s\.(dev|prd)\.nos\.ci")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
_ANY_TIME = 1_700_000_000
_NO_NODE = "1" * 32


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sim]:
    async with simulated(tmp_path_factory.mktemp("nosana")) as running:
        yield running


@pytest.fixture
def sim(network: Sim) -> Sim:
    network.world.network.books = Books()
    return network


def played(case: str) -> Recording:
    """The recording, asked of the service in front."""
    recording = RECORDINGS[case]
    bearer = "wrong" if case == "auth-bad-signature" else API_KEY
    headers = tuple(pair for pair in recording.request.headers if pair[0] == "content-type")
    headers += (("authorization", f"Bearer {bearer}"),)
    path = "/api" + recording.request.path
    return replace(recording, request=replace(recording.request, path=path, headers=headers))


async def answered(sim: Sim, recording: Recording, **ids: str) -> Answer:
    values = {f"<{name}>": value for name, value in {"market": MARKET, **ids}.items()}
    body = recording.request.body
    for name, value in {"<other owner>": address("other"), **values}.items():
        body = body.replace(name.encode(), value.encode()) if body else body
    asked = replace(recording.request, body=body)
    return await ask(
        sim.url, replace(recording.filled(values), request=asked).filled(values).request
    )


def add(sim: Sim, name: str = "ctx-job_1", status: Status = "DRAFT", **fields: Any) -> Deployment:
    """A deployment in a state that does not pass by itself while the test looks."""
    now = sim.world.clock.now()
    definition = {
        "version": "0.1",
        "type": "container",
        "ops": [
            {
                "type": "container/run",
                "id": "job",
                "args": {"image": "registry.invalid/job:1", "cmd": ["sh", "-c", "echo hello"]},
            }
        ],
    }
    books = sim.world.network.books
    made = Deployment(
        **{
            "id": address(name, len(books.deployments), now),
            "name": name,
            "market": MARKET,
            "status": status,
            "timeout": 60,
            "strategy": "SIMPLE",
            "definition": definition,
            "created_at": now,
            "updated_at": now + LATER,
            **fields,
        }
    )
    books.deployments[made.id] = made
    return made


def add_run(sim: Sim, owner: Deployment, **fields: Any) -> Run:
    run = Run(
        **{
            "id": address("run", owner.id, len(sim.world.network.books.runs)),
            "deployment": owner.id,
            "market": MARKET,
            "hourly": "0.07",
            "listed_at": sim.world.clock.now(),
            **fields,
        }
    )
    sim.world.network.books.runs[run.id] = run
    return run


def plain(value: Any) -> Any:
    """Without ids, times and the order of fields."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in sorted(value.items())}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, int) and value > _ANY_TIME:
        return "<time>"
    if isinstance(value, str) and value != _NO_NODE:
        if value.startswith("<") and value.endswith(">") or _ID.fullmatch(value):
            return "<id>"
        return _TIME.sub("<time>", _HOST.sub("<host>", value)).replace("GET:/api/", "GET:/")
    return value


def body(answer: Answer) -> Any:
    if "json" in (answer.header("content-type") or ""):
        return plain(json.loads(answer.body or b"null"))
    return (answer.body or b"").decode()


def without(value: Any, path: str) -> Any:
    """A body with one value left out."""
    name, _, rest = path.partition(".")
    if isinstance(value, list):
        return [without(v, rest) if n == int(name) else v for n, v in enumerate(value)]
    if not rest:
        return {key: part for key, part in value.items() if key != name}
    return {key: without(part, rest) if key == name else part for key, part in value.items()}


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


def filled_up(recording: Recording, size: int) -> Recording:
    """With a body of this size: the recording names it only."""
    made = json.loads(RECORDINGS["create-draft"].request.body or b"")
    made["job_definition"]["ops"][0]["args"]["env"] = {"X": ""}
    made["job_definition"]["ops"][0]["args"]["env"]["X"] = "x" * (size - len(json.dumps(made)))
    return with_body(recording, made)


def renamed(recording: Recording, name: str) -> Recording:
    made = json.loads(RECORDINGS["create-draft"].request.body or b"")
    return with_body(recording, {**made, "name": name})


def with_body(recording: Recording, value: Mapping[str, Any]) -> Recording:
    asked = replace(recording.request, body=json.dumps(value).encode())
    return replace(recording, request=asked)


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


async def cursor(sim: Sim, case: str) -> str:
    """The recorded walk over the pages, with the simulator's own cursors."""
    first = json.loads((await answered(sim, played("list-default"))).body or b"")
    path = f"/api/deployments?cursor={first['pagination']['cursor_next']}"
    if case == "list-second-page":
        return path
    walk = replace(played(case), request=replace(played(case).request, path=path))
    second = json.loads((await answered(sim, walk)).body or b"")
    third = f"/api/deployments?cursor={second['pagination']['cursor_next']}"
    walk = replace(walk, request=replace(walk.request, path=third))
    last = json.loads((await answered(sim, walk)).body or b"")
    return f"/api/deployments?cursor={last['pagination']['cursor_prev']}"


def marked(answer: Answer) -> Answer:
    """With the cursors' form in their place: they hold the service's own ids."""
    content = json.loads(answer.body or b"")
    if "pagination" in content:
        for name in ("cursor_next", "cursor_prev"):
            value = content["pagination"][name]
            content["pagination"][name] = "a cursor" if value else None
    return replace(answer, body=json.dumps(content).encode())


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


async def end(sim: Sim, owner: Deployment, run: Run, fate: str) -> None:
    network = sim.world.network
    async with network.lock:
        if fate == "stopped":
            network.stop(owner)
        else:
            await network.end(run, fate)


async def said(sim: Sim, run: Run, text: str) -> None:
    async def has() -> bool:
        return any(line.text == text for line in await sim.world.runs.lines(run.id))

    await eventually(has, what=f"`{text}` in the log")


async def until(check: Callable[[], T]) -> T:
    async def look() -> T:
        return check()

    return await eventually(look)


def with_command(recording: Recording, cmd: list[str]) -> Recording:
    """With the job's own command: the results were recorded as those of another deployment."""
    content = json.loads(recording.answer.body or b"")
    content["jobDefinition"]["ops"][0]["args"]["cmd"] = cmd
    return replace(recording, answer=replace(recording.answer, body=json.dumps(content).encode()))


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
