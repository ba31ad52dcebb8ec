"""The data folder, its disk, and how many files may be open."""

import resource
from pathlib import Path

import pytest

from cortex.disk import Disk
from cortex.doctor.findings import Finding, Verdict
from cortex.doctor.machine import check_machine
from cortex.settings import Settings


def look(folder: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in check_machine(Settings(data_dir=folder))}


def test_a_sound_one(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    found = look(tmp_path)
    assert found["data folder"].verdict == Verdict.OK
    assert "cortex 0." in found["versions"].detail


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    found = look(tmp_path / "gone")["data folder"]
    assert (found.verdict, "mkdir" in found.fix) == (Verdict.FAULT, True)
    assert not (tmp_path / "gone").exists()


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = look(tmp_path / "file")["data folder"]
    assert (found.verdict, "is no folder" in found.detail) == (Verdict.FAULT, True)


def test_a_folder_that_everyone_may_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    found = look(tmp_path)["data folder"]
    assert (found.verdict, "chmod" in found.fix) == (Verdict.WARNING, True)


@pytest.mark.parametrize(
    ("free", "verdict"), [(900, Verdict.OK), (150, Verdict.WARNING), (50, Verdict.FAULT)]
)
def test_a_disk_that_fills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: Verdict
) -> None:
    disk = Disk(total=2000 << 20, free=free << 20, keep_free=100 << 20)
    monkeypatch.setattr(Disk, "of", lambda folder: disk)
    assert look(tmp_path)["disk"].verdict == verdict


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [(1024, Verdict.WARNING), (65536, Verdict.OK), (resource.RLIM_INFINITY, Verdict.OK)],
)
def test_how_many_files_may_be_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, verdict: Verdict
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert look(tmp_path)["open files"].verdict == verdict
