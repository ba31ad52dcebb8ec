"""What the supervisor knows about one child: how it starts, when it is ready, how it ends."""

import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cortex.embedded.config import PortName
from cortex.embedded.processes import StopSteps

Phase = Literal["starting", "ready", "died", "restarting", "failed", "stopping", "stopped", "note"]


@dataclass(frozen=True)
class StackEvent:
    """Something happened to one part of the stack (or to the `stack` as a whole)."""

    name: str
    phase: Phase
    detail: str = ""


OnEvent = Callable[[StackEvent], None]


@dataclass(frozen=True)
class ServiceUser:
    """The system user a child runs as, when we are root and it must not be."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Service:
    """A long-running child.

    Attributes:
        name: Also the name of its pid file and log file.
        marker: A part of its command line that tells it from others.
        ready: Polled with its pid until true, while the process runs.
        env: Its whole environment.
        ready_file: Made by the service when it is ready; removed before each start.
        needs: Names of services and tasks that must be ready before.
        ports: What it listens on, to check before it is started.
        host: The address of those ports.
        folder: Where its data is, for the message when the disk is full.
        prepare: Run before each start; makes what is missing.
        user: The system user it runs as; None: ours.
        stop: Signals and how long each is given, in seconds; SIGKILL follows by itself.
        death_signal: What it gets when the supervisor dies (Linux).
        ready_timeout: Seconds.
    """

    name: str
    argv: tuple[str, ...]
    marker: str
    ready: Callable[[int], Awaitable[bool]]
    env: Mapping[str, str] = field(repr=False)
    ready_file: Path | None = None
    needs: tuple[str, ...] = ()
    ports: tuple[tuple[PortName, int], ...] = ()
    host: str = "127.0.0.1"
    folder: Path | None = None
    cwd: Path | None = None
    prepare: Callable[[], Awaitable[None]] | None = None
    user: ServiceUser | None = None
    stop: StopSteps = ((signal.SIGTERM, 30.0),)
    death_signal: signal.Signals = signal.SIGTERM
    ready_timeout: float = 60.0


@dataclass(frozen=True)
class SetupTask:
    """A step that runs to its end between services, such as the migrations."""

    name: str
    run: Callable[[], Awaitable[None]]
    needs: tuple[str, ...] = ()


Part = Service | SetupTask
