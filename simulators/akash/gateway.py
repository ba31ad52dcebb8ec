"""The providers' gateways: status, logs, events and shells of leases."""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Header, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

from simulators.akash import answers
from simulators.akash.cluster import run_id, service_of
from simulators.akash.model import SimDeployment, SimLease
from simulators.akash.tokens import allows
from simulators.kit.runs import pullable

if TYPE_CHECKING:
    from simulators.akash.world import AkashWorld

_PAUSE = 0.1
_CHUNK = 32 * 1024
_INTERNAL, _NOT_FOUND = 4000, 4001
_STDOUT, _STDERR, _RESULT, _FAILURE = b"\x64", b"\x65", b"\x66", b"\x67"
# A command inside a container sees only its own processes. Here the first one is elsewhere.
_TERM_FIRST = re.compile(r"kill\s+(?:-s\s+)?-?(?:SIG)?TERM\s+1")


def router(world: "AkashWorld") -> APIRouter:
    made = APIRouter(prefix="/gateway/{provider}/lease/{dseq}/{gseq}/{oseq}")
    _status(made, world)
    _logs(made, world)
    _shell(made, world)
    return made


def _status(made: APIRouter, world: "AkashWorld") -> None:
    @made.get("/status")
    async def status(
        provider: str, dseq: str, oseq: int, authorization: str = Header(default="")
    ) -> Any:
        if not allows(authorization.removeprefix("Bearer "), provider, "status"):
            return JSONResponse({"message": "unauthorized"}, 401)
        found = _find(world, provider, dseq, oseq)
        if found is None or found[1].delivered_at is None:
            return JSONResponse({"message": "lease not found"}, 404)
        return await answers.lease_status(world, *found)


def _logs(made: APIRouter, world: "AkashWorld") -> None:
    @made.websocket("/logs")
    async def logs(
        socket: WebSocket,
        provider: str,
        dseq: str,
        oseq: int,
        follow: bool = False,
        tail: int | None = None,
    ) -> None:
        found = await _admitted(world, socket, "logs", (provider, dseq, oseq))
        if found is None:
            return
        try:
            await _send_logs(world, socket, found, follow=follow, tail=tail)
        except WebSocketDisconnect:
            return

    @made.websocket("/kubeevents")
    async def events(
        socket: WebSocket, provider: str, dseq: str, oseq: int, follow: bool = False
    ) -> None:
        found = await _admitted(world, socket, "events", (provider, dseq, oseq))
        if found is None:
            return
        try:
            for event in _events(*found):
                await socket.send_text(json.dumps(event))
            await socket.close()
        except WebSocketDisconnect:
            return


def _shell(made: APIRouter, world: "AkashWorld") -> None:
    @made.websocket("/shell")
    async def shell(socket: WebSocket, provider: str, dseq: str, oseq: int) -> None:
        found = await _admitted(world, socket, "shell", (provider, dseq, oseq))
        if found is None:
            return
        item, lease = found
        words: list[str] = []
        while (word := socket.query_params.get(f"cmd{len(words)}")) is not None:
            words.append(word)
        try:
            if not await world.cluster.ready(item, lease):
                await socket.send_bytes(_FAILURE + b"no such pod")
            else:
                await _run(world, socket, found, words)
            await socket.close()
        except WebSocketDisconnect:
            return


async def _admitted(
    world: "AkashWorld", socket: WebSocket, scope: str, place: tuple[str, str, int]
) -> tuple[SimDeployment, SimLease] | None:
    """The lease that is asked for; None where the connection was refused or closed."""
    provider, dseq, oseq = place
    known = world.book.providers.get(provider)
    if known is None or not known.online:
        await socket.send_denial_response(JSONResponse({"message": "bad gateway"}, 502))
        return None
    token = socket.headers.get("authorization", "").removeprefix("Bearer ")
    if not allows(token, provider, scope):
        await socket.send_denial_response(JSONResponse({"message": "unauthorized"}, 401))
        return None
    found = _find(world, provider, dseq, oseq)
    await socket.accept()
    if found is None or found[1].delivered_at is None:
        await socket.close(_NOT_FOUND, "lease not found")
        return None
    return found


def _find(
    world: "AkashWorld", provider: str, dseq: str, oseq: int
) -> tuple[SimDeployment, SimLease] | None:
    item = world.book.deployments.get(dseq)
    for lease in item.leases if item else ():
        if item and lease.live and lease.provider == provider and lease.oseq == oseq:
            return item, lease
    return None


async def _send_logs(
    world: "AkashWorld",
    socket: WebSocket,
    found: tuple[SimDeployment, SimLease],
    *,
    follow: bool,
    tail: int | None,
) -> None:
    """What the present container has printed; the log of an earlier one is gone."""
    item, lease = found
    pod, sent = lease.pod, 0
    name = f"{service_of(item)['name']}-{item.dseq[-8:]}-0"
    while True:
        live, view = lease.live, None
        if lease.started:
            view = await world.runs.state(run_id(item, lease))
        lines = await world.runs.lines(run_id(item, lease)) if view is not None else []
        if tail is not None and not sent:
            sent = max(0, len(lines) - tail)
        for line in lines[sent:]:
            await socket.send_text(json.dumps({"name": name, "message": line.text}))
        sent = len(lines)
        if not follow or not live or lease.pod != pod:
            break
        await asyncio.sleep(_PAUSE)
    await socket.close()


async def _run(
    world: "AkashWorld",
    socket: WebSocket,
    found: tuple[SimDeployment, SimLease],
    words: Sequence[str],
) -> None:
    item, lease = found
    if any(_TERM_FIRST.search(word) for word in words):
        await world.runs.signal(run_id(item, lease), "TERM")
        await socket.send_bytes(_RESULT + b'{"exit_code":0,"message":""}')
        return
    env = world.cluster.environment(item, lease)
    settings = [f"{name}={text}" for name, text in env.items()]
    done = await world.runs.execute(run_id(item, lease), ["env", *settings, *words])
    for kind, data in ((_STDOUT, done.stdout), (_STDERR, done.stderr)):
        for start in range(0, len(data), _CHUNK):
            await socket.send_bytes(kind + data[start : start + _CHUNK])
    result = {"exit_code": done.exit_code, "message": ""}
    await socket.send_bytes(_RESULT + json.dumps(result).encode())


def _events(item: SimDeployment, lease: SimLease) -> list[dict[str, Any]]:
    service = service_of(item)
    about = {"kind": "Pod", "namespace": "lease", "name": f"{service['name']}-0"}
    found = [("Normal", "Pulling", f'Pulling image "{service["image"]}"')]
    if not pullable(service["image"]):
        why = f'Failed to pull image "{service["image"]}": not found'
        found += [("Warning", "Failed", why), ("Normal", "BackOff", "Back-off pulling image")]
    elif lease.started:
        found.append(("Normal", "Started", f"Started container {service['name']}"))
    found += [
        ("Warning", "BackOff", "Back-off restarting failed container") for _ in lease.exits[-1:]
    ]
    return [
        {"type": kind, "reason": reason, "note": note, "object": about}
        for kind, reason, note in found
    ]
