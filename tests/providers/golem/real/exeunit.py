"""An exe-unit on the service bus: takes batches for one activity and truly runs their commands.

It tells its state again with each report of its usage. One daemon serves both sides here, and
whoever asks it for a state as the requestor makes it keep the answer: read before a change and
kept after it (yagna, `core/activity/src/requestor/state.rs`), that answer takes the new state's
place for ever.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tests.providers.golem.real.gsb import Bus

_log = logging.getLogger(__name__)
_STATE = "/local/activity/SetActivityState"
_USAGE = "/local/activity/SetActivityUsage"
_TOLD_AFTER_END = 20
"""So many times, each half a second, the end is told again."""


@dataclass(frozen=True)
class Kept:
    """What an exe-unit holds of the batches that it was given, until its activity ends."""

    batches: int
    size: int


@dataclass
class _Batch:
    script: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False
    grown: asyncio.Event = field(default_factory=asyncio.Event)


class ExeUnit:
    """Serves `/public/exeunit/<activity>`; a container path is a folder below `folder`."""

    def __init__(self, bus: Bus, node: str, activity: str, folder: Path) -> None:
        self._bus = bus
        self._node = node
        self._activity = activity
        self._folder = folder
        self._batches: dict[str, _Batch] = {}
        self._queue: asyncio.Queue[tuple[str, list[dict[str, Any]]]] = asyncio.Queue()
        self._began = time.monotonic()
        self._ended: float | None = None
        self._processes: list[asyncio.subprocess.Process] = []
        self._telling = asyncio.Lock()
        self._states: list[str] = []
        self._state: tuple[str, str | None] | None = None

    @property
    def usage(self) -> list[float]:
        """Seconds that it has been up, seconds of one busy core."""
        seconds = round((self._ended or time.monotonic()) - self._began, 3)
        return [seconds, round(seconds / 2, 3)]

    @property
    def kept(self) -> Kept:
        """Scripts and results with their output, in bytes of text: the real one keeps both."""
        text = [
            orjson.dumps([batch.script, [{**result, **_sized(result)} for result in batch.results]])
            for batch in self._batches.values()
        ]
        outputs = sum(
            len(result[stream] or ())
            for batch in self._batches.values()
            for result in batch.results
            for stream in ("stdout", "stderr")
        )
        return Kept(len(self._batches), sum(map(len, text)) + outputs)

    def told(self) -> str:
        """What it was given and what became of it, for a test that failed."""
        batches = "; ".join(
            f"batch {name[:8]}: {len(batch.results)} results, finished: {batch.finished}"
            for name, batch in self._batches.items()
        )
        tasks = f"working: {not self._worker.done()}, reporting: {not self._reporter.done()}"
        up, told = self._ended is None, " ".join(self._states)
        return f"{self._activity}: up: {up}, {tasks}, told: {told}; {batches or 'no batch'}"

    async def start(self) -> None:
        self._folder.mkdir(parents=True)
        await self._bus.serve(f"/public/exeunit/{self._activity}", self._answer)
        self._worker = asyncio.create_task(self._work())
        self._reporter = asyncio.create_task(self._report())
        await self.state("Initialized")

    async def stop(self) -> None:
        """End everything that it runs, and say so. A repeat does nothing."""
        if self._ended is not None:
            return
        self._ended = time.monotonic()
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)
        await self._end_processes()
        await self._bus.unserve(f"/public/exeunit/{self._activity}")
        await self.tell_usage()
        await self.state("Terminated")

    async def _end_processes(self) -> None:
        """As the end of a virtual machine does: with the job in the background and all it began."""
        while inside := _processes_in(self._folder):
            for pid in inside:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.02)
        for process in self._processes:
            await process.wait()

    async def leave(self) -> None:
        """Stop, and say nothing more."""
        await self.stop()
        self._reporter.cancel()
        await asyncio.gather(self._reporter, return_exceptions=True)

    async def state(self, now: str, then: str | None = None) -> None:
        """Change to this state, and tell the daemon."""
        # One after the other: one that is told again must not come after the next one.
        # "Initialized" once more after "Ready" is an activity that never begins.
        async with self._telling:
            self._states.append(f"{now}?")
            self._state = (now, then)
            await self._tell_state()
            self._states.append(now)

    async def _tell_state(self) -> None:
        arguments = {
            "activityId": self._activity,
            "state": {"state": list(self._state or ()), "reason": None, "errorMessage": None},
            "timeout": None,
            "credentials": None,
        }
        await self._bus.call(self._node, _STATE, arguments)

    async def tell_usage(self) -> None:
        usage = {"currentUsage": self.usage, "timestamp": int(time.time())}
        arguments = {"activityId": self._activity, "usage": usage, "timeout": None}
        await self._bus.call(self._node, _USAGE, arguments)

    async def _report(self) -> None:
        after_end = 0
        while after_end < _TOLD_AFTER_END:
            try:
                if self._ended is None:
                    await self.tell_usage()
                if self._state is not None:
                    async with self._telling:
                        await self._tell_state()
            except (RuntimeError, TimeoutError, OSError):
                _log.exception("the report of %s was not taken", self._activity)
            after_end += self._ended is not None
            await asyncio.sleep(0.5)

    async def _answer(self, call: tuple[str, Any]) -> Any:
        method, arguments = call
        if method == "Exec":
            batch = arguments["batchId"]
            self._batches[batch] = _Batch(script=arguments["exeScript"])
            self._queue.put_nowait((batch, arguments["exeScript"]))
            return {"Ok": batch}
        if method == "GetExecBatchResults":
            return await self._results(arguments)
        return {"Err": {"badRequest": f"no method {method}"}}

    async def _results(self, arguments: dict[str, Any]) -> Any:
        batch = self._batches.get(arguments["batchId"])
        if batch is None:
            return {"Err": {"notFound": f"no batch {arguments['batchId']}"}}
        wanted = arguments.get("commandIndex")
        deadline = time.monotonic() + float(arguments.get("timeout") or 0)

        def enough() -> bool:
            return batch.finished or (wanted is not None and len(batch.results) > wanted)

        while not enough() and (left := deadline - time.monotonic()) > 0:
            batch.grown.clear()
            try:
                await asyncio.wait_for(batch.grown.wait(), left)
            except TimeoutError:
                break
        return {"Ok": batch.results}

    async def _work(self) -> None:
        while True:
            name, script = await self._queue.get()
            batch = self._batches[name]
            for index, command in enumerate(script):
                try:
                    result = await self._command(command)
                except (RuntimeError, TimeoutError, OSError) as error:
                    _log.exception("command %d of %s failed", index, name)
                    result = _result("Error", message=f"exe-unit: {error}")
                bad = result["result"] == "Error"
                last = bad or index == len(script) - 1
                moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
                batch.results.append(
                    {"index": index, "eventDate": moment, "isBatchFinished": last, **result}
                )
                batch.finished = last
                batch.grown.set()
                if bad:
                    break

    async def _command(self, command: dict[str, Any]) -> dict[str, Any]:
        ((verb, arguments),) = command.items()
        if verb == "deploy":
            await self.state("Initialized", "Deployed")
            await self.state("Deployed")
            return _result("Ok")
        if verb == "start":
            await self.state("Deployed", "Ready")
            await self.state("Ready")
            return _result("Ok")
        if verb == "run":
            return await self._run(arguments)
        if verb == "transfer":
            return await self._transfer(arguments)
        return _result("Ok")

    async def _run(self, arguments: dict[str, Any]) -> dict[str, Any]:
        where = str(self._folder)
        words = [
            word.replace("/golem/work", where)
            for word in [arguments["entry_point"], *arguments.get("args", [])]
        ]
        try:
            process = await asyncio.create_subprocess_exec(
                *words, cwd=self._folder, stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            return _result("Error", message=f"ExeScript command exited with code -1: {error}")
        self._processes.append(process)
        out, err = await process.communicate()
        capture = arguments.get("capture") or {}
        code = process.returncode or 0
        return _result(
            "Ok" if code == 0 else "Error",
            stdout=_captured(out, capture.get("stdout")),
            stderr=_captured(err, capture.get("stderr")),
            message=None if code == 0 else f"ExeScript command exited with code {code}",
        )

    async def _transfer(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Only between the container's own files; a daemon without internet fetches nothing."""
        pair = [self._path(arguments[end]) for end in ("from", "to")]
        if None in pair or pair[0] is None or pair[1] is None or not pair[0].exists():
            return _result(
                "Error", message="ExeScript command exited with code -1: transfer failed"
            )
        await asyncio.to_thread(shutil.copyfile, pair[0], pair[1])
        return _result("Ok")

    def _path(self, place: str) -> Path | None:
        if not place.startswith("container:/golem/work/"):
            return None
        return self._folder / place.removeprefix("container:/golem/work/")


def _processes_in(folder: Path) -> list[int]:
    """Who works in a folder, or below it."""
    pids = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if Path(entry, "cwd").readlink().is_relative_to(folder.resolve()):
                pids.append(int(entry.name))
    return pids


def _sized(result: dict[str, Any]) -> dict[str, None]:
    """Without its output, which is counted by its length: bytes are lists of numbers here."""
    return {name: None for name in ("stdout", "stderr") if name in result}


def _result(
    result: str,
    *,
    stdout: str | list[int] | None = None,
    stderr: str | list[int] | None = None,
    message: str | None = None,
) -> dict[str, Any]:
    return {"result": result, "stdout": stdout, "stderr": stderr, "message": message}


def _captured(data: bytes, mode: dict[str, Any] | None) -> str | list[int] | None:
    if mode is None:
        return None
    at_end = mode.get("atEnd") or {}
    if "head" in at_end:
        data = data[: at_end["head"]]
    if "tail" in at_end:
        data = data[-at_end["tail"] :]
    if at_end.get("format") in {"bin", "binary"}:
        return list(data)
    return data.decode(errors="replace")
