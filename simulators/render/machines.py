"""Runs the containers of simulated jobs, truly, as processes of this machine.

Nothing is pulled: an image whose name has `runner` or `blender` in it is taken for one with the
entry point of a runner image; any other runs a command of its own, which says so and ends.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from simulators.kit.runs import Runs

_EVAL = 'eval "$CORTEX_COMMAND"'
_OWN = "echo this image runs its own command"
_STAND_IN = Path(__file__).parent / "standin.py"


class Machines:
    """`stand_in`: the Blender in images renders patterns; None: if there is no true one here."""

    def __init__(self, runs: Runs, folder: Path, stand_in: bool | None) -> None:
        self._runs = runs
        self._bin = folder / "bin"
        self.stand_in = find_spec("bpy") is None if stand_in is None else stand_in

    def start_up(self) -> None:
        """Make the `python3` that Blender images have."""
        self._bin.mkdir(parents=True, exist_ok=True)
        python = f'"{sys.executable}"'
        swap = f'case $1 in */paint.py) shift; exec {python} "{_STAND_IN}" "$@" ;; esac\n'
        script = f'#!/bin/sh\n{swap if self.stand_in else ""}exec {python} "$@"\n'
        path = self._bin / "python3"
        path.write_text(script)
        path.chmod(0o755)

    async def start(self, run_id: str, docker: dict[str, Any]) -> None:
        """Start a container; one that was started is left alone."""
        image = str(docker["image"])
        env = {str(name): str(value) for name, value in (docker.get("env") or {}).items()}
        script = _EVAL if "runner" in image or "blender" in image else _OWN
        if "blender" in image:
            env["PATH"] = f"{self._bin}:{os.environ.get('PATH', os.defpath)}"
        await self._runs.start(run_id, ["/bin/sh", "-c", script], env)

    async def logs(self, run_id: str) -> str:
        """The output so far, both streams together."""
        return "\n".join(line.text for line in await self._runs.lines(run_id))
