"""Whether the migrations are one history."""

from pathlib import Path

import pytest

from scripts.check_migrations import FOLDER, faults


def test_ours_are() -> None:
    assert faults(FOLDER) == []


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"0001_a": ("0001", None), "0002_b": ("0002", "0001")}, []),
        (
            {"0001_a": ("0001", None), "0002_b": ("0002", "0001"), "0002_c": ("0002", "0001")},
            ["there are 2 migrations 0002", "2 migrations follow 0001"],
        ),
        ({"0001_a": ("0001", None), "0003_b": ("0003", "0002")}, ["nothing is 0002"]),
        ({"0001_a": ("0002", None)}, ["not what its name says"]),
    ],
    ids=["good", "two at once", "a gap", "another name"],
)
def test_what_is_wrong(
    tmp_path: Path, files: dict[str, tuple[str, str | None]], told: list[str]
) -> None:
    for name, (number, follows) in files.items():
        before = "None" if follows is None else f'"{follows}"'
        text = f'revision = "{number}"\ndown_revision = {before}\n'
        (tmp_path / f"{name}.py").write_text(text)
    found = faults(tmp_path)
    assert len(found) == len(told)
    assert all(any(words in fault for fault in found) for words in told)
