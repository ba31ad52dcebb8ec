"""A process that has everything imported and runs nothing: what it forks is at work in a moment.

Orders come as lines of JSON on standard input, answers and ends of children go out the same way.
No thread and no event loop may run here: a child begins from a clean state.

Sent: `{"order": 1, "role": "worker", "env": {...}, "log": "...", "args": {...}}`. Answered:
`{"order": 1, "pid": 4711}`, later `{"ended": 4711, "status": -9}`.
"""

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from sqlalchemy.orm import configure_mappers
from temporalio.worker._worker import load_default_build_id

from tests.faults.crashpoints.roles import ROLES
from tests.support.tls import share_tls_context

_PR_SET_PDEATHSIG = 1
_ALSO = (
    "encodings.idna",
    "httpcore",
    "sniffio",
    "temporalio.worker",
    "uvicorn.protocols.http.httptools_impl",
)


def main() -> None:
    """Serve orders until standard input ends."""
    for point in entry_points(group="cortex.providers"):
        point.load()
    for name in _ALSO:
        importlib.import_module(name)
    configure_mappers()
    load_default_build_id()  # a hash over all modules, kept from now on
    share_tls_context()
    gc.freeze()
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    _say({"ready": os.getpid()})
    rest = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _reap()
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                _obey(json.loads(line))


def _obey(command: dict[str, Any]) -> None:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _become(ROLES[command["role"]], command, parent)
        finally:
            os._exit(70)
    _say({"order": command["order"], "pid": pid})


def _become(role: Callable[[dict[str, Any]], None], command: dict[str, Any], parent: int) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(71)  # it died before it could be told to take us along
    log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.closerange(3, 64)
    os.environ.update(command["env"])
    try:
        role(command.get("args", {}))
    except SystemExit as leave:
        os._exit(leave.code if isinstance(leave.code, int) else 1)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _say({"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def _say(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
