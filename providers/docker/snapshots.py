"""From what the engine says about a container to what Cortex says about a lease."""

import re
from datetime import UTC, datetime, timedelta

from cortex.domain.leases import Endpoint, LeaseRef, LeaseSnapshot
from cortex.domain.money import cost_for, seconds_of
from cortex.domain.offers import Usage
from cortex.domain.states import RunState
from cortex.domain.units import format_bytes
from providers.docker.config import DockerConfig
from providers.docker.marks import End
from providers.docker.names import INIT, MEMORY, PORTS, PRICE, price_of
from providers.docker.starts import command_exit_code
from providers.docker.wire import Container

_SIGKILL = 137
_INIT_TIME = timedelta(seconds=10)
# Podman's init says this on the job's stderr and exits 1; Docker's exits as a shell would.
_INIT_FAILED = re.compile(r"ERROR \(catatonit:\d+\): failed to exec pid1: (?P<why>.*)")


def snapshot(
    key: str, box: Container, end: End | None, config: DockerConfig, log_line: str = ""
) -> LeaseSnapshot:
    """What is known of a lease from its container and, if it never ran or was killed, its end mark.

    `log_line` is the first one of the log, for the one case in which only the log tells the reason.
    """
    state = box.state
    if state.waiting and not state.ran:
        return _never_ran(key, box, end)
    if state.waiting:
        # Podman, after a restart of the machine: it was running, and is not any more.
        return _lost(key, "the machine was restarted while the job ran")
    if state.status in ("dead", "removing"):
        return _lost(key, "the container is being removed")
    if state.ended:
        return _exited(key, box, end, log_line)
    return LeaseSnapshot(
        key=key,
        state=RunState.RUNNING,
        endpoints=endpoints(box, config),
        started_at=state.started_at,
    )


def lost(key: str) -> LeaseSnapshot:
    """The engine has no such container."""
    return _lost(key, "the container is gone")


def needs_end(box: Container) -> bool:
    """Whether it was killed, and its end mark may say what for."""
    return box.state.ended and box.state.exit_code == _SIGKILL


def needs_log(box: Container) -> bool:
    """Whether the exit code alone does not tell if the command could be started."""
    state = box.state
    if not (state.ended and state.exit_code == 1 and INIT in box.labels):
        return False
    if state.started_at is None or state.finished_at is None:
        return True
    return state.finished_at - state.started_at < _INIT_TIME


def endpoints(box: Container, config: DockerConfig) -> tuple[Endpoint, ...]:
    """Where the public ports of a running container can be reached."""
    if config.network == "none":
        return ()
    reachable: list[Endpoint] = []
    for name in box.labels.get(PORTS, "").split():
        port, _, protocol = name.partition("/")
        bindings = (box.network_settings.ports or {}).get(name) or []
        public = port if config.network == "host" else bindings[0].host_port if bindings else ""
        if public:
            url = f"{protocol}://{_host(config.publish_address)}:{public}"
            reachable.append(Endpoint(port=int(port), url=url))
    return tuple(reachable)


def usage(ref: LeaseRef, box: Container | None, end: End | None, currency: str) -> Usage | None:
    """The cost so far by the container's own times; None if nothing is known of the lease."""
    if box is None:
        if end is None:
            return None
        price = price_of(ref.data.get("price", ""), currency)
        return Usage(cost=(price * 0).rounded(), final=True)
    price = price_of(box.labels.get(PRICE, ""), currency)
    state = box.state
    if state.started_at is None:
        return Usage(cost=(price * 0).rounded(), final=end is not None or bool(state.error))
    running = not state.over and not state.waiting
    until = datetime.now(UTC) if running else state.finished_at or state.started_at
    # Podman notes an end before the start for a process that dies at once.
    seconds = seconds_of(max(until - state.started_at, timedelta(0)))
    # From the price that was fixed when it was reserved.
    return Usage(cost=cost_for(price, seconds), final=not running, seconds=seconds)


def _never_ran(key: str, box: Container, end: End | None) -> LeaseSnapshot:
    if end is None and box.state.error:
        # Docker notes it on the container itself.
        code = command_exit_code(box.state.error)
        end = None if code is None else End(code, box.state.error)
    if end is None:
        return LeaseSnapshot(key=key, state=RunState.STARTING)
    if end.cancelled:
        return _lost(key, "cancelled before it was started")
    return LeaseSnapshot(
        key=key, state=RunState.EXITED, exit_code=end.exit_code, message=end.message
    )


def _exited(key: str, box: Container, end: End | None, log_line: str) -> LeaseSnapshot:
    state = box.state
    code, message = state.exit_code, state.error
    failed = _INIT_FAILED.match(log_line) if code == 1 else None
    if failed:
        code = 127 if "no such file" in failed["why"].lower() else 126
        message = f"the command could not be started: {failed['why'].strip()}"
    elif code == _SIGKILL and end is not None and end.exit_code == code:
        message = end.message
    elif state.oom_killed:
        message = f"killed: out of memory{_limit(box)}"
    elif code == _SIGKILL and not message:
        # Podman does not notice an out-of-memory kill on every kind of control group.
        message = f"killed (SIGKILL); unless it was cancelled, it ran out of memory{_limit(box)}"
    started = state.started_at
    finished = state.finished_at
    if started and finished:
        finished = max(started, finished)
    return LeaseSnapshot(
        key=key,
        state=RunState.EXITED,
        exit_code=code,
        message=message,
        started_at=started,
        finished_at=finished,
    )


def _limit(box: Container) -> str:
    memory = box.labels.get(MEMORY, "")
    return f" (its limit was {format_bytes(int(memory))})" if memory.isdigit() else ""


def _lost(key: str, message: str) -> LeaseSnapshot:
    return LeaseSnapshot(key=key, state=RunState.LOST, message=message)


def _host(address: str) -> str:
    if address in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{address}]" if ":" in address else address
