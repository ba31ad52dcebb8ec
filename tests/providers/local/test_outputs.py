"""Copying results onto a disk that is full is an error, not an empty result."""

import errno
from pathlib import Path
from typing import Any

import pytest

from providers.local._outputs import OutputCopier
from providers.outputs import write as writing


class TestFullDisk:
    def test_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = tmp_path / "work"
        source.mkdir()
        (source / "result.txt").write_text("42")

        def full(*_args: Any, **_options: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(writing, "_copy", full)
        copier = OutputCopier(source, "/work", tmp_path / "kept", 1000)
        with pytest.raises(OSError, match="No space left"):
            copier.copy(["result.txt"])

    def test_a_missing_path_is_left_out(self, tmp_path: Path) -> None:
        source = tmp_path / "work"
        source.mkdir()
        copier = OutputCopier(source, "/work", tmp_path / "kept", 1000)
        assert copier.copy(["nothing-here", "nor/here"]) == []
