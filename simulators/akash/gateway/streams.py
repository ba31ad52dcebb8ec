"""Logs and events of a lease over WebSocket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from websockets.frames import Opcode

from simulators.akash.gateway.pods import KubeTrouble, Place, Pod, check, kube_events, pods_of
from simulators.akash.gateway.replies import go_json, text
from simulators.kit.raw import Answer, Reply, Request, Session

if TYPE_CHECKING:
    from simulators.akash.world import AkashWorld

_PAUSE = 0.1
_BUFFER = 1024
_MAX_LINE = 64 * 1024
_NOT_FOUND, _INTERNAL = 4001, 4000
_BOOLS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


def logs(world: "AkashWorld", place: Place | None, request: Request) -> Answer:
    """The lines of the pods' present containers, each as one message."""
    query = request.query
    follow, bad = _flag(query.get("follow", "false"))
    tail = query.get("tail", "-1")
    if bad is None and not tail.removeprefix("-").isdecimal():
        bad = text(400, f"strconv.ParseInt: parsing {json.dumps(tail)}: invalid syntax")
    services = query.get("service", "")
    if bad is None and services.endswith(","):
        bad = text(400, 'parameter "service" must not contain trailing comma')
    if bad is not None:
        return bad
    if not request.wants_socket:
        return _not_a_socket()
    wanted = [name for name in services.split(",") if name]

    async def stream(session: Session) -> None:
        async with _talking(world, session):
            pods = await _pods(world, place, wanted, session)
            if pods:
                assert place is not None
                await _send_logs(world, session, place, pods, follow=follow, tail=int(tail))

    return stream


def events(world: "AkashWorld", place: Place | None, request: Request) -> Answer:
    """What Kubernetes reports; with `service`, what carries its label, and nothing does."""
    follow, bad = _flag(request.query.get("follow", "false"))
    if bad is not None:
        return bad
    if not request.wants_socket:
        return _not_a_socket()

    async def stream(session: Session) -> None:
        async with _talking(world, session):
            if place is None:
                await session.close(_NOT_FOUND)
                return
            try:
                check(place)
            except KubeTrouble as trouble:
                await session.close(trouble.close)
                return
            sent = 0
            while True:
                known = (
                    []
                    if request.query.get("service")
                    else kube_events(place.deployment, place.lease)
                )
                for event in known[sent:]:
                    await message(session, go_json(event) + b"\n")
                sent = len(known)
                if not follow or not place.lease.live:
                    break
                await asyncio.sleep(_PAUSE)
            await session.close(1000)

    return stream


async def message(session: Session, data: bytes) -> None:
    """A text message as gorilla/websocket writes it from a buffer of 1 KiB.

    What is longer than two buffers goes out at once, and an empty frame ends it.
    """
    # The buffer has room for the longest head of a frame beside what it holds.
    if len(data) > 2 * (_BUFFER + 14):
        await session.send(Opcode.TEXT, data, fin=False)
        await session.send(Opcode.CONT, b"")
        return
    opcode = Opcode.TEXT
    while len(data) > _BUFFER:
        await session.send(opcode, data[:_BUFFER], fin=False)
        data, opcode = data[_BUFFER:], Opcode.CONT
    await session.send(opcode, data)


@asynccontextmanager
async def pinging(world: "AkashWorld", session: Session) -> AsyncIterator[None]:
    """A ping each ten seconds; nobody looks for the pongs."""

    async def ping() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await asyncio.sleep(world.settings.ping_every)
                await session.send(Opcode.PING, b"")

    task = asyncio.create_task(ping())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _talking(world: "AkashWorld", session: Session) -> AsyncIterator[None]:
    """Until the work is done or the client goes; a close frame of the client's is echoed."""
    work = asyncio.current_task()
    assert work is not None
    left = False

    async def listen() -> None:
        nonlocal left
        async for frame in session.frames():
            if frame.opcode is Opcode.CLOSE:
                code = int.from_bytes(frame.data[:2], "big") if frame.data else 1000
                with contextlib.suppress(ConnectionError):
                    await session.close(code)
                break
        left = True
        work.cancel()

    task = asyncio.create_task(listen())
    try:
        async with pinging(world, session):
            yield
    except asyncio.CancelledError:
        if not left:
            raise
        work.uncancel()
    except ConnectionError:
        pass
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await session.end()


async def _pods(
    world: "AkashWorld", place: Place | None, wanted: list[str], session: Session
) -> list[Pod]:
    """The pods whose logs can be read; none where the session was closed instead."""
    if place is None:
        await session.close(_NOT_FOUND)
        return []
    try:
        check(place)
    except KubeTrouble as trouble:
        await session.close(trouble.close)
        return []
    pods = [pod for pod in pods_of(world, place) if not wanted or pod.service in wanted]
    if not pods:
        await session.close(_INTERNAL, "no running pods")
    elif any(pod.log is None for pod in pods):  # the container is being made, or has no image
        await session.close(_INTERNAL)
        return []
    return pods


async def _send_logs(
    world: "AkashWorld", session: Session, place: Place, pods: list[Pod], *, follow: bool, tail: int
) -> None:
    turn = place.lease.pod

    async def goes_on() -> bool:
        live = place.lease.live and place.lease.pod == turn
        return live and await world.cluster.ready(place.deployment, place.lease)

    left = world.gateways.breaks_after() if tail < 0 else None
    if follow:
        await asyncio.gather(*(_copy(session, pod, tail, goes_on, left) for pod in pods))
        return
    for pod in pods:
        await _copy(session, pod, tail, None, left)


async def _copy(
    session: Session,
    pod: Pod,
    tail: int,
    goes_on: Callable[[], Awaitable[bool]] | None,
    left: int | None,
) -> None:
    """One pod's log to its end, or `left` lines of it.

    A line of 64 KiB ends the reading, and nobody is told.
    """
    assert pod.log is not None
    if tail == 0 and goes_on is None:
        return
    rest, place = b"", await asyncio.to_thread(_start, pod.log, tail)
    while True:
        more = goes_on is not None and await goes_on()
        data = await asyncio.to_thread(_read, pod.log, place)
        place += len(data)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if len(line) >= _MAX_LINE or left == 0:
                return
            await _line(session, pod, line)
            left = left - 1 if left is not None else None
        if len(rest) >= _MAX_LINE:
            return
        if not more and not data:
            break
        if not data:
            await asyncio.sleep(_PAUSE)
    if rest:
        await _line(session, pod, rest)


async def _line(session: Session, pod: Pod, raw: bytes) -> None:
    said = raw.removesuffix(b"\r").decode(errors="surrogateescape")
    await message(session, go_json({"name": pod.name, "message": said}) + b"\n")


def _start(log: Path, tail: int) -> int:
    """Where the last lines begin."""
    if tail < 0:
        return 0
    data = log.read_bytes() if log.exists() else b""
    place = len(data)
    if tail == 0:
        return place
    place -= 1 if data.endswith(b"\n") else 0
    for _ in range(tail):
        place = data.rfind(b"\n", 0, place)
        if place < 0:
            return 0
    return place + 1


def _read(log: Path, place: int) -> bytes:
    if not log.exists():
        return b""
    with log.open("rb") as file:
        file.seek(place)
        return file.read(1 << 20)


def _flag(word: str) -> tuple[bool, Reply | None]:
    flag = _BOOLS.get(word.lower() if word.upper() == word or word.istitle() else word)
    if flag is None:
        return False, text(400, f"strconv.ParseBool: parsing {json.dumps(word)}: invalid syntax")
    return flag, None


def _not_a_socket() -> Reply:
    reply = text(400, "Bad Request")
    kind, *rest = reply.headers
    return Reply(400, reply.body, (kind, ("Sec-Websocket-Version", "13"), *rest))
