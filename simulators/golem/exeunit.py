"""Exe-units: take batches and truly run them, one command after the other."""

import asyncio
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from cortex.tasks import end_task, end_tasks
from simulators.golem import guest
from simulators.golem.books import Books
from simulators.golem.state import Activity, Batch, short_id, stamp
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs, pullable

ROOT = "/golem/work"
_UP_WITHIN = 20.0
_VERBS = ("deploy", "start", "run", "transfer", "sign", "terminate")


class ExeUnits:
    """The machines of all activities. A container path is a folder of the run."""

    def __init__(self, folder: Path, clock: Clock, runs: Runs, books: Books) -> None:
        self._folder = folder / "spool"
        self._clock = clock
        self._runs = runs
        self._books = books
        self._queues: dict[str, asyncio.Queue[str]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}

    async def aclose(self) -> None:
        """Stop working; the machines go on."""
        await end_tasks(self._workers.values())

    def begin(self, activity: Activity) -> None:
        """An exe-unit that waits for its first batch."""
        activity.state = "Initialized"
        self.resume(activity)

    def resume(self, activity: Activity) -> None:
        """Work on, from where an earlier process was when it ended."""
        queue = self._queues[activity.id] = asyncio.Queue()
        for name, batch in activity.batches.items():
            if not batch.finished:
                queue.put_nowait(name)
        self._workers[activity.id] = asyncio.create_task(self._work(activity))

    async def end(self, activity_id: str) -> None:
        """Stop the machine with all that runs in it. Repeatable."""
        worker = self._workers.pop(activity_id, None)
        if worker is not None:
            await end_task(worker)
        await self._runs.stop(activity_id)
        await self._runs.remove(activity_id)
        await asyncio.to_thread(shutil.rmtree, self._spool(activity_id), True)
        self._books.drop_batches(activity_id)

    def there(self, activity_id: str) -> bool:
        """Whether something of its machine is left."""
        return self._spool(activity_id).exists()

    def take(self, activity: Activity, script: list[dict[str, Any]]) -> str:
        """Queue a batch; its id."""
        name = short_id()
        activity.batches[name] = Batch(script=script)
        self._keep(activity, name)
        self._queues[activity.id].put_nowait(name)
        return name

    def _keep(self, activity: Activity, name: str) -> None:
        self._books.put("batch", f"{activity.id}/{name}", activity.batches[name])

    async def _work(self, activity: Activity) -> None:
        while True:
            name = await self._queues[activity.id].get()
            batch = activity.batches[name]
            for index, command in list(enumerate(batch.script))[len(batch.results) :]:
                command_id = f"{name}-{index}"
                result = await self._command(activity, command, command_id)
                last = result["result"] == "Error" or index == len(batch.script) - 1
                moment = stamp(self._clock.now())
                batch.results.append(
                    {"index": index, "eventDate": moment, "isBatchFinished": last, **result}
                )
                batch.finished = last
                # Written down first: what the machine tells is told once.
                self._books.put("activity", activity.id, activity)
                self._keep(activity, name)
                for end in ("json", "out", "err", "code"):
                    (self._spool(activity.id) / f"{command_id}.{end}").unlink(missing_ok=True)
                if last:
                    break

    async def _command(
        self, activity: Activity, command: dict[str, Any], command_id: str
    ) -> dict[str, Any]:
        ((verb, arguments),) = command.items()
        if verb == "deploy":
            return await self._deploy(activity)
        if verb == "start":
            return await self._start(activity)
        if verb == "run":
            if activity.state != "Ready":
                return _wrong_state(activity)
            return await self._run(activity, arguments, command_id)
        if verb == "transfer":
            return await self._transfer(activity, arguments)
        return _result("Ok")

    async def _deploy(self, activity: Activity) -> dict[str, Any]:
        if activity.state != "Initialized":
            return _wrong_state(activity)
        activity.pending = "Deployed"
        await asyncio.sleep(0.02)
        package = str(activity.agreement.demand["properties"].get("golem.srv.comp.task_package"))
        activity.pending = None
        if not package.startswith("hash:sha3:") or not pullable(package):
            return _result("Error", message="Local service error: Transfer error: 404 Not Found")
        activity.state = "Deployed"
        return _result("Ok")

    async def _start(self, activity: Activity) -> dict[str, Any]:
        if activity.state != "Deployed":
            return _wrong_state(activity)
        activity.pending = "Ready"
        spool = self._spool(activity.id)
        await asyncio.to_thread(spool.mkdir, parents=True, exist_ok=True)
        words = [sys.executable, "-I", guest.__file__, str(spool)]
        await self._runs.start(activity.id, words, {})
        up = await self._appears(spool / "up", _UP_WITHIN)
        activity.pending = None
        if not up:
            return _result("Error", message="Local service error: the runtime did not start")
        activity.state = "Ready"
        return _result("Ok")

    async def _run(
        self, activity: Activity, arguments: dict[str, Any], command_id: str
    ) -> dict[str, Any]:
        spool = self._spool(activity.id)
        place = str(self._runs.folder(activity.id))
        words = [arguments["entry_point"], *arguments.get("args", [])]
        # Else it was given before this process began.
        if not (spool / f"{command_id}.json").exists():
            draft = spool / f"{command_id}.new"
            draft.write_text(json.dumps([word.replace(ROOT, place) for word in words]))
            draft.rename(spool / f"{command_id}.json")
        await self._appears(spool / f"{command_id}.code", None)
        code = int((spool / f"{command_id}.code").read_text())
        out, err = ((spool / f"{command_id}.{end}").read_bytes() for end in ("out", "err"))
        capture = arguments.get("capture") or {}
        return _result(
            "Ok" if code == 0 else "Error",
            stdout=_captured(out, capture.get("stdout")),
            stderr=_captured(err, capture.get("stderr")),
            message=None if code == 0 else f"ExeScript command exited with code {code}",
        )

    async def _transfer(self, activity: Activity, arguments: dict[str, Any]) -> dict[str, Any]:
        source, target = str(arguments["from"]), str(arguments["to"])
        try:
            async with httpx.AsyncClient(timeout=60, follow_redirects=True) as client:
                if source.startswith("container:"):
                    data = await asyncio.to_thread(self._inside(activity, source).read_bytes)
                    (await client.put(target, content=data)).raise_for_status()
                else:
                    # The status of a download is not looked at: an error page is data as well.
                    answer = await client.get(source)
                    place = self._inside(activity, target)
                    await asyncio.to_thread(place.write_bytes, answer.content)
        except (OSError, httpx.HTTPError, ValueError) as error:
            message = f"ExeScript command exited with code -1: Transfer error: {error}"
            return _result("Error", message=message)
        return _result("Ok")

    def _inside(self, activity: Activity, place: str) -> Path:
        path = place.removeprefix("container:")
        if not path.startswith(ROOT + "/") or ".." in path.split("/"):
            raise ValueError(f"{path} is in no volume")
        return self._runs.folder(activity.id) / path.removeprefix(ROOT + "/")

    def _spool(self, activity_id: str) -> Path:
        return self._folder / activity_id

    async def _appears(self, path: Path, within: float | None) -> bool:
        ends = time.monotonic() + within if within is not None else None
        while not os.path.exists(path):  # noqa: ASYNC240
            if ends is not None and time.monotonic() > ends:
                return False
            await asyncio.sleep(0.01)
        return True


def known(command: Any) -> bool:
    """Whether it is a command of an exe-script."""
    return isinstance(command, dict) and len(command) == 1 and next(iter(command)) in _VERBS


def _wrong_state(activity: Activity) -> dict[str, Any]:
    return _result("Error", message=f"State error: Invalid state: {activity.state}")


def _result(
    result: str,
    *,
    stdout: str | list[int] | None = None,
    stderr: str | list[int] | None = None,
    message: str | None = None,
) -> dict[str, Any]:
    return {"result": result, "stdout": stdout, "stderr": stderr, "message": message}


def _captured(data: bytes, mode: dict[str, Any] | None) -> str | list[int] | None:
    """What is kept of an output; nothing where no capture was asked for."""
    if mode is None:
        return None
    at_end = mode.get("atEnd") or {}
    if "head" in at_end:
        data = data[: int(at_end["head"])]
    if "tail" in at_end:
        data = data[-int(at_end["tail"]) :] if at_end["tail"] else b""
    if at_end.get("format") in ("bin", "binary"):
        return list(data)
    return data.decode(errors="replace")
