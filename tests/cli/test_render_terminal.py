"""What only a person on a terminal meets: the question after Ctrl-C, and tables that fit."""

import asyncio
import os
import pty
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from cli import render
from cli.follow import _ask
from tests.support import patience


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The end of a terminal on which the test types."""
    master, slave = pty.openpty()
    with os.fdopen(slave) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield master
    os.close(master)


class TestAsking:
    @pytest.mark.parametrize(
        ("keys", "answer"),
        [("\n", "cancel"), ("c\n", "cancel"), ("d\n", "detach"), ("what\nDetach\n", "detach")],
    )
    async def test_takes_the_answer(self, keyboard: int, keys: str, answer: str) -> None:
        shown: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        asked = asyncio.ensure_future(_ask(asyncio.Event(), shown))
        for line in keys.splitlines(keepends=True):
            os.write(keyboard, line.encode())
            await asyncio.sleep(0.05)
        assert await asyncio.wait_for(asked, patience(5)) == answer

    async def test_ctrl_c_again_cancels(self, keyboard: int) -> None:
        shown: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        interrupted = asyncio.Event()
        asked = asyncio.ensure_future(_ask(interrupted, shown))
        await asyncio.sleep(0)
        interrupted.set()
        assert await asyncio.wait_for(asked, patience(5)) == "cancel"

    async def test_no_answer_is_needed_once_the_job_has_ended(self, keyboard: int) -> None:
        shown: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        asked = asyncio.ensure_future(_ask(asyncio.Event(), shown))
        await asyncio.sleep(0)
        shown.set_result(None)
        assert await asyncio.wait_for(asked, patience(5)) is None


class TestTables:
    @pytest.mark.parametrize(("width", "shown"), [(100, "ID NAME AGE"), (40, "ID AGE")])
    def test_a_narrow_terminal_gets_fewer_columns(self, width: int, shown: str) -> None:
        row = ("job_" + "0" * 26, "a-name-of-some-length", "3s")
        out = Console(width=width, force_terminal=False)
        with out.capture() as captured:
            table = render.drawn(("ID", "NAME", "AGE"), [row], spare=(1,), width=width)
            out.print(table)
        lines = captured.get().splitlines()
        assert lines[1].split() == shown.split()
        assert row[0] in lines[3]


def test_a_script_stands_on_one_line() -> None:
    assert render.command(["sh", "-c", "a b\nc"]) == "sh -c 'a b ⏎ c'"
