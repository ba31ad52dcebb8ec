"""The nodes: they take runs from the queue, run the container, and post the result.

Results have the form and the values that a real node was recorded posting: how an operation ended
stands in its own state, not in that of the flow.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from simulators.kit.runs import RawLine, Runs, RunView, pullable, why_not_pulled
from simulators.nosana.definitions import MAX_BODY, operations
from simulators.nosana.interpolation import Unresolved, interpolated
from simulators.nosana.state import Run, moment

_MOST_LOGS = 25_000
_PATH = os.defpath + ":/usr/local/bin:/usr/sbin"
_FLAGS = {"host_shut_down": "hostShutDown", "stopped": "jobStopped", "expired": "jobExpired"}
_WORDS = {"host_shut_down": "quit", "stopped": "stopped", "expired": "expired"}
_FLOW = {"host_shut_down": "failed", "stopped": "stopped"}
_OP = {"host_shut_down": "failed", "stopped": "stopped", "expired": "success"}


@dataclass(frozen=True)
class Trouble:
    """Why no container came to be, as an operation's state tells it."""

    event: str = ""
    message: str = ""
    code: int = 2
    logs: tuple[str, ...] = ()


def argv(args: dict[str, Any]) -> list[str]:
    """The words of a container's command. Images are not really pulled: one that brings its own
    command does nothing, well.
    """
    return [*_words(args.get("entrypoint")), *_words(args.get("cmd"))] or ["true"]


async def begin(runs: Runs, run: Run, definition: dict[str, Any]) -> Trouble | None:
    """Start the command of the first operation; what came between if it could not be."""
    args = operations(definition)[0]["args"]
    try:
        args = interpolated(args)
    except Unresolved as error:
        return Trouble(code=0, logs=(str(error),))
    if not pullable(args["image"]):
        why = why_not_pulled(args["image"], "manifest unknown")
        text = f"Error: initializing source docker://{args['image']}: {why}"
        return Trouble("image-pull-error", text)
    words = argv(args)
    strange = next((word for word in words if not isinstance(word, str)), None)
    if strange is not None:
        text = f"cannot unmarshal {json.dumps(strange)} into Go value of type string"
        return Trouble("container-runtime-error", f"Cannot start container: {text}")
    if shutil.which(words[0], path=_PATH) is None:
        why = f"executable file `{words[0]}` not found in $PATH: No such file or directory"
        return Trouble("container-runtime-error", f"Cannot start container: crun: {why}")
    await runs.start(run.id, words, args.get("env", {}))
    return None


async def result(runs: Runs, run: Run, definition: dict[str, Any]) -> dict[str, Any]:
    """What a node posts when a run has ended, by itself or by its `fate`."""
    if run.stage == "start":
        return _before_start(run, definition)
    if run.stage == "pull":
        return not_started(run, definition, Trouble())
    view = await runs.state(run.id)
    code = view.exit_code if view is not None and view.exit_code is not None else 137
    lines = (await runs.lines(run.id))[: run.heard if run.fate else None]
    op = _op(run, definition, code, _logs(lines))
    op["providerId"] = f"{run.id.encode().hex()}"[:64]
    op["diagnostics"]["state"] = _container(code, view)
    return _flow(run, [op])


def not_started(run: Run, definition: dict[str, Any], trouble: Trouble) -> dict[str, Any]:
    """The result of a node that could not start the container."""
    logs = [{"type": "nodeerr", "log": text} for text in trouble.logs]
    op = _op(run, definition, trouble.code, logs)
    if not run.fate:
        op["status"] = "failed"
    if trouble.event:
        op["errors"] = [{"event": trouble.event, "message": trouble.message}]
    return _flow(run, [op])


def _before_start(run: Run, definition: dict[str, Any]) -> dict[str, Any]:
    """The result of a node that was told to stop before it began: no flag says so."""
    op = _op(run, definition, 0, [])
    op["status"] = "stopped"
    op["diagnostics"]["reason"] = dict.fromkeys(_FLAGS.values(), False)
    return {**_flow(run, [op]), "status": "success"}


def postable(result: dict[str, Any]) -> bool:
    """Whether the service takes it; the node gives up if not, and there is no result."""
    text = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode(errors="replace")) <= MAX_BODY


def _flow(run: Run, ops: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "status": _FLOW.get(run.fate, "success"),
        "startTime": run.time_start * 1000,
        "endTime": run.time_end * 1000,
        "secrets": {},
        "opStates": ops,
    }


def _op(
    run: Run, definition: dict[str, Any], code: int, logs: list[dict[str, Any]]
) -> dict[str, Any]:
    name = operations(definition)[0]["id"]
    reason: dict[str, Any] = {flag: fate == run.fate for fate, flag in _FLAGS.items()}
    if run.fate in _WORDS:
        reason["reason"] = f"Operation stopped due to flow {_WORDS[run.fate]}"
    return {
        "operationId": name,
        "group": name,
        "providerId": None,
        "status": _OP.get(run.fate, "failed" if code else "success"),
        "startTime": run.time_start * 1000,
        "endTime": run.time_end * 1000,
        "exitCode": code,
        "logs": logs,
        "errors": [],
        "diagnostics": {"reason": reason},
    }


def _logs(lines: Sequence[RawLine]) -> list[dict[str, Any]]:
    """Each line with its newline, and no more of them than a node keeps."""
    kept = [
        {"log": f"{line.text}\n", "type": line.stream, "timestamp": _nanoseconds(line.time)}
        for line in lines[:_MOST_LOGS]
    ]
    if len(lines) >= _MOST_LOGS:
        kept.append(
            {
                "type": "nodeerr",
                "log": "Found too many logs...",
                "timestamp": moment(lines[-1].time),
            }
        )
    return kept


def _container(code: int, view: RunView | None) -> dict[str, Any]:
    times = {
        "StartedAt": moment(view.started_at) if view and view.started_at else "",
        "FinishedAt": moment(view.finished_at) if view and view.finished_at else "",
    }
    return {
        "Status": "exited",
        **dict.fromkeys(("Running", "Paused", "Restarting", "OOMKilled", "Dead"), False),
        "Pid": 0,
        "ExitCode": code,
        "Error": "",
        **times,
        "RestartCount": 0,
    }


def _nanoseconds(time: datetime) -> str:
    return f"{moment(time)[:-5]}.{time.microsecond:06}000Z"


def _words(value: str | list[Any] | None) -> list[Any]:
    return [value] if isinstance(value, str) else list(value or ())
