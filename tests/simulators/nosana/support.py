"""Recordings of Nosana, asked of the simulator; its books, set as they were there."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from providers.conformance import eventually
from simulators.nosana import API_KEY
from simulators.nosana.state import Deployment, Run, Status, address
from tests.providers.nosana.conftest import Sim
from tests.support.recordings import Answer, Recording, ask, load

T = TypeVar("T")
RECORDINGS = load("nosana")
MARKET = address("market", "nvidia-3060")
LATER = timedelta(hours=1)

# A key of 32 bytes has 43 or 44 digits of base 58, and one in a thousand fewer: leading zeros.
_ID = re.compile(r"[1-9A-HJ-NP-Za-km-z]{40,44}|5{88}|[1-9A-HJ-NP-Za-km-z]{86,88}|[0-9a-f]{64}")
_HOST = re.compile(r"https://[1-9A-HJ-NP-Za-km-z]+\.node\.k8s\.(dev|prd)\.nos\.ci")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
_ANY_TIME = 1_700_000_000
_NO_NODE = "1" * 32


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
