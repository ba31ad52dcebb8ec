"""What a runner has packed is untrusted: only declared files are written, and only below."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from providers.errors import InvalidSpec, Unavailable
from providers.unpack import unpack_declared


def packed(folder: Path, entries: Mapping[str, bytes | str]) -> Path:
    """A tar of these names; a text is a symbolic link to it."""
    archive = folder / "outputs.tar"
    with tarfile.open(archive, "w") as tar:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return archive


class TestDeclared:
    def test_only_what_was_declared(self, tmp_path: Path) -> None:
        archive = packed(tmp_path, {"out/a": b"1", "out/deep/b": b"2", "other": b"3"})
        written = unpack_declared(archive, ["out", "missing"], tmp_path / "to", 100)
        assert written == [Path("out/a"), Path("out/deep/b")]
        assert (tmp_path / "to/out/deep/b").read_bytes() == b"2"

    @pytest.mark.parametrize("name", ["../out/x", "out/../../x", "/etc/../../x"])
    def test_nothing_leads_out(self, tmp_path: Path, name: str) -> None:
        archive = packed(tmp_path, {name: b"x"})
        assert unpack_declared(archive, ["out", "..", "x", "/etc"], tmp_path / "to", 100) == []
        assert not (tmp_path / "x").exists()

    def test_a_link_is_no_way_out(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        archive = packed(tmp_path, {"out": str(outside), "out/x": b"x"})
        assert unpack_declared(archive, ["out"], tmp_path / "to", 100) == [Path("out/x")]
        assert not list(outside.iterdir())

    def test_a_link_that_was_there_before_is_replaced(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (tmp_path / "to").mkdir()
        (tmp_path / "to/out").symlink_to(outside)
        archive = packed(tmp_path, {"out/x": b"x"})
        unpack_declared(archive, ["out"], tmp_path / "to", 100)
        assert not list(outside.iterdir())

    def test_a_path_from_the_root_is_below_the_destination(self, tmp_path: Path) -> None:
        archive = packed(tmp_path, {"data/x": b"x"})
        assert unpack_declared(archive, ["/data"], tmp_path / "to", 100) == [Path("data/x")]

    def test_too_much_is_refused(self, tmp_path: Path) -> None:
        archive = packed(tmp_path, {"a": b"x" * 60, "b": b"x" * 60})
        with pytest.raises(InvalidSpec, match="100 bytes"):
            unpack_declared(archive, ["a", "b"], tmp_path / "to", 100)

    def test_a_damaged_archive_can_be_fetched_again(self, tmp_path: Path) -> None:
        (tmp_path / "bad.tar").write_bytes(b"no tar at all" * 100)
        with pytest.raises(Unavailable, match="damaged"):
            unpack_declared(tmp_path / "bad.tar", ["a"], tmp_path / "to", 100)
