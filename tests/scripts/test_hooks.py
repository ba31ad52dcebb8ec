"""The hooks of a commit: the parts of `make check`, all of them, and they find what is wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import patience

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / ".pre-commit-config.yaml"
_OF_FILES = re.compile(r" --force-exclude$| \.$")
"""A hook gets the names of files, where `make` takes the whole folder."""


def hooks() -> list[dict[str, Any]]:
    (local,) = yaml.safe_load(CONFIG.read_text())["repos"]
    assert local["repo"] == "local"
    hooks: list[dict[str, Any]] = local["hooks"]
    return hooks


def of_makefile() -> set[str]:
    """The commands of the targets that `make check` is made of."""
    text = (ROOT / "Makefile").read_text()
    (parts,) = re.findall(r"^check: ([a-z ]+?) ##", text, re.M)
    commands: set[str] = set()
    for target in parts.split():
        (recipe,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.M)
        commands |= {line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()}
    return {_OF_FILES.sub("", command) for command in commands}


def test_they_are_the_commands_of_make_check() -> None:
    """A failure here means: give .pre-commit-config.yaml the command that the Makefile has."""
    assert {_OF_FILES.sub("", hook["entry"]) for hook in hooks()} == of_makefile()
    assert len(of_makefile()) == len(hooks()) >= 6


def test_each_says_which_files_it_is_about() -> None:
    for hook in hooks():
        assert {"types", "types_or", "files"} & set(hook), hook["id"]
        whole = not hook.get("pass_filenames", True)
        assert whole != hook["entry"].endswith("--force-exclude"), hook["id"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with the hooks, this environment, and the sources that two of them look at."""
    for name in (".pre-commit-config.yaml", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / ".gitignore").write_text("/.venv\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def run_hooks(tree: Path, *ids: str) -> subprocess.CompletedProcess[str]:
    """Run hooks on what is staged, as git would."""
    subprocess.run(["git", "add", "-A"], cwd=tree, check=True)
    skipped = ",".join(hook["id"] for hook in hooks() if hook["id"] not in ids)
    home = {"PRE_COMMIT_HOME": str(tree / ".git" / "home"), "SKIP": skipped}
    return subprocess.run(
        [sys.executable, "-m", "pre_commit", "run"],
        cwd=tree,
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        timeout=patience(60),
    )


class TestStagedFiles:
    def test_good_ones_pass(self, tree: Path) -> None:
        (tree / "good.py").write_text('"""Good."""\n\nONE = 1\n')
        done = run_hooks(tree, "ruff-check", "ruff-format")
        assert done.returncode == 0, done.stdout

    def test_bad_ones_stop_the_commit_and_stay_as_they_are(self, tree: Path) -> None:
        (tree / "bad.py").write_text("import os\nx = { }\n")
        done = run_hooks(tree, "ruff-check", "ruff-format")
        assert done.returncode == 1
        assert "F401" in done.stdout
        assert "- hook id: ruff-format" in done.stdout
        assert (tree / "bad.py").read_text() == "import os\nx = { }\n"

    def test_others_are_not_looked_at(self, tree: Path) -> None:
        (tree / "page.md").write_text("import os\n")
        done = run_hooks(tree, *(hook["id"] for hook in hooks()))
        assert done.returncode == 0, done.stdout
        assert done.stdout.count("(no files to check)") == len(hooks())
