"""Truly runs the commands of simulated leases, through the `local` runtime.

A run outlives the simulator's process, as a container on a real network would: after a restart
it is found again by its id.
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import psutil

from cortex.domain.leases import LeaseRef
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.local import LocalConfig, LocalProvider

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_SHELLS_AROUND = ("bwrap",)
_GRACE = timedelta(seconds=1)
_NOT_PULLABLE = ("no-such", "missing", "does-not-exist")
_LIMITED = "rate-limited"
_TOO_MANY = (
    "toomanyrequests: You have reached your pull rate limit. You may increase the limit by "
    "authenticating and upgrading: https://www.docker.com/increase-rate-limit"
)


RunPhase = Literal["starting", "running", "exited", "lost"]
_STATES: dict[RunState, RunPhase] = {
    RunState.STARTING: "starting",
    RunState.RUNNING: "running",
    RunState.EXITED: "exited",
    RunState.LOST: "lost",
}


@dataclass(frozen=True)
class RunView:
    """How a run does."""

    state: RunPhase
    exit_code: int | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class RawLine:
    """One line of output, as a container runtime keeps it."""

    time: datetime
    stream: Literal["stdout", "stderr"]
    text: str


@dataclass(frozen=True)
class Executed:
    """What a command in a run's folder gave."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def pullable(image: str) -> bool:
    """Whether a simulated registry has the image. Nothing is really pulled."""
    return not any(word in image for word in (*_NOT_PULLABLE, _LIMITED))


def why_not_pulled(image: str, missing: str) -> str:
    """What the network says of an image that is not pullable: `missing`, or the words of Docker
    Hub for an account that has pulled too often (docs.docker.com, "Docker Hub pull usage").
    """
    return _TOO_MANY if _LIMITED in image else missing


class Runs:
    """The processes behind a simulator's leases; `folder` keeps what they leave."""

    def __init__(self, folder: Path, *, grace: timedelta = _GRACE) -> None:
        self._folder = folder
        config = LocalConfig(state_dir=folder, isolation="none", stop_grace=grace, max_jobs=10_000)
        self._local = LocalProvider("simulated", config)

    async def start_up(self) -> None:
        """Make the folder and look at what is there."""
        await self._local.initialize()

    async def aclose(self) -> None:
        """Runs go on."""
        await self._local.aclose()

    async def start(
        self,
        run_id: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        ports: Sequence[int] = (),
    ) -> None:
        """Start a command in a folder of its own. A run that was started already is left alone."""
        spec = JobSpec.model_validate(
            {
                "name": "simulated",
                "command": tuple(argv),
                "ports": [{"port": port} for port in ports],
                "duration": "30d",
                "resources": {"memory": "4Gi", "storage": "20Gi", "pids": 4096},
            }
        )
        # Beside the job's own variables there are the network's: the spec's limit is not for both.
        await self._local.submit(spec.model_copy(update={"env": dict(env)}), _key(run_id))

    async def state(self, run_id: str) -> RunView | None:
        """How it does; None if there is no such run."""
        if await self._local.find(_key(run_id)) is None:
            return None
        seen = await self._local.status(_ref(run_id))
        return RunView(_STATES[seen.state], seen.exit_code, seen.started_at, seen.finished_at)

    async def lines(self, run_id: str) -> list[RawLine]:
        """All output so far, in order."""
        return [
            RawLine(line.time, line.stream, line.text)
            async for line in self._local.logs(_ref(run_id))
            if not line.partial
        ]

    async def execute(
        self,
        run_id: str,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float = 30,
    ) -> Executed:
        """Run a command in the run's working folder, as `exec` in its container would.

        A command that is not there exits with 127, one that takes too long is killed (137).
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=self.folder(run_id),
                env={"PATH": os.defpath + ":/usr/local/bin:/usr/sbin", "HOME": "/"},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except (FileNotFoundError, NotADirectoryError):
            return Executed(127, b"", f"{argv[0]}: not found".encode())
        try:
            async with asyncio.timeout(timeout):
                out, err = await process.communicate(stdin)
        except TimeoutError:
            process.kill()
            await process.wait()
            return Executed(137, b"", b"killed: it took too long")
        return Executed(process.returncode or 0, out, err)

    async def main_process(self, run_id: str) -> int | None:
        """The first process inside its container, by the machine's number; None: it is gone."""
        process = await asyncio.to_thread(self._main_process, run_id)
        return process.pid if process is not None else None

    async def signal(self, run_id: str, name: Literal["TERM", "KILL", "STOP", "CONT"]) -> None:
        """Signal the run's main process, as `kill -TERM 1` inside its container would."""
        await asyncio.to_thread(self._signal, run_id, name)

    async def stop(self, run_id: str) -> None:
        """SIGTERM, a grace time, SIGKILL; returns when nothing of it runs any more."""
        await self._local.cancel(_ref(run_id))

    async def remove(self, run_id: str) -> None:
        """Stop it and remove its folder and output."""
        await self._local.forget(_ref(run_id))

    def folder(self, run_id: str) -> Path:
        """The working folder of a run."""
        return self._folder / _key(run_id) / "work"

    def _signal(self, run_id: str, name: str) -> None:
        main = self._main_process(run_id)
        if main is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                {
                    "TERM": main.terminate,
                    "KILL": main.kill,
                    "STOP": main.suspend,
                    "CONT": main.resume,
                }[name]()

    def _main_process(self, run_id: str) -> psutil.Process | None:
        marker = str(self._folder.absolute() / _key(run_id))
        for shim in psutil.process_iter(["cmdline"]):
            if marker not in (shim.info["cmdline"] or ()):
                continue
            with contextlib.suppress(psutil.NoSuchProcess):
                inside = [
                    c for c in shim.children(recursive=True) if c.name() not in _SHELLS_AROUND
                ]
                if inside:
                    return inside[0]
        return None


def _key(run_id: str) -> str:
    """A lease key of the local runtime; the same for the same id, also after a restart."""
    number = int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:17])
    body = "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
    return f"job_{body}-1"


def _ref(run_id: str) -> LeaseRef:
    key = _key(run_id)
    return LeaseRef(key=key, network_id=key)
