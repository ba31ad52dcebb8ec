"""The journal of a lease is read by whoever asks, at the same time."""

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from cortex.domain.rendering.frames import FrameState
from providers.render._journal import Journal


def line(frame: int, state: FrameState = FrameState.DONE) -> str:
    entry = {"frame": frame, "state": state.value, "attempts": 1, "seconds": 0.1}
    return json.dumps(entry) + "\n"


@contextmanager
def meeting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Readers that look at the size of the file at the same time, if they can."""
    met, fstat = threading.Barrier(2), os.fstat

    def slow_fstat(fd: int) -> object:
        with_another = fstat(fd)
        try:
            met.wait(0.3)
        except threading.BrokenBarrierError:
            met.reset()
        return with_another

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", slow_fstat)
        yield


def test_two_who_read_at_once_lose_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    path.write_text(line(1))
    journal = Journal(path)
    with meeting(monkeypatch), ThreadPoolExecutor(2) as threads:
        readers = [threads.submit(journal.read) for _ in range(2)]
        assert [set(reader.result()) for reader in readers] == [{1}, {1}]
    with path.open("a") as file:
        file.write(line(2) + line(3))
    assert set(journal.read()) == {1, 2, 3}


def test_what_was_read_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text(line(1, FrameState.RENDERING))
    journal = Journal(path)
    before = journal.read()
    with path.open("a") as file:
        file.write(line(1))
    assert journal.read()[1].state is FrameState.DONE
    assert before[1].state is FrameState.RENDERING
