"""Starting a container once and never again, whoever asks how often.

The engine would run an ended container a second time. So a worker first claims the start (see
`marks.py`); the others wait and see what becomes of it. A worker that dies between claim and
start delays the job by `STALE`, after which another one takes over.
"""

import asyncio
import time

from cortex.domain.leases import LeaseRef
from providers.docker.containers import Containers
from providers.docker.engine import EngineRefused
from providers.docker.marks import End, Marks
from providers.errors import LeaseLost, NoCapacity

STALE = 20.0
"""Seconds after which a claim without a start counts as abandoned."""
_START_TIMEOUT = 120.0
_PAUSE = 0.1


async def start_once(containers: Containers, marks: Marks, ref: LeaseRef) -> None:
    """Start the container, unless it has been started.

    Raises:
        LeaseLost: it is gone, or was cancelled.
        NoCapacity: the engine cannot start it.
        OutcomeUnknown: the answer to the start was lost.
    """
    turn = 1
    while True:
        box = await containers.inspect(ref.network_id)
        if box is None:
            raise gone(ref)
        if box.state.ran or not box.state.waiting:
            return
        asked = time.monotonic()
        claim = await marks.claim_start(ref.key, turn)
        # A claim of ours that took long to come may have been taken over meanwhile.
        if claim.won and time.monotonic() - asked < STALE / 2:
            await _start(containers, marks, ref)
            return
        end = await marks.end(ref.key)
        if end is not None:
            if end.cancelled:
                raise gone(ref)
            return
        if claim.age > STALE:
            turn += 1
        else:
            await asyncio.sleep(_PAUSE)


def gone(ref: LeaseRef) -> LeaseLost:
    return LeaseLost(f"the container of lease `{ref.key}` is gone")


async def _start(containers: Containers, marks: Marks, ref: LeaseRef) -> None:
    try:
        await containers.start(ref.network_id, _START_TIMEOUT)
    except EngineRefused as refused:
        code = command_exit_code(refused.message)
        if code is not None:
            await marks.put_end(ref.key, End(code, _command_message(refused.message)))
            return
        # Removed or started by somebody else meanwhile? Engines say that in many ways.
        box = await containers.inspect(ref.network_id)
        if box is None:
            raise gone(ref) from None
        if box.state.ran:
            return
        raise NoCapacity(
            f"the container engine could not start the container: {refused.message}"
        ) from None


def command_exit_code(message: str) -> int | None:
    """127 or 126, as a shell has it, if the start failed because of the job's own command."""
    text = message.lower()
    if "docker-init" in text or ("exec" not in text and "oci " not in text and not _cwd(text)):
        return None
    if "permission denied" in text or "exec format error" in text or "is a directory" in text:
        return 126
    missing = ("not found", "no such file or directory", "does not exist", "not a directory")
    return 127 if any(word in text for word in missing) else None


def _cwd(text: str) -> bool:
    return "workdir" in text or "chdir" in text


def _command_message(message: str) -> str:
    _, separator, tail = message.partition("exec: ")
    return f"the command could not be started: {tail if separator else message}"
