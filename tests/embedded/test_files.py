import stat
from pathlib import Path

from cortex.embedded.files import last_lines, open_log, trim_log, write_private


def test_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "secret.json"
    write_private(path, "old")
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_writer_goes_on_after_its_log_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "it.log"
    with open_log(path) as log:
        log.write(b"x" * 100 + b"\n")
        trim_log(path, limit=50)
        log.write(b"after\n")
    assert path.read_text() == "after\n"
    assert (tmp_path / "it.log.1").read_text() == "x" * 100 + "\n"


def test_small_log_stays(tmp_path: Path) -> None:
    path = tmp_path / "it.log"
    path.write_text("little\n")
    trim_log(path, limit=50)
    assert path.read_text() == "little\n"


def test_last_lines_since_the_last_start(tmp_path: Path) -> None:
    path = tmp_path / "it.log"
    path.write_text("old\n" + "".join(f"line {n}\n" for n in range(30)))
    assert last_lines(path, 2) == ["line 28", "line 29"]
    assert last_lines(path, 99, since=4)[0] == "line 0"
    assert last_lines(path, 1, since=10**6) == ["line 29"]
    assert last_lines(tmp_path / "none") == []
