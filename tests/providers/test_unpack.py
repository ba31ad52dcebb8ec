"""What a container has packed is untrusted: only declared files are written, and only below."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from providers.collected import NOTHING_MATCHED
from providers.errors import Unavailable
from providers.outputs import unpack_archive

KINDS = {
    "file": tarfile.REGTYPE,
    "link": tarfile.SYMTYPE,
    "hard": tarfile.LNKTYPE,
    "dir": tarfile.DIRTYPE,
    "device": tarfile.CHRTYPE,
    "fifo": tarfile.FIFOTYPE,
}


def packed(folder: Path, *entries: tuple[str, str, str], root: str = "") -> Path:
    """A tar of (kind, name, content or link target), as `pack.sh` makes it if a root is named."""
    archive = folder / "outputs.tar"
    with tarfile.open(archive, "w") as tar:
        for kind, name, text in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode = KINDS[kind], 0o4777
            if kind == "file":
                info.size = len(text)
            else:
                info.linkname = text
            tar.addfile(info, io.BytesIO(text.encode()))
    if root:
        with archive.open("ab") as file:
            file.write(f"\ncortex-outputs 1//\nroot {root}//\nwhole//\n".encode())
    return archive


def texts(folder: Path) -> Mapping[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class TestUnpack:
    def test_only_what_was_declared(self, tmp_path: Path) -> None:
        entries = [("file", name, "1") for name in ("./w/out/a", "./w/out/deep/b", "./w/other")]
        archive = packed(tmp_path, *entries, root="/w")
        written = unpack_archive(archive, ["out", "missing", "no/such-*"], tmp_path / "to", 100)
        assert list(written) == [Path("out/a"), Path("out/deep/b")]
        assert [left_out.path for left_out in written.left_out] == ["missing", "no/such-*"]
        assert {left_out.reason for left_out in written.left_out} == {NOTHING_MATCHED}

    def test_nothing_leaves_the_destination(self, tmp_path: Path) -> None:
        archive = packed(
            tmp_path,
            ("dir", "w/out", ""),
            ("file", "w/out/../../escape", "x"),
            ("file", "/etc/escape", "x"),
            ("link", "w/out/up", "../../.."),
            ("link", "w/out/etc", "/etc"),
            ("hard", "w/out/hard", "../../../etc/passwd"),
            ("device", "w/out/null", ""),
            ("fifo", "w/out/pipe", ""),
            ("file", "w/out/good", "good"),
            ("link", "w/out/alias", "good"),
            ("link", "w/out/whole", "/w/out/good"),
            ("hard", "w/out/twin", "w/out/good"),
            root="/w",
        )
        target = tmp_path / "target"
        written = unpack_archive(archive, ["out", "../escape", "etc"], target, 1000)
        good = ["out/alias", "out/good", "out/twin", "out/whole"]
        assert texts(target) == dict.fromkeys(good, "good")
        assert list(map(str, written)) == good
        assert {left_out.path: left_out.reason for left_out in written.left_out} == {
            "out/up": "is a link that leads out of the working folder",
            "out/etc": "is a link that leads out of the working folder",
            "out/hard": "is neither file nor folder",
            "out/null": "is a device",
            "out/pipe": "is a named pipe",
            "etc": NOTHING_MATCHED,
        }
        assert not any(path.is_symlink() for path in target.rglob("*"))
        assert (target / "out/good").stat().st_mode & 0o7000 == 0
        assert set(tmp_path.iterdir()) == {target, archive}

    def test_a_link_that_was_there_before_is_replaced(self, tmp_path: Path) -> None:
        target, outside = tmp_path / "to", tmp_path / "outside"
        outside.mkdir()
        target.mkdir()
        (target / "out").symlink_to(outside)
        unpack_archive(packed(tmp_path, ("file", "w/out/x", "x"), root="/w"), ["out"], target, 9)
        assert list(outside.iterdir()) == []
        assert texts(target) == {"out/x": "x"}

    def test_again_over_what_is_there(self, tmp_path: Path) -> None:
        for text in ("first", "2"):
            archive = packed(tmp_path, ("file", "deep/r.txt", text), root="/w")
            written = unpack_archive(archive, ["/deep/r.txt"], tmp_path / "to", 10)
            assert list(written) == [Path("deep/r.txt")]
            assert texts(tmp_path / "to") == {"deep/r.txt": text}

    def test_a_file_that_does_not_fit_is_named_and_the_others_are_kept(
        self, tmp_path: Path
    ) -> None:
        entries = [
            ("file", f"w/{name}", "x" * size) for name, size in (("a", 60), ("b", 60), ("c", 9))
        ]
        archive = packed(tmp_path, *entries, root="/w")
        written = unpack_archive(archive, ["*"], tmp_path / "to", 100)
        assert list(map(str, written)) == ["a", "c"]
        (left,) = written.left_out
        assert left.path == "b"
        assert "more than is left of the 100 bytes" in left.reason
        assert "max_output_bytes" in left.reason

    def test_what_a_runner_of_an_earlier_cortex_has_sent(self, tmp_path: Path) -> None:
        archive = packed(tmp_path, ("file", "out/a", "1"), ("file", "other", "2"))
        assert list(unpack_archive(archive, ["out"], tmp_path / "to", 9)) == [Path("out/a")]

    @pytest.mark.parametrize("size", [512, 1500, 10_300])
    def test_what_breaks_off_can_be_fetched_again(self, tmp_path: Path, size: int) -> None:
        entries = [("file", f"w/{number}", "x" * 100) for number in range(20)]
        archive = packed(tmp_path, *entries, root="/w")
        archive.write_bytes(archive.read_bytes()[:size])
        with pytest.raises(Unavailable, match="damaged"):
            unpack_archive(archive, ["*"], tmp_path / "to", 10_000)

    def test_a_damaged_archive_can_be_fetched_again(self, tmp_path: Path) -> None:
        (tmp_path / "bad.tar").write_bytes(b"no tar at all" * 100)
        with pytest.raises(Unavailable, match="damaged"):
            unpack_archive(tmp_path / "bad.tar", ["a"], tmp_path / "to", 100)

    def test_a_path_that_is_too_long_is_named_by_its_beginning(self, tmp_path: Path) -> None:
        """A path is a key in the database, whose index takes no more than 2,700 bytes."""
        long = "/".join(f"{number:0200}" for number in range(12))
        odd = "/".join(["\udce9" * 100] * 8)  # 800 bytes there, three times as many written out
        entries = [("file", f"w/{name}/x", "x") for name in (long, odd)]
        archive = packed(tmp_path, *entries, ("file", "w/good", "g"), root="/w")
        written = unpack_archive(archive, ["*"], tmp_path / "to", 100)
        assert list(map(str, written)) == ["good"]
        assert {left_out.reason for left_out in written.left_out} == {
            "has a path of over 2,000 bytes"
        }
        assert len({left_out.path for left_out in written.left_out}) == 2
        assert all(len(left_out.path.encode()) < 1100 for left_out in written.left_out)
        first, second = (left_out.raw or b"" for left_out in written.left_out)
        assert long.encode().startswith(first)
        assert second == b"/".join([b"\xe9" * 100] * 8) + b"/x"
