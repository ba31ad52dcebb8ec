"""`make provider`: what it makes passes the checks as it is, and a bad name writes nothing."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support import patience

ROOT = Path(__file__).parents[2]
LONGEST = "netoftwelve1"


def copied(target: Path) -> Path:
    """A copy of what git knows of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    return target


def run(tree: Path, *words: str, within: float = 60) -> subprocess.CompletedProcess[str]:
    """Run Python in the copy, on its sources."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=patience(within),
    )


def scaffold(tree: Path, *name: str) -> subprocess.CompletedProcess[str]:
    return run(tree, str(ROOT / "scripts/new_provider.py"), *name, "--root", str(tree))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def made(tree: Path) -> Path:
    """The copy, with two networks more: one with the longest name there may be."""
    for name in ("mynet", LONGEST):
        done = scaffold(tree, name)
        assert done.returncode == 0, done.stderr
        assert f"made providers/{name}/provider.py" in done.stdout
    return tree


class TestMade:
    def test_it_is_named_as_a_type_and_can_be_loaded(self, made: Path) -> None:
        project = tomllib.loads((made / "pyproject.toml").read_text())["project"]
        types = project["entry-points"]["cortex.providers"]
        assert types["mynet"] == "providers.mynet:MynetProvider"
        assert types["null"] == "providers.null:NullProvider"
        code = "from providers.mynet import MynetProvider as P; print(P.type_name, P.Config)"
        assert run(made, "-c", code).stdout.startswith("mynet <class 'providers.mynet.provider.")

    def test_nothing_of_the_example_is_left_in_it(self, made: Path) -> None:
        for folder in ("providers", "simulators", "tests/providers"):
            for path in (made / folder / "mynet").rglob("*.py"):
                assert "queue" not in path.read_text().lower(), path
                assert "example" not in path.read_text().lower(), path

    def test_style(self, made: Path) -> None:
        for words in (("check",), ("format", "--check")):
            done = run(made, "-m", "ruff", *words, "--no-cache", ".")
            assert done.returncode == 0, done.stdout

    @pytest.mark.slow
    def test_house(self, made: Path) -> None:
        """Its test lies where it belongs; who imports whom is kept; its page's links lead on."""
        subprocess.run(["git", "init", "-q"], cwd=made, check=True)
        subprocess.run(["git", "add", "-A"], cwd=made, check=True)
        done = run(
            made,
            *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            *("tests/test_house.py", "-k", "mirror or contracts or links"),
            within=120,
        )
        assert done.returncode == 0, done.stdout[-3000:]

    @pytest.mark.slow
    def test_its_conformance_test_runs(self, made: Path) -> None:
        """The parts that are quick; all of them are the example's own test."""
        done = run(
            made,
            *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            *("tests/providers/mynet", "-k", "exit_code or wrong_token or both_streams"),
            within=120,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        assert "5 passed" in done.stdout or "6 passed" in done.stdout, done.stdout[-500:]


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("", "name the network: `make provider NAME=mynet`"),
            ("Mynet", "`Mynet` is no name for a network: 2 to 12 lower-case letters"),
            ("my-net", "no name for a network"),
            ("1net", "beginning with a letter"),
            ("class", "no word of Python"),
            ("netoftwelve12", "no name for a network"),
            ("../up", "no name for a network"),
            ("null", "there is a provider type `null` in pyproject.toml"),
            ("http", "`providers/http.py` is there already; choose another name"),
            ("conformance", "`providers/conformance` is there already"),
            ("kit", "`simulators/kit` is there already"),
        ],
    )
    def test_a_name_that_cannot_be_had(self, tree: Path, name: str, words: str) -> None:
        before = (tree / "pyproject.toml").read_text()
        done = scaffold(tree, name)
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert (tree / "pyproject.toml").read_text() == before

    def test_a_second_time(self, made: Path) -> None:
        kept = (made / "providers/mynet/provider.py").read_text()
        done = scaffold(made, "mynet")
        assert done.returncode == 2
        assert "there is a provider type `mynet`" in done.stderr
        assert (made / "providers/mynet/provider.py").read_text() == kept
