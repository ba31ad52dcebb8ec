"""The event loop of API and worker, and what it cannot do."""

import ast
import asyncio
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from cortex.loops import loop_factory

ROOT = Path(__file__).parents[1]
_REACHED = ("worker.py", "activities", "cortex", "providers", "workflows")
"""What runs in a worker. (The embedded stack supervises, on Python's loop.)"""


@pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed here")
def test_it_is_uvloops_and_runs_programs(tmp_path: Path) -> None:
    async def run() -> str:
        assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "import os; print(os.getcwd(), os.environ['NAME'])"),
            cwd=tmp_path,
            env={"NAME": "value"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return said.decode().strip()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        assert runner.run(run()) == f"{tmp_path} value"


def test_no_program_of_a_worker_is_run_as_another_user_by_the_loop() -> None:
    """Uvloop refuses that, when it comes to it."""
    assert list(as_another_user(ROOT, _REACHED)) == []


def test_one_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(
        "import asyncio\nasync def f():\n    await asyncio.create_subprocess_exec('a', user=1)\n"
    )
    assert as_another_user(tmp_path, ("worker.py",)) == ["worker.py:3"]


def as_another_user(root: Path, reached: tuple[str, ...]) -> list[str]:
    """Where asyncio starts a program as another user."""
    places = []
    for name in reached:
        path = root / name
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            if file.is_relative_to(root / "cortex" / "embedded"):
                continue
            for call in ast.walk(ast.parse(file.read_text())):
                if (
                    isinstance(call, ast.Call)
                    and isinstance(call.func, ast.Attribute)
                    and call.func.attr.startswith(("create_subprocess_", "subprocess_"))
                    and {"user", "group", "extra_groups"} & {word.arg for word in call.keywords}
                ):
                    places.append(f"{file.relative_to(root)}:{call.lineno}")
    return places
