"""What the watch decides over a job, on disks that are made up."""

import json
import os
from pathlib import Path

import pytest

from providers.local.shim import disk
from providers.local.shim.disk import SHARE, DiskWatch, Space, Taken
from providers.local.shim.room import REMOVED, Removal

_MIB = 2**20
_KEEP = 64 * _MIB


class World:
    """A disk, the clock, and what jobs take."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.now = 1000.0
        self.free = 4000 * _MIB
        self.free_files = 10**6
        self.mine = Taken()
        self.log = 0
        self.walks = 0
        self.frozen: list[bool] = []
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        monkeypatch.setattr(Space, "of", lambda _: self.space())
        monkeypatch.setattr(disk, "taken", self._taken)

    def space(self) -> Space:
        return Space(8000 * _MIB, self.free, 10**6, self.free_files)

    def _taken(self, folders: list[str], _pids: list[int]) -> Taken:
        if folders[0].endswith("/log"):
            return Taken(self.log, 1)
        self.walks += 1
        return self.mine

    def watch(self, limit: int = 1000 * _MIB) -> DiskWatch:
        lease = self.folder / "mine"
        lease.mkdir()
        return DiskWatch(
            str(lease),
            [str(lease)],
            limit=limit,
            keep_free=_KEEP,
            pids=list,
            freeze=self.frozen.append,
        )

    def other(self, name: str, size: int, *, files: int = 1, ended: bool = False) -> None:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / SHARE).write_text(f"{size:020d} {files:020d}")
        with open("/proc/self/stat") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        status = {"pid": os.getpid(), "ticks": ticks, "finished_at": 1.0 if ended else None}
        (folder / "status.json").write_text(json.dumps(status))

    def verdict(self, watch: DiskWatch) -> str:
        """After all that hold something of the disk have told so."""
        why, pause = watch.look()
        while not why and self.frozen and self.frozen[-1]:
            self.now += pause
            why, pause = watch.look()
        return why


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


class TestWalks:
    def test_are_rare_while_nothing_is_written(self, world: World) -> None:
        watch = world.watch()
        for _ in range(100):
            _, pause = watch.look()
            assert pause <= 0.5
            world.now += 0.1
        assert world.walks == 2

    def test_come_when_the_disk_has_lost_what_the_job_may_still_take(self, world: World) -> None:
        watch = world.watch(limit=100 * _MIB)
        watch.look()
        world.mine, world.free, world.now = Taken(101 * _MIB, 1), 3899 * _MIB, world.now + 0.1
        why, _ = watch.look()
        assert why == (
            "killed: over its storage limit: it took 101.0 MiB of 100.0 MiB (`resources.storage`)"
        )

    @pytest.mark.parametrize(("free", "pause"), [(4000, 0.25), (576, 0.125), (80, 0.02)])
    def test_a_look_comes_before_the_room_can_be_written_full(
        self, world: World, free: int, pause: float
    ) -> None:
        world.free = free * _MIB
        assert world.watch().look()[1] == pytest.approx(pause, abs=0.006)


class TestRoom:
    def test_the_largest_goes_and_all_stand_still_until_it_is_known(self, world: World) -> None:
        watch = world.watch()
        world.mine, world.free = Taken(200 * _MIB, 3), 60 * _MIB
        world.other("small", 30 * _MIB)
        why, pause = watch.look()
        assert (why, world.frozen) == ("", [True])
        assert world.folder.joinpath("mine", SHARE).read_text().split()[0].endswith("209715200")
        world.now += pause
        why, _ = watch.look()
        assert "of all jobs on it this one took the most: 200.0 MiB in 3 files" in why
        assert "60.0 MiB and 1000000 files are free, 64.0 MiB are kept" in why

    @pytest.mark.parametrize(
        ("mine", "free", "other", "ended"),
        [
            pytest.param(200, 60, 201, False, id="another is larger"),
            pytest.param(30, 60, 200, True, id="what has ended is about to be freed"),
            pytest.param(30, 20, 200, True, id="the same, with little left: it does not grow"),
            pytest.param(3, 60, 1, False, id="its end would help nobody"),
            pytest.param(200, 70, 1, False, id="there is enough room"),
        ],
    )
    def test_it_goes_on(self, world: World, mine: int, free: int, other: int, ended: bool) -> None:
        watch = world.watch()
        world.mine, world.free = Taken(mine * _MIB, 3), free * _MIB
        world.other("other", other * _MIB, ended=ended)
        for _ in range(3):
            assert world.verdict(watch) == ""
            assert not world.frozen or world.frozen[-1] is False
            world.now += 2

    def test_it_stands_still_until_another_has_made_room(self, world: World) -> None:
        watch = world.watch()
        world.mine, world.free = Taken(100 * _MIB, 3), 60 * _MIB
        world.other("larger", 200 * _MIB)
        began = world.now
        for world.now in (began, began + 0.2, began + 0.5):
            assert watch.look()[0] == ""
            assert world.frozen == [True]
        world.free, world.now = 260 * _MIB, began + 0.6
        watch.look()
        assert world.frozen == [True, False]

    def test_nothing_is_waited_for_without_room_for_the_servers(self, world: World) -> None:
        watch = world.watch()
        world.other("ended", 300 * _MIB, ended=True)
        world.mine, world.free = Taken(30 * _MIB, 3), 10 * _MIB
        assert "nearly full" in world.verdict(watch)

    def test_who_takes_the_rest_is_not_waited_for(self, world: World) -> None:
        watch = world.watch()
        world.other("ended", 300 * _MIB, ended=True)
        world.mine, world.free = Taken(30 * _MIB, 3), 40 * _MIB
        assert world.verdict(watch) == ""
        world.mine, world.free, world.now = Taken(50 * _MIB, 3), 20 * _MIB, world.now + 2
        assert "nearly full" in world.verdict(watch)

    def test_files_run_out_as_bytes_do(self, world: World) -> None:
        watch = world.watch()
        world.free_files = 900
        world.mine = Taken(_MIB, 500_000)
        world.other("other", 300 * _MIB, files=10)
        assert "in 500000 files" in world.verdict(watch)

    def test_its_log_counts_but_not_for_its_limit(self, world: World) -> None:
        watch = world.watch(limit=10 * _MIB)
        world.mine, world.log, world.free = Taken(9 * _MIB, 3), 16 * _MIB, 60 * _MIB
        world.other("other", 20 * _MIB)
        assert "this one took the most: 25.0 MiB" in world.verdict(watch)

    def test_of_two_alike_one_goes(self, world: World) -> None:
        watch = world.watch()
        world.mine, world.free = Taken(200 * _MIB, 3), 60 * _MIB
        world.other("nine", 200 * _MIB)
        assert world.verdict(watch) == ""
        world.other("nine", 200 * _MIB, ended=True)
        world.other("a", 200 * _MIB)
        assert world.verdict(watch) == ""


class TestRemoval:
    @pytest.mark.parametrize(
        ("enough", "left"),
        [
            pytest.param(1, {"a", "b", "deep/c", "link"}, id="scratch files"),
            pytest.param(2, {"a", "b", "link"}, id="then the largest"),
            pytest.param(3, {"b", "link"}, id="then the next"),
        ],
    )
    def test_goes_no_further_than_needed(self, tmp_path: Path, enough: int, left: set[str]) -> None:
        work, scratch = tmp_path / "work", tmp_path / "tmp"
        for path, size in {"a": 2, "b": 0, "deep/c": 3, "../tmp/x": 1}.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_bytes(bytes(size * _MIB))
        outside = tmp_path / "outside"
        outside.write_bytes(bytes(4 * _MIB))
        (work / "link").symlink_to(outside)
        everything = sum(1 for _ in tmp_path.rglob("*"))
        removal = Removal(
            str(work),
            [str(scratch)],
            lambda: everything - sum(1 for _ in tmp_path.rglob("*")) < enough,
        )
        removal.run()
        files = {str(path.relative_to(work)) for path in work.rglob("*") if not path.is_dir()}
        assert (files, outside.exists()) == (left, True)
        removal.write(str(tmp_path))
        gone = {"a", "b", "deep/c", "link"} - left
        told = json.loads((tmp_path / REMOVED).read_text())["files"] if gone else []
        assert {path for path, _ in told} == gone
