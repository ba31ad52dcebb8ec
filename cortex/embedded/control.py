"""The stack from outside: start it in the background, stop it, ask how it is."""

import asyncio
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from cortex.embedded.config import StackConfig, read_stack_file
from cortex.embedded.errors import StackError
from cortex.embedded.files import cortex_on, disk_warning, last_lines, open_log
from cortex.embedded.leftovers import stop_leftovers
from cortex.embedded.processes import ProcessMark, end_process, memory_of, wait_exit
from cortex.embedded.service import OnEvent, Phase, StackEvent
from cortex.embedded.simulators import service_name
from cortex.embedded.state import StackState, stack_lock, supervisor_of

_POLL = 0.1
_NO_PROCESS = ("stack", "database", "migrations", "disk")
# The worker's graceful shutdown, then Temporal, then PostgreSQL.
_STOP_TIMEOUT = 90.0


@dataclass(frozen=True)
class StackInfo:
    """A running stack, for clients."""

    data_dir: Path
    pid: int
    ready: bool
    api_url: str
    api_key: str = field(repr=False)
    temporal_address: str
    temporal_ui_url: str

    @property
    def docs_url(self) -> str:
        return f"{self.api_url}/docs"


@dataclass(frozen=True)
class ProcessStatus:
    """One process of the stack; without a pid it does not run now.

    Attributes:
        memory: Bytes in memory of it and its children; shared pages count once where known.
        uptime: Seconds.
        restarts: How often the supervisor had to start it again.
    """

    name: str
    phase: Phase | Literal["running"]
    pid: int | None = None
    uptime: float = 0.0
    memory: int = 0
    restarts: int = 0
    detail: str = ""
    ports: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StackStatus:
    """What `cortex status` shows. Without a supervisor, the processes listed are left over."""

    data_dir: Path
    running: bool
    ready: bool
    supervisor: ProcessStatus | None
    processes: tuple[ProcessStatus, ...]
    links: dict[str, str]
    error: str = ""
    warning: str = ""


async def detach(
    config: StackConfig, *, on_event: OnEvent | None = None, timeout: float = 180.0
) -> StackInfo:
    """Start the stack in the background and wait until it is ready.

    If one runs on this data folder already, that one is waited for and returned.

    Args:
        config: The stack.
        on_event: Told what the background supervisor reports.
        timeout: Seconds.

    Raises:
        StackError: it could not start; with the reason that its supervisor gave.
    """
    watcher = _Watcher(config, on_event)
    if supervisor_of(config.data_dir) is not None:
        _refuse_other_parts(config)
    else:
        config.save_new()
        watcher.process = _spawn_supervisor(config)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        info = watcher.look()
        if info is not None:
            return info
        await asyncio.sleep(_POLL)
    raise StackError(
        f"The stack was not ready within {timeout:.0f} s; it goes on starting. "
        f"See {config.logs_dir}, `{cortex_on(config.data_dir)} status`, "
        f"and `{cortex_on(config.data_dir)} down` to stop it."
    )


async def stop_stack(data_dir: Path, *, timeout: float = _STOP_TIMEOUT) -> bool:
    """Stop the stack of this data folder, and what a dead supervisor left of it.

    Args:
        data_dir: Its folder.
        timeout: Seconds for the orderly way; after it, the hard way.

    Returns:
        Whether anything ran.
    """
    run_dir = _existing_run_dir(data_dir)
    if run_dir is None:
        return False
    mark = supervisor_of(run_dir.parent)
    process = mark.find() if mark else None
    if process is not None:
        process.terminate()
        if not await wait_exit(process, timeout):
            await end_process(process, ((signal.SIGTERM, 10.0),))
    with stack_lock(run_dir):
        left = await stop_leftovers(run_dir)
    return process is not None or bool(left)


def find_running(data_dir: Path) -> StackInfo | None:
    """The stack that runs on this data folder, ready or still starting; None if none does."""
    data_dir = _absolute(data_dir)
    mark = supervisor_of(data_dir)
    if mark is None or not read_stack_file(data_dir):
        return None
    config = StackConfig.load(data_dir)
    state = StackState.read(config.run_dir)
    return StackInfo(
        data_dir=data_dir,
        pid=mark.pid,
        ready=state is not None and state.pid == mark.pid and state.ready,
        api_url=config.api_url,
        api_key=config.api_key,
        temporal_address=config.temporal_address,
        temporal_ui_url=config.temporal_ui_url,
    )


def stack_status(data_dir: Path) -> StackStatus:
    """Every process of the stack: state, uptime, memory, ports; and the links for people."""
    data_dir = _absolute(data_dir)
    run_dir = data_dir / "run"
    info = find_running(data_dir)
    state = StackState.read(run_dir)
    if state is not None and info is not None and state.pid != info.pid:
        state = None  # of an earlier supervisor; the new one has not written yet
    config = StackConfig.load(data_dir) if read_stack_file(data_dir) else None
    names = _part_names(run_dir, state if info else None)
    ports = _ports_by_service(config) if config else {}
    return StackStatus(
        data_dir=data_dir,
        running=info is not None,
        ready=info is not None and info.ready,
        supervisor=_process_status("supervisor", run_dir, None, {}) if info else None,
        processes=tuple(_process_status(n, run_dir, state, ports.get(n, {})) for n in names),
        links=_links(info) if info else {},
        error=state.error if state else "",
        warning=(disk_warning(data_dir, config.keep_free) if config else None) or "",
    )


def _refuse_other_parts(config: StackConfig) -> None:
    """Say so if the stack that runs is not the one that is asked for."""
    running = StackConfig.load(config.data_dir).simulators
    if config.simulators != running:
        has = "runs the simulators" if running else "runs without the simulators"
        raise StackError(
            f"The stack on {config.data_dir} {has}. Stop it first: "
            f"`{cortex_on(config.data_dir)} down`, then `{cortex_on(config.data_dir)} up`."
        )


class _Watcher:
    """Follows a background supervisor by its state file until it is ready or gone."""

    def __init__(self, config: StackConfig, on_event: OnEvent | None) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._config = config
        self._on_event = on_event
        self._seen: dict[str, float] = {}

    def look(self) -> StackInfo | None:
        """The stack once it is ready.

        Raises:
            StackError: no supervisor runs any more.
        """
        info = find_running(self._config.data_dir)
        state = StackState.read(self._config.run_dir)
        if info is not None and state is not None and state.pid == info.pid:
            self._report(state)
        if info is not None and info.ready:
            return info
        if info is None and (self.process is None or self.process.poll() is not None):
            raise StackError(self._why(state))
        return None

    def _report(self, state: StackState) -> None:
        for name, part in sorted(state.parts.items(), key=lambda pair: pair[1].since):
            if self._seen.get(name) != part.since:
                self._seen[name] = part.since
                if self._on_event is not None:
                    self._on_event(StackEvent(name, part.phase, part.detail))

    def _why(self, state: StackState | None) -> str:
        pid = self.process.pid if self.process else None
        if state is not None and state.pid == pid and state.error:
            return state.error
        log = self._config.logs_dir / "supervisor.log"
        said = "\n".join(f"  {line}" for line in last_lines(log))
        return f"The supervisor ended before the stack was ready. The end of {log}:\n{said}"


def _absolute(data_dir: Path) -> Path:
    return data_dir.expanduser().resolve()


def _existing_run_dir(data_dir: Path) -> Path | None:
    run_dir = _absolute(data_dir) / "run"
    return run_dir if run_dir.is_dir() else None


def _spawn_supervisor(config: StackConfig) -> subprocess.Popen[bytes]:
    # The ports go by argument: only the supervisor, once it holds the lock, may store them.
    ports = [f"--port={name}={port}" for name, port in config.ports.items()]
    simulators = "--simulators" if config.simulators else "--no-simulators"
    where = ("--data-dir", str(config.data_dir), "--host", config.host, simulators)
    with open_log(config.logs_dir / "supervisor.log") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "cortex.embedded", *where, *ports],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _part_names(run_dir: Path, state: StackState | None) -> list[str]:
    marks = {path.stem for path in run_dir.glob("*.pid")} - {"supervisor"}
    known = list(state.parts) if state else []
    shown = [name for name in known if name not in _NO_PROCESS]
    return shown + sorted(marks - set(shown))


def _process_status(
    name: str, run_dir: Path, state: StackState | None, ports: dict[str, int]
) -> ProcessStatus:
    part = state.parts.get(name) if state else None
    mark = ProcessMark.read(run_dir / f"{name}.pid")
    process = mark.find() if mark else None
    if process is None:
        gone: Phase = part.phase if part and part.phase != "ready" else "stopped"
        detail = part.detail if part else ""
        return ProcessStatus(name, gone, detail=detail, restarts=part.restarts if part else 0)
    try:
        created = process.create_time()
        memory = memory_of(process, everything=name == "postgres", alone=name == "supervisor")
    except psutil.Error:
        return ProcessStatus(name, "stopped")
    return ProcessStatus(
        name,
        part.phase if part else "running",
        pid=process.pid,
        uptime=max(0.0, time.time() - created),
        memory=memory,
        restarts=part.restarts if part else 0,
        detail=part.detail if part else "",
        ports=ports,
    )


def _ports_by_service(config: StackConfig) -> dict[str, dict[str, int]]:
    ports = config.ports
    return {
        "api": {"http": ports.api},
        "postgres": {"postgres": ports.postgres},
        "temporal": {
            "grpc": ports.temporal,
            "ui": ports.temporal_ui,
            "metrics": ports.temporal_metrics,
        },
        **{service_name(name): {"http": port} for name, port in config.simulator_ports.items()},
    }


def _links(info: StackInfo) -> dict[str, str]:
    return {
        "API": info.api_url,
        "API docs": info.docs_url,
        "Temporal Web UI": info.temporal_ui_url,
    }
