"""Helpers of the render tests: scenes, and finding Blender and its processes."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from cortex.domain.ids import lease_key, new_id
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from providers.conformance import eventually
from providers.registry import AnyProvider

ROOT = Path(__file__).parents[3]
STAND_IN = ROOT / "simulators" / "render" / "standin.py"


def need_blender() -> None:
    """Skip the test where Blender is not installed; fail it where it must be."""
    if find_spec("bpy") is None:
        assert not os.environ.get("CORTEX_REQUIRE_BPY"), "bpy is not installed: run `make render`"
        pytest.skip("Blender is not installed (`make render`)")


def make_scene(path: Path) -> Path:
    """The scene of examples/render.yaml, made by Blender itself."""
    script = ROOT / "examples" / "make_scene.py"
    subprocess.run([sys.executable, str(script), str(path)], check=True, capture_output=True)
    return path


def stand_in_scene(
    folder: Path, *, seconds: float = 0, fails: Mapping[int, int] | None = None
) -> Path:
    """A scene that the stand-in understands."""
    path = folder / f"scene-{len(list(folder.iterdir()))}.blend"
    path.write_text(json.dumps({"seconds": seconds, "fails": dict(fails or {})}))
    return path


def key() -> str:
    """A new one, as of a lease."""
    return lease_key(new_id("job"), 1)


async def ended(provider: AnyProvider, ref: LeaseRef) -> LeaseSnapshot:
    """The lease, once it has ended."""

    async def over() -> LeaseSnapshot | None:
        snapshot = await provider.status(ref)
        return snapshot if snapshot.state.final else None

    snapshot = await eventually(over, timeout=60, what="the end of the job")
    assert snapshot is not None
    return snapshot


def painters(folder: Path) -> list[psutil.Process]:
    """The processes that render frames for leases below `folder`."""
    processes = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if not any(word.endswith("paint.py") for word in words):
            continue
        try:
            if any(str(folder) in word for word in _around(process)):
                processes.append(process)
        except psutil.Error:
            continue
    return processes


def _around(process: psutil.Process) -> list[str]:
    """The words of the commands that a process runs under."""
    return [word for parent in process.parents() for word in parent.cmdline()]
