"""What a killed supervisor may have left running: found, told from strangers, stopped."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from cortex.embedded.config import PortName
from cortex.embedded.ports import Listener, can_bind, listener, taken
from cortex.embedded.processes import ProcessMark, StopSteps, end_process
from cortex.embedded.service import Service

# Shorter than in an ordinary stop: everything here survives a crash by design.
_STEPS: dict[str, StopSteps] = {
    "postgres": ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0)),
    "temporal": ((signal.SIGTERM, 8.0),),
}
_OTHER_STEPS: StopSteps = ((signal.SIGTERM, 5.0),)
# A port may stay taken for a moment after its process, with all its threads, has ended (seconds).
_CLOSING = 2.0
_LAST = ("temporal", "postgres")


async def stop_leftovers(run_dir: Path) -> list[str]:
    """Stop the processes of an earlier supervisor, by their pid files; their names.

    Only a process with the recorded start time and command line is touched. To be called with the
    lock held, when no supervisor runs. Jobs of the local provider have sessions of their own and
    no pid file here: they go on.
    """
    leftovers = _leftovers(run_dir)
    first = [name for name in leftovers if name not in _LAST]
    for names in (first, [name for name in _LAST if name in leftovers]):
        await asyncio.gather(*(_end(name, leftovers[name], run_dir) for name in names))
    return sorted(leftovers)


async def clear_ports(services: Iterable[Service]) -> None:
    """See to it that the services can listen.

    A process on the port with our data folder in its command line is an orphan without a pid file,
    and stopped. Any other is left alone.

    Raises:
        PortTaken: a stranger listens on one of the ports; the text names it.
    """
    for service in services:
        for name, port in service.ports:
            await _clear_port(service, name, port)


async def _clear_port(service: Service, name: PortName, port: int) -> None:
    deadline = time.monotonic() + _CLOSING
    while not can_bind(port, service.host):
        who = await asyncio.to_thread(listener, port)
        if who is not None and _is_ours(service, who):
            with contextlib.suppress(psutil.NoSuchProcess):
                steps = _STEPS.get(service.name, _OTHER_STEPS)
                await end_process(psutil.Process(who.pid), steps)
        elif who is not None or time.monotonic() > deadline:
            raise taken(name, port, who)
        else:
            await asyncio.sleep(0.1)


def _is_ours(service: Service, who: Listener) -> bool:
    """Only a command line that names our data folder proves it."""
    telling = service.folder is not None and service.marker.startswith(str(service.folder))
    return telling and service.marker in who.command


def _leftovers(run_dir: Path) -> dict[str, psutil.Process]:
    leftovers: dict[str, psutil.Process] = {}
    for path in sorted(run_dir.glob("*.pid")):
        if path.stem == "supervisor":
            continue
        mark = ProcessMark.read(path)
        if mark and (process := mark.find()):
            leftovers[path.stem] = process
        else:
            path.unlink(missing_ok=True)
    return leftovers


async def _end(name: str, process: psutil.Process, run_dir: Path) -> None:
    await end_process(process, _STEPS.get(name, _OTHER_STEPS))
    (run_dir / f"{name}.pid").unlink(missing_ok=True)
