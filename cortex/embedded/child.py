"""One running child of the supervisor: started, waited for, ended; its log and pid file."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil

from cortex.embedded.errors import StackError
from cortex.embedded.files import LITTLE_SPACE, free_bytes, last_lines, open_log
from cortex.embedded.processes import ProcessMark, dies_with_parent, kill_group
from cortex.embedded.service import Service

_READY_POLL = 0.05
_FULL_DISK = ("no space left on device", "database or disk is full", "disk quota exceeded")


class Child:
    """A service and, while it runs, its process. Not to be shared between event loops."""

    def __init__(self, service: Service, *, run_dir: Path, logs_dir: Path) -> None:
        self.service = service
        self.restarts = 0
        self.log = logs_dir / f"{service.name}.log"
        self._pid_file = run_dir / f"{service.name}.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The pid while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def lived(self) -> float:
        """Seconds since its last start."""
        return time.monotonic() - self._started

    def spawn(self) -> None:
        """Start the process; it is not ready when this returns.

        Raises:
            StackError: the program cannot be started.
        """
        service, user = self.service, self.service.user
        self._started = time.monotonic()
        try:
            if service.ready_file is not None:
                service.ready_file.unlink(missing_ok=True)
            with open_log(self.log) as log:
                self._log_start = os.fstat(log.fileno()).st_size
                # No await between fork and bookkeeping: a cancelled start must not lose a child.
                self._process = subprocess.Popen(
                    service.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=dict(service.env),
                    cwd=service.cwd,
                    start_new_session=True,  # Ctrl-C reaches the supervisor, which keeps the order
                    preexec_fn=dies_with_parent(service.death_signal),
                    user=user.uid if user else None,
                    group=user.gid if user else None,
                    extra_groups=[] if user else None,
                )
        except (OSError, subprocess.SubprocessError) as err:
            trouble = full_disk(service, [str(err)])
            raise StackError(f"`{service.name}` cannot be started: {trouble or err}") from None
        # Without a pid file it still runs, and ends with us: a full disk is no reason to fail.
        with contextlib.suppress(psutil.NoSuchProcess, OSError):
            ProcessMark.of(self._child.pid, service.marker).write(self._pid_file)

    async def exit_code(self) -> int:
        """Wait until the process ends. Then nothing is left of its process group."""
        process = self._child
        if process.poll() is None:
            await _process_end(process)
        kill_group(process.pid)
        self._pid_file.unlink(missing_ok=True)
        return process.wait()

    async def wait_ready(self) -> None:
        """Wait until it does its work.

        Raises:
            StackError: it ended before, or took too long; with the end of its log.
        """
        deadline = time.monotonic() + self.service.ready_timeout
        while True:
            code = self._child.poll()
            if code is not None:
                raise StackError(self.report(f"ended before it was ready, {how_it_ended(code)}"))
            if await self.service.ready(self._child.pid):
                return
            if time.monotonic() > deadline:
                limit = f"{self.service.ready_timeout:.0f} s"
                raise StackError(self.report(f"was not ready within {limit}"))
            await asyncio.sleep(_READY_POLL)

    async def stop(self, hurry: asyncio.Event) -> None:
        """End it in steps, at last by force; at once if (or as soon as) `hurry` is set."""
        if self._process is None:
            return
        ended = asyncio.ensure_future(self.exit_code())
        hurried = asyncio.ensure_future(hurry.wait())
        try:
            for step, seconds in (*self.service.stop, (signal.SIGKILL, None)):
                if ended.done():
                    break
                if hurry.is_set() and step in (signal.SIGTERM, signal.SIGINT):
                    continue
                self._process.send_signal(step)
                waiting = {ended} if hurry.is_set() else {ended, hurried}
                await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            await ended
        finally:
            ended.cancel()
            hurried.cancel()

    def said(self, count: int = 20) -> list[str]:
        """The last lines it wrote since its last start."""
        return last_lines(self.log, count, since=self._log_start)

    def report(self, what: str) -> str:
        """A sentence about it, why if the disk is the reason, and what it said last."""
        said = self.said()
        full = full_disk(self.service, said)
        head = f"`{self.service.name}` {what}." + (f" {full}" if full else "")
        if not said:
            return f"{head} It wrote nothing to {self.log}."
        return "\n".join([head, f"The end of {self.log}:", *(f"  {line}" for line in said)])

    @property
    def _child(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.service.name} was never started")
        return self._process


def full_disk(service: Service, said: list[str]) -> str | None:
    """Plain words if the disk is the trouble: which process, which folder, how much is free."""
    if service.folder is None:
        return None
    try:
        free = free_bytes(service.folder)
    except OSError:
        return None
    text = "\n".join(said).lower()
    if free > LITTLE_SPACE and not any(sign in text for sign in _FULL_DISK):
        return None
    return (
        f"The disk is full: `{service.name}` keeps its data in {service.folder}, "
        f"where {free / 2**20:.0f} MiB are free. Free some space there."
    )


def how_it_ended(code: int) -> str:
    """`exit code 1`, `killed by SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


async def _process_end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a child without polling where the system can tell (Linux)."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        while process.poll() is None:  # noqa: ASYNC110 - nothing sets an event here
            await asyncio.sleep(0.1)
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
