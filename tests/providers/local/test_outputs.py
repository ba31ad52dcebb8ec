"""Copying results onto a disk that is full is an error, not an empty result."""

import errno
import os
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


class TestUnreadable:
    def test_a_file_that_may_not_be_read_costs_no_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = tmp_path / "work"
        source.mkdir()
        for name in ("a", "locked", "refused", "z"):
            (source / name).write_text(name)
        access, opened = os.access, os.open

        def no_access(path: Any, *args: Any, **options: Any) -> bool:
            return path != b"locked" and access(path, *args, **options)

        def no_open(path: Any, *args: Any, **options: Any) -> int:
            if path == b"refused":
                raise PermissionError(errno.EACCES, "Permission denied")
            return opened(path, *args, **options)

        monkeypatch.setattr(os, "access", no_access)
        monkeypatch.setattr(os, "open", no_open)
        collected = OutputCopier(source, "/work", tmp_path / "kept", 1000).copy(["*"])
        assert list(map(str, collected)) == ["a", "z"]
        assert {file.path: file.reason for file in collected.left_out} == {
            "locked": "may not be read by the job's user",
            "refused": "cannot be kept: Permission denied",
        }
