"""How much of a disk is kept free, and how much of it results may take."""

from pathlib import Path

import pytest

from cortex.disk import Disk, usual_keep_free

_MIB = 2**20


@pytest.mark.parametrize(
    ("total", "kept"),
    [(100, 25), (400, 64), (2000, 100), (4000, 200), (10_000, 256), (10**6, 256)],
)
def test_a_twentieth_within_bounds_is_kept(total: int, kept: int) -> None:
    assert usual_keep_free(total * _MIB) == kept * _MIB


@pytest.mark.parametrize(
    ("free", "low", "room"), [(100, False, 68), (64, False, 32), (40, True, 8), (20, True, 0)]
)
def test_results_may_take_half_of_what_is_kept(free: int, low: bool, room: int) -> None:
    disk = Disk(400 * _MIB, free * _MIB, 64 * _MIB)
    assert (disk.low, disk.room) == (low, room * _MIB)


def test_a_folder_that_is_not_there_yet_has_the_disk_of_the_one_above(tmp_path: Path) -> None:
    assert Disk.of(tmp_path / "a" / "b", 5).total == Disk.of(tmp_path, 5).total
    assert Disk.of(tmp_path / "a", 5).keep_free == 5
