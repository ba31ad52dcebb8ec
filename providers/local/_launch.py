"""Making a lease's folder with its plan, and starting its shim exactly once."""

import json
import math
import os
import random
import select
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cortex.disk import Disk
from cortex.domain.leases import Endpoint
from cortex.domain.spec import JobSpec
from cortex.faultpoints import passed
from cortex.settings import default_data_dir
from providers.errors import LeaseLost, OutcomeUnknown, Unavailable
from providers.local import _sandbox
from providers.local._lease import Agreed, LeaseFolder
from providers.local._processes import MARK
from providers.local.config import LocalConfig
from providers.variables import carried

SEEN = ".seen"
TEMPORARY = ".new-"
_SHIM = Path(__file__).parent / "shim" / "__main__.py"
_START_TIMEOUT = 30


@dataclass(frozen=True)
class Launcher:
    """Prepares and starts leases of one provider; its methods block and run in threads."""

    config: LocalConfig
    state_dir: Path
    bwrap: Path | None

    def prepare(self, spec: JobSpec, folder: LeaseFolder) -> None:
        """Make the lease's folder, as a whole or not at all; one that is there is left alone."""
        if folder.exists():
            return
        temporary = self.state_dir / f"{TEMPORARY}{uuid.uuid4().hex}"
        temporary.mkdir(mode=0o700)
        try:
            for name in ("work", "tmp", "log"):
                (temporary / name).mkdir(mode=0o700)
            for name in ("lock", "alive"):
                (temporary / name).touch(mode=0o600)
            agreed = self._agreed(spec, folder)
            _write(temporary / "lease.json", agreed.model_dump_json())
            _write(temporary / "plan.json", json.dumps(self._plan(spec, folder, agreed)))
            passed("file", "before lease folder made")
            os.rename(temporary, folder.path)
            passed("file", "after lease folder made")
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            if not folder.exists():
                raise

    def start(self, folder: LeaseFolder) -> None:
        """Start the shim, unless that was done already.

        Raises:
            LeaseLost: the lease is gone or was cancelled.
        """
        try:
            with folder.locked() as lock:
                if folder.recorded() is not None:
                    return
                if folder.fenced():
                    raise LeaseLost(f"lease `{folder.key}` was cancelled")
                passed("file", "before shim started")
                self._spawn(folder, lock)
                passed("file", "after shim started")
        except FileNotFoundError:
            raise LeaseLost(f"there is no lease `{folder.key}`") from None

    def _spawn(self, folder: LeaseFolder, lock: int) -> None:
        reader, writer = os.pipe()
        argv = [sys.executable, "-I", "-S", str(_SHIM), str(folder.path), str(lock), str(writer)]
        env = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        try:
            with open(folder.path / "shim.log", "wb") as errors:
                subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    pass_fds=(lock, writer),
                    start_new_session=True,
                    cwd="/",
                    env=env,
                ).wait()
            os.close(writer)
            writer = -1
            answer = _answer(reader)
        finally:
            os.close(reader)
            if writer >= 0:
                os.close(writer)
        if answer is None:
            raise OutcomeUnknown(f"starting lease `{folder.key}` takes too long")
        if answer != "\0" and folder.recorded() is None:
            raise Unavailable(f"lease `{folder.key}` could not be started: {answer or 'no answer'}")

    def _agreed(self, spec: JobSpec, folder: LeaseFolder) -> Agreed:
        sandboxed = self.bwrap is not None
        inside = spec.workdir or _sandbox.WORKDIR
        return Agreed(
            hourly=self.config.prices.sheet().hourly(spec),
            endpoints=tuple(_endpoint(port.port, port.protocol) for port in spec.ports),
            sandboxed=sandboxed,
            workdir=inside if sandboxed else str(folder.path / "work"),
            storage=spec.resources.storage,
        )

    def _plan(self, spec: JobSpec, folder: LeaseFolder, agreed: Agreed) -> dict[str, Any]:
        """What the shim reads, see `shim.run`."""
        need, config = spec.resources, self.config
        job = carried((*spec.command, *spec.args), spec.environment())
        env = {
            "PATH": _sandbox.base_path(),
            "HOME": agreed.workdir,
            "TMPDIR": "/tmp" if agreed.sandboxed else str(folder.path / "tmp"),
            "LANG": "C.UTF-8",
            **job.env,
            MARK: folder.key,
        }
        argv = ["/bin/sh", "-c", _sandbox.RUN, *job.words]
        sandbox: list[str] | None = None
        if self.bwrap is not None:
            sandbox = _sandbox.sandbox_options(
                folder=folder.path,
                workdir=agreed.workdir,
                env=env,
                network=config.network,
                readable=config.read_only_paths,
                hidden=(self.state_dir, default_data_dir()),
            )
            argv, env = [str(self.bwrap), "--args", "8", "--", *argv], {}
        return {
            "argv": argv,
            "env": env,
            "sandbox": sandbox,
            "bwrap": None if self.bwrap is None else str(self.bwrap),
            "cwd": str(folder.path / "work"),
            "memory": need.memory,
            "storage": need.storage,
            "keep_free": Disk.of(self.state_dir, config.keep_free).keep_free,
            "storage_folders": [str(folder.path / "work"), str(folder.path / "tmp")],
            "pids": need.pids,
            "cpus": _cores(math.ceil(need.cpu)),
            "nice": config.nice,
            "max_log_bytes": config.max_log_bytes,
            "stop_grace": config.stop_grace.total_seconds(),
            "duration": spec.duration.total_seconds(),
            "abandoned_after": config.abandoned_after.total_seconds(),
            "bell": str(folder.bell),
            "seen": str(self.state_dir / SEEN),
        }


def remove(folder: LeaseFolder) -> None:
    """Remove a lease's folder; at once for everyone who looks."""
    doomed = folder.path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        passed("file", "before lease folder removed")
        os.rename(folder.path, doomed)
        passed("file", "after lease folder removed")
    except FileNotFoundError:
        return
    remove_tree(doomed)
    folder.bell.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """As `rm -rf`, also where a job has made folders that nobody may enter."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        for parent, folders, _files in os.walk(path):
            for name in folders:
                inner = os.path.join(parent, name)
                if not os.path.islink(inner):
                    os.chmod(inner, 0o700)
        shutil.rmtree(path, ignore_errors=True)


def _answer(reader: int) -> str | None:
    """What the shim says: NUL if it took over, else why not; None if it says nothing in time."""
    ready, _, _ = select.select([reader], [], [], _START_TIMEOUT)
    return os.read(reader, 1000).decode(errors="replace") if ready else None


def _cores(count: int) -> list[int] | None:
    """Which cores the job may use: so many neighbours, beginning anywhere."""
    usable = sorted(os.sched_getaffinity(0))
    if count >= len(usable):
        return None
    first = random.randrange(len(usable))
    return [usable[(first + i) % len(usable)] for i in range(count)]


def _endpoint(port: int, protocol: str) -> Endpoint:
    scheme = "http" if protocol == "tcp" else protocol
    return Endpoint(port=port, url=f"{scheme}://127.0.0.1:{port}")


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
