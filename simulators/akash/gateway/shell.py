"""Commands in containers: frames whose first byte says what they are, and the result frame.

Whatever keeps a command from running, the result says `exit_code` 0, often with a `message` and
sometimes without: so it was recorded of the real gateway.
"""

import asyncio
import contextlib
import os
import re
from typing import TYPE_CHECKING, Any

from websockets.frames import Opcode

from simulators.akash.cluster import run_id
from simulators.akash.gateway.pods import KubeTrouble, Place, check, pods_of
from simulators.akash.gateway.replies import empty, go_json
from simulators.akash.gateway.streams import pinging
from simulators.kit.raw import Answer, Request, Session

if TYPE_CHECKING:
    from simulators.akash.world import AkashWorld

_STDOUT, _STDERR, _RESULT, _FAILURE, _STDIN = b"\x64", b"\x65", b"\x66", b"\x67", 0x68
_CHUNK = 32 * 1024
_PREFIX = "remote command execute error: "
_NOT_RUNNING = f"{_PREFIX}service with that name is not running"
_NO_COMMAND = f"{_PREFIX}command could not be executed because it does not exist"
_FAILED = f"{_PREFIX}command execution failed"
# A command inside a container sees only its own processes. Here the first one is elsewhere.
_FIRST = re.compile(r"(kill\s+(?:-s\s+)?-?(?:SIG)?TERM\s+)1\b")


def shell(world: "AkashWorld", place: Place | None, request: Request) -> Answer:
    """Run a command in the container of a pod."""
    query = request.query
    words: list[str] = []
    while word := query.get(f"cmd{len(words)}"):  # an empty one cuts the command off
        words.append(word)
    numbers = [query.get(name, "") for name in ("tty", "stdin", "podIndex")]
    if not words or not query.get("service") or not all(map(str.isdecimal, numbers)):
        return empty(400)
    tty, stdin, index = (int(number) for number in numbers)

    async def stream(session: Session) -> None:
        with contextlib.suppress(ConnectionError):
            async with pinging(world, session):
                why = await _obstacle(world, place, query["service"], index)
                if why is _GONE:
                    await session.send(Opcode.BINARY, _FAILURE)
                elif why is not None or place is None:
                    await _result(session, 0, why or "")
                else:
                    command = _Command(world, place, words, tty=bool(tty))
                    await command.run(session, takes_input=bool(stdin))
        await session.end()

    return stream


_GONE = "\0gone"


async def _obstacle(
    world: "AkashWorld", place: Place | None, service: str, index: int
) -> str | None:
    """Why the command cannot run: the message of the result, which may be empty."""
    if place is None:
        return ""
    try:
        check(place)
    except KubeTrouble:
        return ""
    pods = pods_of(world, place)
    if service not in {pod.service for pod in pods} and pods:
        return "kube: no service for that lease"
    kube = place.lease.kube
    told_ready = kube in ("no-pods", "pod-failed", "pod-gone", "runtime-error")
    if not told_ready and (
        kube == "not-ready" or not await world.cluster.ready(place.deployment, place.lease)
    ):
        return "no active replicase for service"
    if not pods:
        return _NOT_RUNNING
    if pods[0].failed:
        return f"{_NOT_RUNNING}: the service has failed"
    if index >= len(pods):
        return f"{_PREFIX}pod index out of range: valid range is [0, {len(pods) - 1}]"
    return {"pod-gone": _GONE, "runtime-error": _FAILED}.get(kube)


async def _result(session: Session, code: int, message: str) -> None:
    body: dict[str, Any] = {"exit_code": code}
    if message:
        body["message"] = message
    await session.send(Opcode.BINARY, _RESULT + go_json(body) + b"\n")


class _Command:
    """A command on its way."""

    def __init__(self, world: "AkashWorld", place: Place, words: list[str], *, tty: bool) -> None:
        self._world = world
        self._place = place
        self._words = words
        self._tty = tty

    async def run(self, session: Session, *, takes_input: bool) -> None:
        try:
            process = await self._start(takes_input)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            await _result(session, 0, _NO_COMMAND)
            return
        copies = [asyncio.create_task(self._copy(session, process.stdout, _STDOUT))]
        if process.stderr is not None:
            copies.append(asyncio.create_task(self._copy(session, process.stderr, _STDERR)))
        feeder = asyncio.create_task(self._feed(session, process)) if takes_input else None
        try:
            await asyncio.gather(*copies)
            code = await process.wait()
        finally:
            for task in (*copies, *([feeder] if feeder else [])):
                task.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()
        await _result(session, code if code >= 0 else 128 - code, "")

    async def _start(self, takes_input: bool) -> asyncio.subprocess.Process:
        world, place = self._world, self._place
        run = run_id(place.deployment, place.lease)
        first = await world.runs.main_process(run)
        words = [_FIRST.sub(rf"\g<1>{first or 2**22}", word) for word in self._words]
        usual = {"PATH": os.defpath + ":/usr/local/bin:/usr/sbin", "HOME": "/"}
        return await asyncio.create_subprocess_exec(
            *words,
            cwd=world.runs.folder(run),
            env={**usual, **world.cluster.environment(place.deployment, place.lease)},
            stdin=asyncio.subprocess.PIPE if takes_input else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT if self._tty else asyncio.subprocess.PIPE,
        )

    @staticmethod
    async def _copy(session: Session, source: asyncio.StreamReader | None, kind: bytes) -> None:
        while source is not None and (data := await source.read(_CHUNK)):
            await session.send(Opcode.BINARY, kind + data)

    @staticmethod
    async def _feed(session: Session, process: asyncio.subprocess.Process) -> None:
        """The client is listened to only where it may have something to say to the command."""
        async for frame in session.frames():
            if frame.opcode is Opcode.CLOSE:
                break
            if frame.opcode is Opcode.BINARY and frame.data[:1] == bytes([_STDIN]):
                assert process.stdin is not None
                process.stdin.write(bytes(frame.data[1:]))
                await process.stdin.drain()
        if process.returncode is None:
            process.kill()
