"""The script that packs result files, in the shells and with the tools that images have."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.collected import NOTHING_MATCHED, Collected
from providers.conformance import _wicked as wicked
from providers.outputs import outputs_word, packing, unpack_archive

_NOBODY = 65534
_TOOLS = ("sort", "readlink", "rm", "ls", "wc", "cat", "tar")
_FEW = 5


def tools(folder: Path, *, busybox: bool, without: tuple[str, ...] = ()) -> str:
    """A PATH with these tools only."""
    folder.mkdir()
    for tool in _TOOLS:
        target = shutil.which("busybox" if busybox else tool)
        if tool not in without and target is not None:
            (folder / tool).symlink_to(target)
    return str(folder)


def packed(
    tmp_path: Path,
    work: Path,
    outputs: tuple[str, ...],
    *,
    shell: tuple[str, ...] = ("sh",),
    path: str | None = None,
    user: int | None = None,
) -> Collected:
    """What comes of packing in a folder, and reading that."""
    words = [shutil.which(shell[0]) or shell[0], *shell[1:], "-c", packing() + 'pack "$1"', "x"]
    env = {"PATH": path or os.environ["PATH"], "outputs": outputs_word(outputs)}
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    scratch.chmod(0o777)
    archive = tmp_path / "archive"
    with archive.open("wb") as file:
        done = subprocess.run(
            [*words, str(scratch / "stem")],
            cwd=work,
            env=env,
            stdout=file,
            stderr=subprocess.PIPE,
            user=user,
            check=True,
        )
    assert done.stderr == b""
    assert list(scratch.iterdir()) == []
    return unpack_archive(archive, outputs, tmp_path / "to", 2**30)


def made(work: Path) -> None:
    """The wicked folder, with fewer files."""
    work.mkdir()
    script = wicked.SCRIPT.replace(str(wicked.MANY), str(_FEW))
    subprocess.run(["sh", "-c", script], cwd=work, check=True, stdout=subprocess.DEVNULL)


def listing(*, locked: bool) -> dict[str, tuple[int, str]]:
    return {
        path: facts
        for path, facts in wicked.listing(locked=locked).items()
        if not path.startswith("w/many/") or int(path.removeprefix("w/many/")) < _FEW
    }


@pytest.fixture
def open_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cortex-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


class TestImages:
    @pytest.mark.parametrize(
        ("shell", "busybox", "without"),
        [
            (("dash",), False, ()),
            (("bash",), False, ()),
            (("busybox", "sh"), True, ()),
            (("busybox", "sh"), True, ("tar", "sort", "readlink")),
        ],
        ids=["dash", "bash", "busybox", "busybox without tar"],
    )
    def test_the_wicked_folder(
        self, tmp_path: Path, shell: tuple[str, ...], busybox: bool, without: tuple[str, ...]
    ) -> None:
        work = tmp_path / "work"
        made(work)
        path = tools(tmp_path / "bin", busybox=busybox, without=without)
        written = packed(tmp_path, work, wicked.OUTPUTS, shell=shell, path=path)
        assert wicked.facts(tmp_path / "to", written) == listing(locked=os.geteuid() != 0)
        left = {left_out.path: left_out.reason for left_out in written.left_out}
        maybe = dict(wicked.MAYBE.values())
        assert {path: why for path, why in left.items() if path not in maybe} == {
            **wicked.LEFT_OUT,
            **dict.fromkeys(wicked.UNMATCHED, NOTHING_MATCHED),
        }
        assert all(maybe[path] == why for path, why in left.items() if path in maybe)
        assert list(map(str, written.folders)) == list(wicked.FOLDERS)
        assert {str(path): raw for path, raw in written.raw.items()} == wicked.RAW

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
    def test_a_user_who_may_not_read_a_file_loses_no_other(self, open_path: Path) -> None:
        tmp_path = open_path  # pytest's own is closed to others
        work = tmp_path / "work"
        work.mkdir()
        for name in ("a", "locked", "z"):
            (work / name).write_text(name)
        (work / "closed").mkdir()
        (work / "closed/x").write_text("x")
        (work / "locked").chmod(0)
        (work / "closed").chmod(0)
        written = packed(tmp_path, work, ("*",), user=_NOBODY)
        assert list(map(str, written)) == ["a", "z"]
        unreadable = "may not be read by the job's user"
        assert {left_out.path: left_out.reason for left_out in written.left_out} == {
            "locked": unreadable,
            "closed": unreadable,
        }

    @pytest.mark.parametrize("busybox", [False, True], ids=["with -T", "without -T"])
    def test_more_matches_than_a_command_takes_words(self, tmp_path: Path, busybox: bool) -> None:
        work = tmp_path / "work"
        work.mkdir()
        count = 1100
        for number in range(count):
            (work / f"{number}.txt").write_text(str(number))
        (work / "new\nline.txt").write_text("n")
        path = tools(tmp_path / "bin", busybox=busybox)
        shell = ("busybox", "sh") if busybox else ("dash",)
        written = packed(tmp_path, work, ("*.txt",), shell=shell, path=path)
        assert len(written) == count + 1
        assert (tmp_path / "to/77.txt").read_text() == "77"
        assert (tmp_path / "to/new%0Aline.txt").read_text() == "n"


class TestPaths:
    @pytest.mark.parametrize(
        ("outputs", "kept"),
        [
            (("./a.txt", "a//b/", "a/b"), ["a.txt", "a/b/c.txt"]),
            (("**/*.txt",), ["a.txt", "a/b/c.txt", "a/d.txt"]),
            (("a/**",), ["a/.hidden/e.txt", "a/b/c.txt", "a/d.txt"]),
            (("a/.h*/*",), ["a/.hidden/e.txt"]),
            (("link/*.txt", "link/b/c.txt"), ["link/b/c.txt", "link/d.txt"]),
            (("out/*", "out/passwd", "../work/a.txt"), []),
            (("*/d.tx?",), ["a/d.txt", "link/d.txt"]),
            (("{work}/a.txt", "{work}/a/b/*"), ["a.txt", "a/b/c.txt"]),
        ],
    )
    def test_what_is_kept(self, tmp_path: Path, outputs: tuple[str, ...], kept: list[str]) -> None:
        work = tmp_path / "work"
        for name in ("a.txt", "a/b/c.txt", "a/d.txt", "a/.hidden/e.txt"):
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(name)
        (work / "link").symlink_to("a")
        (work / "out").symlink_to("/etc")
        named = tuple(pattern.replace("{work}", str(work)) for pattern in outputs)
        assert sorted(map(str, packed(tmp_path, work, named))) == sorted(kept)

    def test_of_another_folder_a_link_is_followed_in_there(self, tmp_path: Path) -> None:
        work, data = tmp_path / "work", tmp_path / "data"
        work.mkdir()
        data.mkdir()
        (data / "real").write_text("r")
        (data / "near").symlink_to("real")
        (data / "far").symlink_to(work)
        written = packed(tmp_path, work, (f"{data}/near", f"{data}/f*"))
        assert list(map(str, written)) == [f"{data}/near".lstrip("/")]
        assert len(written.left_out) <= 1
