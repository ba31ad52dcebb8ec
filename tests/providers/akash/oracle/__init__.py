"""Asks the network's own library, which is an npm package, what it makes of SDL."""

import fcntl
import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

_FOLDER = Path(__file__).parent
_MODULES = _FOLDER / "node_modules"
_INSTALL = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")


def ask(texts: Sequence[str]) -> list[dict[str, Any]]:
    """For each SDL text `manifest`, `version` and `groups`, or `errors`."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("the network's own library needs `node` and `npm`, which are not installed")
    _install()
    done = subprocess.run(
        ["node", "check.mjs"],
        cwd=_FOLDER,
        input=json.dumps(list(texts)),
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def _install() -> None:
    """What the lock file says, once; tests of several processes may ask at the same time."""
    wanted = hashlib.sha256((_FOLDER / "package-lock.json").read_bytes()).hexdigest()
    stamp = _MODULES / ".cortex-lock"
    with (_FOLDER / "check.mjs").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        done = subprocess.run(_INSTALL, cwd=_FOLDER, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-2000:]
        stamp.write_text(wanted)
