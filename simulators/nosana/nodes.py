"""The nodes: they take runs from the queue, run the container, and send the result."""

from typing import Any

from simulators.kit.runs import Runs, RunView, pullable
from simulators.nosana.state import Run

_PROVIDER = "podman"


def container(definition: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the one container that a definition has."""
    args: dict[str, Any] = definition["ops"][0]["args"]
    return args


async def begin(runs: Runs, run: Run, definition: dict[str, Any]) -> bool:
    """Start the command; false if the image cannot be had."""
    args = container(definition)
    if not pullable(args["image"]):
        return False
    argv = [*_words(args.get("entrypoint")), *_words(args.get("cmd"))]
    # Images are not really pulled: one that brings its own command does nothing, well.
    await runs.start(run.id, argv or ["true"], args.get("env", {}))
    return True


async def result(runs: Runs, run: Run, definition: dict[str, Any]) -> dict[str, Any]:
    """What a node sends when a run has ended, in the form of `JobResults`."""
    view = await runs.state(run.id)
    lost = run.fate == "host_shut_down"
    code = None if view is None or lost else view.exit_code
    logs = [
        {
            "type": line.stream,
            "log": f"{line.text}\n",
            "timestamp": line.time.isoformat(timespec="microseconds"),
        }
        for line in await runs.lines(run.id)
    ]
    return _results(run, definition, code, logs, view)


def not_pulled(run: Run, definition: dict[str, Any]) -> dict[str, Any]:
    """The result of a node that could not get the image."""
    image = container(definition)["image"]
    logs = [{"type": "nodeerr", "log": f"Error: initializing source {image}: not found\n"}]
    found = _results(run, definition, None, logs, None)
    found["opStates"][0] |= {
        "status": "failed",
        "error": {"event": "image-pull", "message": f"image `{image}` could not be pulled"},
    }
    return found


def _results(
    run: Run,
    definition: dict[str, Any],
    code: int | None,
    logs: list[dict[str, Any]],
    view: RunView | None,
) -> dict[str, Any]:
    status = "success" if code == 0 else "failed"
    reason = {
        "hostShutDown": run.fate == "host_shut_down",
        "jobStopped": run.fate == "stopped",
        "jobExpired": run.fate == "expired",
    }
    op: dict[str, Any] = {
        "providerId": f"{_PROVIDER}-{run.id[:8]}" if view else None,
        "operationId": definition["ops"][0]["id"],
        "group": definition["ops"][0]["id"],
        "status": status,
        "startTime": run.time_start * 1000,
        "endTime": run.time_end * 1000,
        "exitCode": code,
        "logs": logs,
        "diagnostics": {"reason": reason},
    }
    return {
        "status": status,
        "startTime": run.time_start * 1000,
        "endTime": run.time_end * 1000,
        "errors": [],
        "opStates": [op],
    }


def _words(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())
