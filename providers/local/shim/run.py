"""Starting the command, watching it, ending it."""

import fcntl
import json
import os
import resource
import select
import signal
import time
from contextlib import suppress

from providers.local.shim.disk import DiskWatch
from providers.local.shim.log import Log, Pipe
from providers.local.shim.processes import (
    DEATH_SIGNAL,
    PAGE,
    SUBREAPER,
    children,
    descendants,
    kill,
    limit,
    prctl,
    process_stat,
    shared_memory,
)
from providers.local.shim.room import Removal
from providers.local.shim.status import Status

TICK = 0.5
PULSE = 10.0
DRAIN = 2.0
KILL_TIMEOUT = 20.0
SPAWN_FAILED = 127
_TOLD_FD, _ARGS_FD = 9, 8
_RESET = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


class Shim:
    def __init__(self, folder: str, plan: dict[str, object]) -> None:
        self.folder = folder
        self.plan = plan
        self.status = Status(folder, str(plan["bell"]))
        self.stop_asked = False
        self.stop_message = ""
        self.kill_at: float | None = None
        self.forced_code: int | None = None
        self.main_pid = 0
        self.main_code: int | None = None
        self.heard = False
        self.told = False
        self.still: list[int] = []
        self.over_disk = False
        self.disk = DiskWatch(
            folder,
            self.words("storage_folders"),
            limit=int(self.number("storage")),
            keep_free=int(self.number("keep_free")) if "keep_free" in plan else 0,
            pids=self._job_processes,
            freeze=self._freeze,
        )

    def number(self, name: str) -> float:
        value = self.plan[name]
        assert isinstance(value, int | float)
        return value

    def words(self, name: str) -> list[str]:
        value = self.plan[name]
        assert isinstance(value, list)
        return [str(word) for word in value]

    def run(self) -> None:
        self.wake, wake_writer = os.pipe()
        self.told_fd, told_writer = os.pipe()
        for fd in (self.wake, wake_writer, self.told_fd):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        log = Log(os.path.join(self.folder, "log"), int(self.number("max_log_bytes")))
        pipes = [Pipe(log, b"o"), Pipe(log, b"e")]
        self.main_pid = self._spawn(pipes, told_writer)
        for fd in (pipes[0].writer, pipes[1].writer, told_writer):
            os.close(fd)
        self.plan["env"], self.plan["sandbox"] = None, None
        self.pipes = {pipe.fd: pipe for pipe in pipes}
        self.poller = select.poll()
        for fd in (*self.pipes, self.wake, self.told_fd):
            self.poller.register(fd, select.POLLIN)
        self._supervise()
        self._kill_all()
        self._make_room()
        self._drain()
        self._finish()

    def _on_term(self, _number: int, _frame: object) -> None:
        self.stop_asked = True

    def _spawn(self, pipes: list[Pipe], told_writer: int) -> int:
        shim_pid = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setsid()
            prctl(DEATH_SIGNAL, signal.SIGKILL)
            if os.getppid() != shim_pid:
                os._exit(SPAWN_FAILED)
            null = os.open("/dev/null", os.O_RDONLY)
            places = [
                (null, 0),
                (pipes[0].writer, 1),
                (pipes[1].writer, 2),
                (told_writer, _TOLD_FD),
            ]
            if self.plan["sandbox"] is not None:
                places.append((self._sandbox_args(), _ARGS_FD))
            high = [(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20), to) for fd, to in places]
            for fd, to in high:
                os.dup2(fd, to)
            self._restrict()
            os.chdir(str(self.plan["cwd"]))
            for number in _RESET:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            env = self.plan["env"]
            assert isinstance(env, dict)
            argv = self.words("argv")
            os.execve(argv[0], argv, env)
        except BaseException as error:
            os.write(2, f"the command could not be started: {error}\n".encode())
        os._exit(SPAWN_FAILED)

    def _sandbox_args(self) -> int:
        """The options of bwrap in memory: on its command line all users could read the secrets."""
        fd = os.memfd_create("args")
        data = b"".join(os.fsencode(word) + b"\0" for word in self.words("sandbox"))
        while data:
            data = data[os.write(fd, data) :]
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def _restrict(self) -> None:
        limit(resource.RLIMIT_CORE, 0)
        # No file can be larger than what may be kept of the job.
        limit(resource.RLIMIT_FSIZE, self.disk.limit)
        # Only a stop for sudden, huge claims: what counts is watched, by what is really used.
        limit(resource.RLIMIT_DATA, int(self.number("memory")) + 2**30)
        os.nice(int(self.number("nice")))
        cpus = self.plan["cpus"]
        if isinstance(cpus, list):
            os.sched_setaffinity(0, cpus)

    def _supervise(self) -> None:
        started = time.monotonic()
        next_tick, next_pulse, next_disk = started, started + PULSE, started
        while self.main_code is None:
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + TICK
                self._check_processes()
                if now >= next_pulse:
                    next_pulse = now + PULSE
                    self._pulse()
            if now >= next_disk:
                next_disk = time.monotonic() + self._check_disk()
            if self.stop_asked:
                self._stop("cancelled")
            if self.kill_at is not None and now >= self.kill_at:
                return
            again = min((pipe.show() for pipe in self.pipes.values()), default=TICK)
            next_look = min(next_tick, next_disk, self.kill_at or next_tick)
            wait = min(next_look - time.monotonic(), again)
            for fd, _event in self.poller.poll(max(0.0, wait) * 1000):
                self._on_readable(fd)
            self._reap()

    def _on_readable(self, fd: int) -> None:
        if fd in self.pipes:
            if not self.pipes[fd].pump():
                self.poller.unregister(fd)
                del self.pipes[fd]
        elif fd == self.told_fd:
            self._hear()
        else:
            os.read(fd, 4096)

    def _hear(self) -> None:
        """The command is about to be executed: the sandbox, if any, stands."""
        if self.heard:
            return
        self.heard = True
        self.poller.unregister(self.told_fd)
        try:
            self.told = bool(os.read(self.told_fd, 1))
        except BlockingIOError:
            return
        if self.told and self.main_code is None:
            try:
                self.status.write(state="running")
            except OSError:
                return

    def _reap(self) -> bool:
        """Collect ended children; false when there are none left at all."""
        while True:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.main_pid:
                exit_code = os.waitstatus_to_exitcode(code)
                self.main_code = exit_code if exit_code >= 0 else 128 - exit_code

    def _job_processes(self) -> list[int]:
        """The job's own processes, without those that make the sandbox."""
        pids = descendants(os.getpid())
        if self.words("argv")[0] == self.plan["bwrap"]:
            makers = {self.main_pid, *children(self.main_pid)}
            pids = [pid for pid in pids if pid not in makers]
        return pids

    def _stop(self, message: str, code: int | None = None) -> None:
        """Ask the job to end; `code` set: at once, and this is the exit code."""
        if self.kill_at is not None:
            return
        self.stop_message, self.forced_code = message, code
        grace = self.number("stop_grace") if code is None else 0
        self.kill_at = time.monotonic() + grace
        for pid in self._job_processes() if grace else []:
            kill(pid, signal.SIGTERM)

    def _check_processes(self) -> None:
        memory = tasks = 0
        processes = self._job_processes()
        for pid in processes:
            try:
                fields = process_stat(pid)
            except (OSError, IndexError):
                continue
            tasks += int(fields[17])
            memory += int(fields[21]) * PAGE
        allowed = int(self.number("memory"))
        if memory > allowed and (exact := sum(map(shared_memory, processes))) > allowed:
            self._stop(f"killed: it used {exact} bytes of memory of {allowed}", 137)
        allowed = int(self.number("pids"))
        if tasks > allowed:
            self._stop(f"killed: it had {tasks} processes and threads of {allowed}", 137)

    def _check_disk(self) -> float:
        """Seconds until the next look."""
        why, pause = self.disk.look()
        if why:
            self.over_disk = True
            self._stop(why, 137)
        return pause

    def _make_room(self) -> None:
        """If there is none, with the files of this job, before anybody hears of its end."""
        if self.over_disk:
            work, *scratch = self.words("storage_folders")
            removal = Removal(work, scratch, self.disk.low)
            removal.run()
            removal.write(self.folder)
            self.disk.tell()

    def _freeze(self, still: bool) -> None:
        """Let the job stand still, or what stood still for us go on."""
        while still and (more := [pid for pid in self._job_processes() if _runs(pid)]):
            self.still += more
            for pid in more:
                kill(pid, signal.SIGSTOP)
        if not still:
            for pid in self.still:
                kill(pid, signal.SIGCONT)
            self.still = []

    def _pulse(self) -> None:
        """Shows when the shim last lived, and ends a job that nobody will ever collect."""
        try:
            os.utime(os.path.join(self.folder, "alive"))
            started = self.status.fields["started_at"]
            assert isinstance(started, float)
            grace = self.number("abandoned_after")
            if time.time() > started + self.number("duration") + grace:
                seen = os.stat(str(self.plan["seen"])).st_mtime
                if time.time() > seen + grace:
                    self._stop("ended: it was over its duration and no worker came for it")
        except OSError:
            return

    def _kill_all(self) -> None:
        """Kill every process below this one until there is none."""
        deadline = time.monotonic() + KILL_TIMEOUT
        while self._reap() and time.monotonic() < deadline:
            for pid in descendants(os.getpid()):
                kill(pid, signal.SIGKILL)
            for fd, _event in self.poller.poll(5):
                self._on_readable(fd)

    def _drain(self) -> None:
        deadline = time.monotonic() + DRAIN
        while self.pipes and time.monotonic() < deadline:
            for fd, _event in self.poller.poll(100):
                self._on_readable(fd)

    def _finish(self) -> None:
        code = self.main_code if self.main_code is not None else 137
        message = self.stop_message
        self._hear()
        if not self.told and not message:
            code, message = 125, "the sandbox could not be made; its log says why"
        if code == 128 + signal.SIGXFSZ and not message:
            allowed = f"its storage limit, {self.disk.limit} bytes (`resources.storage`)"
            message = f"killed (SIGXFSZ): a file grew over {allowed}"
        code = code if self.forced_code is None else self.forced_code
        self.status.write_last(
            state="exited", exit_code=code, message=message, finished_at=time.time()
        )


def _runs(pid: int) -> bool:
    """Whether it is neither stopped nor dead."""
    try:
        return process_stat(pid)[0] not in "TtZX"
    except (OSError, IndexError):
        return False


def main(folder: str, lock_fd: int, ready_fd: int) -> None:
    if os.fork():
        os._exit(0)
    prctl(SUBREAPER, 1)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    plan_path = os.path.join(folder, "plan.json")
    try:
        with open(plan_path) as file:
            shim = Shim(folder, json.load(file))
        shim.status.write(sync=True)
    except Exception as error:
        with suppress(OSError):
            os.write(ready_fd, f"{error}".encode()[:1000] or b"?")
        os._exit(1)
    os.unlink(plan_path)
    # Whoever started this may be dead by now.
    with suppress(OSError):
        os.write(ready_fd, b"\0")
    os.close(ready_fd)
    os.close(lock_fd)
    shim.run()
