"""The room that is reserved for the servers: there in good times, given in bad ones."""

from pathlib import Path

import pytest

from cortex.disk import Disk
from cortex.embedded.reserve import Reserve
from tests.support.disks import small_disk

_MIB = 2**20


class TestDecisions:
    @pytest.fixture
    def free(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        megabytes = [400]
        monkeypatch.setattr(Disk, "of", lambda *_: Disk(400 * _MIB, megabytes[0] * _MIB, 64 * _MIB))
        return megabytes

    def test_it_comes_and_goes_with_the_room(self, tmp_path: Path, free: list[int]) -> None:
        path = tmp_path / "reserve"
        reserve = Reserve(path, None)
        seen = []
        for free[0] in (120, 128, 300, 20, 16, 15, 0, 70, 127, 130):
            seen.append((free[0], reserve.tend()))
            if path.exists():
                assert path.stat().st_size == 32 * _MIB
        assert [step for step in seen if step[1]] == [
            (128, "made"),
            (15, "released"),
            (130, "made"),
        ]

    def test_a_disk_too_small_has_none(self, tmp_path: Path) -> None:
        assert Reserve(tmp_path / "reserve", 10 * _MIB).tend() is None
        assert list(tmp_path.iterdir()) == []


def test_there_is_room_again_on_a_disk_that_was_full() -> None:
    with small_disk("100m") as folder:
        reserve = Reserve(folder / "reserve", 16 * _MIB)
        assert reserve.tend() == "made"
        ballast = folder / "ballast"
        with pytest.raises(OSError, match="space"):
            ballast.write_bytes(bytes(100 * _MIB))
        assert Disk.of(folder).free == 0
        assert reserve.tend() == "released"
        assert Disk.of(folder).free == 8 * _MIB
