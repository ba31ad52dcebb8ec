"""What is done with is remembered as long as the network may still list it."""

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from providers.render.forgotten import Forgotten

KEEP = timedelta(hours=1)


def test_old_ones_are_dropped(tmp_path: Path) -> None:
    forgotten = Forgotten(tmp_path / "forgotten", KEEP)
    assert forgotten.keys() == frozenset()
    forgotten.add("old")
    forgotten.add("new")
    long_ago = time.time() - 3 * KEEP.total_seconds()
    os.utime(tmp_path / "forgotten" / "old", (long_ago, long_ago))
    assert forgotten.keys() == {"new"}
    assert [path.name for path in (tmp_path / "forgotten").iterdir()] == ["new"]


def test_one_that_somebody_else_drops_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten = Forgotten(tmp_path, KEEP)
    forgotten.add("here")
    iterdir = Path.iterdir

    def with_one_gone(folder: Path) -> Iterator[Path]:
        yield folder / "gone"
        yield from iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", with_one_gone)
    assert forgotten.keys() == {"here"}
