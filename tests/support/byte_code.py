"""The byte code of the tests, made once by all workers together.

pytest rewrites every `assert`, which takes longer than all else of loading a test. The workers of
a first run begin at the same time: none finds what another has written, and each does it all.
"""

import contextlib
import importlib
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


def compile_share(config: pytest.Config) -> None:
    """Load this worker's share of the modules that are to be collected; alone, load none.

    A module that cannot be loaded is told of by the collection.
    """
    worker = getattr(config, "workerinput", None)
    if worker is None or sys.dont_write_bytecode:
        return
    share = slice(int(worker["workerid"].removeprefix("gw")), None, worker["workercount"])
    for path in _modules(config.args)[share]:
        name = ".".join(path.relative_to(_ROOT).with_suffix("").parts)
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(name)


def _modules(args: list[str]) -> list[Path]:
    folders = [path for path in (Path(arg).resolve() for arg in args) if path.is_dir()]
    return sorted({path for folder in folders for path in folder.rglob("test_*.py")})
