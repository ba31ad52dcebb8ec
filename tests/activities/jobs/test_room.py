"""Collecting ends before it takes the last room of the servers, and names what is left out."""

import asyncio
from pathlib import Path

import pytest

from activities.jobs.room import NoRoom, drop_parts, not_kept, while_there_is_room
from cortex.disk import Disk
from providers.collected import LeftOut


class TestCollecting:
    async def test_is_broken_off_when_the_disk_is_nearly_full(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Disk, "of", lambda *_: Disk(400, 15, 64))
        ended = asyncio.Event()

        async def endless() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        with pytest.raises(NoRoom, match="has no room for them: 15 are free there"):
            await while_there_is_room(tmp_path, None, endless())
        assert ended.is_set()

    async def test_a_cancellation_while_it_is_broken_off_is_not_lost(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Disk, "of", lambda *_: Disk(400, 15, 64))
        ending, ended = asyncio.Event(), asyncio.Event()

        async def slow_to_end() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ending.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.set()

        collecting = asyncio.create_task(while_there_is_room(tmp_path, None, slow_to_end()))
        await ending.wait()
        collecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await collecting
        assert ended.is_set()

    async def test_returns_what_it_has_found(self, tmp_path: Path) -> None:
        async def quick() -> list[Path]:
            return [Path("a")]

        assert await while_there_is_room(tmp_path, 0, quick()) == [Path("a")]

    async def test_an_error_of_it_is_raised(self, tmp_path: Path) -> None:
        async def broken() -> None:
            raise OSError("damaged")

        with pytest.raises(OSError, match="damaged"):
            await while_there_is_room(tmp_path, 0, broken())


def test_what_is_not_kept_is_named() -> None:
    left = [LeftOut(f"out/{n}", "has 5Mi, and the disk has room for 1Mi more") for n in range(12)]
    text = not_kept(left)
    assert text.startswith("not kept: `out/0` has 5Mi, and the disk has room for 1Mi more; `out/1`")
    assert text.endswith("; and 2 more")
    assert not_kept([]) == ""


def test_what_broken_tries_have_left_is_removed(tmp_path: Path) -> None:
    for name in (".job_a-1.x.part", ".job_a-1.y.old.part", ".job_a-12.x.part", "job_a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "big").touch()
    drop_parts(tmp_path, "job_a-1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".job_a-12.x.part", "job_a"]
