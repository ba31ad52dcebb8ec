"""The `cortex` command in a process of its own, forked from one that has loaded it already.

Loading it takes most of the time of a short command: two seconds of processor time for nothing.
What is about loading itself starts the command anew (`tests/cli/test_main.py`).
"""

import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import NoReturn

from tests.support import patience

REPO = Path(__file__).parents[2]
_STREAMS = ("in", "out", "err")
_WITHIN = 30.0
"""Seconds of an idle machine that a command may take here."""
_context: list[ForkServerContext] = []


def cortex(
    *args: str, folder: Path, stdin: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end.

    Args:
        args: Its arguments.
        folder: Its data folder.
        stdin: Its input.
        env: Variables beside those of the tests; none of Cortex is handed on.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CORTEX_")}
    variables = {**clean, "CORTEX_DATA_DIR": str(folder), **env}
    with tempfile.TemporaryDirectory(prefix="ctx-cli-") as name:
        streams = {stream: Path(name, stream) for stream in _STREAMS}
        streams["in"].write_text(stdin)
        process = _forkserver().Process(target=_run, args=(args, variables, streams))
        process.start()
        process.join(patience(_WITHIN))
        code = process.exitcode
        if code is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["cortex", *args], _WITHIN)
        texts = {stream: path.read_text() for stream, path in streams.items() if path.exists()}
    return subprocess.CompletedProcess(
        ["cortex", *args], code, texts.get("out", ""), texts.get("err", "")
    )


def _forkserver() -> ForkServerContext:
    if not _context:
        context = multiprocessing.get_context("forkserver")
        commands = Path(REPO, "cli", "commands").glob("[!_]*.py")
        names = [f"cli.commands.{path.stem}" for path in commands]
        context.set_forkserver_preload(["cli.main", *names, __name__])
        _context.append(context)
    return _context[0]


def _run(args: tuple[str, ...], variables: dict[str, str], streams: dict[str, Path]) -> NoReturn:
    """In the new process: become the command."""
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(REPO)
    os.setsid()
    for number, stream in enumerate(_STREAMS):
        flags = os.O_RDONLY if stream == "in" else os.O_WRONLY | os.O_CREAT
        opened = os.open(streams[stream], flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    sys.argv = ["cortex", *args]
    code = 0
    try:
        importlib.import_module("cli.main").main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
