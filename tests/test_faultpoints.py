"""Fault points: nothing where they are off, every boundary and a real death where they are on."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from activities.runtime.boundaries import bounded_activities
from cortex import faultpoints
from cortex.db.engine import Database
from cortex.settings import DatabaseSettings
from cortex.temporal.boundaries import bounded_calls

_STANDARD = "import sys; before = set(sys.modules); import cortex.faultpoints as f; " + (
    "print(sorted(n for n in set(sys.modules) - before if n.partition('.')[0] not in "
    "sys.stdlib_module_names))"
)


def plan(folder: Path, **death: Any) -> dict[str, str]:
    """The environment that arms a plan."""
    file = folder / "plan.json"
    file.write_text(json.dumps({"trace": str(folder / "trace"), **death}))
    return {faultpoints.PLAN: str(file), faultpoints.ALLOWED: "yes"}


def trace(folder: Path) -> list[list[str]]:
    return [line.split("\t") for line in (folder / "trace").read_text().splitlines()]


@pytest.fixture
def armed(tmp_path: Path) -> Iterator[Path]:
    """This process traces its boundaries, and dies at none."""
    assert faultpoints.arm(plan(tmp_path))
    yield tmp_path
    faultpoints.arm({})


class TestOff:
    def test_it_is_off_and_imports_nothing_of_weight(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", _STANDARD], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "['cortex', 'cortex.faultpoints']"

    def test_a_plan_alone_arms_nothing(self, tmp_path: Path) -> None:
        environment = plan(tmp_path)
        for answer in ("", "no", "1", "true"):
            assert not faultpoints.arm({**environment, faultpoints.ALLOWED: answer})
        del environment[faultpoints.ALLOWED]
        assert not faultpoints.arm(environment)
        assert not faultpoints.arm({faultpoints.ALLOWED: "yes"})
        assert faultpoints.active is None

    async def test_nothing_is_hooked(self, database: Database) -> None:
        assert faultpoints.http_hooks("anybody") == {}
        assert [*bounded_activities(), *bounded_calls()] == []
        assert not database.engine.sync_engine.dispatch.before_cursor_execute
        faultpoints.passed("file", "before nothing")


class TestTrace:
    async def test_commits_that_write_have_a_boundary_on_both_sides(
        self, armed: Path, database_url: str
    ) -> None:
        database = Database(DatabaseSettings.model_validate({"url": database_url}))
        async with database.transaction() as tx:
            await tx.connection.execute(text("SELECT * FROM jobs FOR UPDATE"))
        async with database.transaction() as tx:  # it finds nothing to do
            await tx.connection.execute(text("UPDATE jobs SET message = '' WHERE id = ''"))
        async with database.transaction() as tx:
            await tx.providers.declare("null", "null")
        async with database.statement() as tx:
            await tx.connection.execute(text("SELECT 1"))
            await tx.connection.execute(text("DELETE FROM events"))
        with contextlib.suppress(ZeroDivisionError):
            async with database.transaction() as tx:
                await tx.providers.declare("other", "null")
                raise ZeroDivisionError
        await database.aclose()
        wheres = [where for _, kind, where in trace(armed) if kind == "commit"]
        assert len(wheres) == 4
        assert [where.split()[0] for where in wheres] == ["before", "after"] * 2
        assert wheres[2:] == ["before delete events", "after delete events"]
        assert [number for number, *_ in trace(armed)] == ["1", "2", "3", "4"]

    async def test_calls_are_named_without_ids(self, armed: Path) -> None:
        transport = httpx.MockTransport(lambda request: httpx.Response(200))
        hooks = faultpoints.http_hooks("net")
        async with httpx.AsyncClient(transport=transport, event_hooks=hooks) as http:
            await http.post("http://net/v1/leases/0x1f/close")
        where = "net POST /v1/leases/*/close"
        assert [row[2] for row in trace(armed)] == [f"before {where}", f"after {where}"]


class TestDeath:
    @pytest.mark.parametrize(
        ("death", "seen"),
        [({"at": 3}, 3), ({"kind": "file", "where": "b", "nth": 2}, 4), ({"at": 9}, 5)],
    )
    def test_is_at_the_chosen_boundary_without_clean_up(
        self, tmp_path: Path, death: dict[str, Any], seen: int
    ) -> None:
        script = (
            "import atexit, cortex.faultpoints as f; f.arm(); atexit.register(print, 'cleaned');"
            "[f.passed('file', x) for x in 'ababa']"
        )
        environment = {**os.environ, **plan(tmp_path, **death)}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True
        )
        assert len(trace(tmp_path)) == seen
        killed = seen < 5
        assert done.returncode == (-signal.SIGKILL if killed else 0), done.stderr
        assert done.stdout == ("" if killed else "cleaned\n")
