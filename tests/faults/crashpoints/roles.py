"""What a forked process becomes: a worker, an API, or the simulated networks of a lane."""

import asyncio
import contextlib
import json
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

import api.__main__
import cortex.temporal.schedules
import worker
from simulators.akash import AkashSettings
from simulators.kit.app import make_app
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.kit.serve import serving
from simulators.registry import world_class
from simulators.render import RenderSettings
from tests.faults.crashpoints.sabotage import SABOTAGES

_PACE: Final[dict[str, dict[str, Any]]] = {
    "akash": {"settings": AkashSettings(bid_delay=0.1, bid_spread=0.1, ready_delay=0.1)},
    # A scenario says itself when a node is dear: its boundaries are to come again.
    "render": {"settings": RenderSettings(dearer_every=0)},
}
_STICKY = timedelta(seconds=1)


def run_worker(args: dict[str, Any]) -> None:
    """`python -m worker`, without what schedules start by the clock.

    What the tests kill a worker for is jobs; schedules would put boundaries of their own in
    between, at other places in every run. Scenarios that need such a workflow start it.
    """
    put = pytest.MonkeyPatch().setattr
    put(worker, "_STICKY_TIMEOUT", _STICKY)
    put(cortex.temporal.schedules, "ensure_schedule", _nothing)
    put(cortex.temporal.schedules, "scheduled", _none)
    SABOTAGES[args.get("sabotage", "none")]()
    worker.main()


def run_api(_args: dict[str, Any]) -> None:
    """`python -m api`."""
    api.__main__.main()


def run_networks(args: dict[str, Any]) -> None:
    """Serve simulated networks; their addresses are written into the file `ready`."""
    asyncio.run(_serve(args["networks"], Path(args["folder"]), Path(args["ready"])))


async def _serve(names: list[str], folder: Path, ready: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        urls: dict[str, str] = {}
        for name in names:
            runs = folder / name / "runs"
            runs.mkdir(parents=True)
            world = world_class(name)(folder / name, Clock(), Runs(runs), **_PACE.get(name, {}))
            urls[name] = await stack.enter_async_context(serving(make_app(world)))
        draft = ready.with_suffix(".new")
        draft.write_text(json.dumps(urls))
        draft.rename(ready)
        await stop.wait()


async def _nothing(*_: Any) -> None:
    """What a schedule would be made by."""


async def _none(*_: Any) -> set[str]:
    """No schedule is there."""
    return set()


ROLES: Final[dict[str, Callable[[dict[str, Any]], None]]] = {
    "worker": run_worker,
    "api": run_api,
    "networks": run_networks,
}
