"""Unpacking what the engine hands out: hostile archives, and files of real containers."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from providers.docker import DockerProvider
from providers.errors import InvalidSpec
from providers.unpack import Budget, unpack
from tests.providers.docker.conftest import job, run_to_end

Make = Callable[..., Any]


def archive(path: Path, *entries: tuple[str, str, str]) -> Path:
    """A tar of (kind, name, content or link target)."""
    kinds = {"file": tarfile.REGTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE}
    kinds |= {"dir": tarfile.DIRTYPE, "device": tarfile.CHRTYPE, "fifo": tarfile.FIFOTYPE}
    with tarfile.open(path, "w") as tar:
        for kind, name, text in entries:
            member = tarfile.TarInfo(name)
            member.type = kinds[kind]
            member.mode = 0o4777
            if kind == "file":
                member.size = len(text)
            elif kind in ("link", "hard"):
                member.linkname = text
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class TestUnpack:
    def test_nothing_leaves_the_destination(self, tmp_path: Path) -> None:
        target = tmp_path / "target"
        target.mkdir()
        tar = archive(
            tmp_path / "a.tar",
            ("dir", "out", ""),
            ("file", "out/../../escape", "x"),
            ("file", "/etc/escape", "x"),
            ("link", "out/up", "../../.."),
            ("file", "out/up/escape", "x"),
            ("link", "out/etc", "/etc"),
            ("link", "out/passwd", "/etc/passwd"),
            ("hard", "out/hard", "../../../etc/passwd"),
            ("device", "out/null", ""),
            ("fifo", "out/pipe", ""),
            ("file", "out/good", "good"),
            ("link", "out/alias", "good"),
            ("hard", "out/twin", "out/good"),
        )
        written = unpack(tar, target, "out", Budget(1000))
        assert files(tmp_path / "target") == {
            "out/etc/escape": "x",
            "out/up/escape": "x",
            "out/good": "good",
            "out/alias": "good",
            "out/twin": "good",
        }
        assert sorted(map(str, written)) == [
            "out/alias",
            "out/etc/escape",
            "out/good",
            "out/twin",
            "out/up/escape",
        ]
        assert not any(path.is_symlink() for path in target.rglob("*"))
        assert (target / "out/good").stat().st_mode & 0o7000 == 0
        assert set(tmp_path.iterdir()) == {target, tar}

    def test_a_link_that_is_there_already_is_not_followed(self, tmp_path: Path) -> None:
        target, outside = tmp_path / "target", tmp_path / "outside"
        target.mkdir()
        outside.mkdir()
        (target / "out").symlink_to(outside)
        unpack(archive(tmp_path / "a.tar", ("file", "out/x", "x")), target, "out", Budget(10))
        assert list(outside.iterdir()) == []
        assert files(target) == {"out/x": "x"}

    def test_again_over_what_is_there(self, tmp_path: Path) -> None:
        target = tmp_path / "target"
        target.mkdir()
        for text in ("first", "2"):
            tar = archive(tmp_path / "a.tar", ("file", "r.txt", text))
            assert unpack(tar, target, "/deep/r.txt", Budget(10)) == [Path("deep/r.txt")]
            assert files(target) == {"deep/r.txt": text}

    def test_the_size_is_limited_over_all(self, tmp_path: Path) -> None:
        tar = archive(tmp_path / "a.tar", ("file", "r", "12345678"))
        budget = Budget(10)
        unpack(tar, tmp_path, "a", budget)
        with pytest.raises(InvalidSpec, match="10 bytes"):
            unpack(tar, tmp_path, "b", budget)


@pytest.mark.integration
class TestRealFiles:
    async def test_relative_to_the_working_folder(
        self, provider: DockerProvider, tmp_path: Path
    ) -> None:
        spec = job("echo here > r.txt; echo v > /v/x; ln -s r.txt l", workdir="/some/where")
        spec = spec.model_copy(
            update={"volumes": job("", volumes=[{"name": "v", "path": "/v"}]).volumes}
        )
        ref, _ = await run_to_end(provider, spec)
        written = await provider.outputs(ref, ["r.txt", "/v", "l", "../../etc"], tmp_path)
        assert files(tmp_path) == {"r.txt": "here\n", "v/x": "v\n", "l": "here\n"}
        assert len(written) == 3

    async def test_too_large(self, make: Make, tmp_path: Path) -> None:
        provider: DockerProvider = await make(max_output_bytes="1Mi")
        ref, _ = await run_to_end(provider, job("head -c 2000000 /dev/zero > big"))
        with pytest.raises(InvalidSpec, match="max_output_bytes"):
            await provider.outputs(ref, ["big"], tmp_path)
