"""The truth tables: the real ones are up to date, and what is untrue is found."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
CODE = """
BASE = '/v1'

class Api:
    async def get(self, item):
        return await self.http.get(f'{BASE}/things/{item}')

    async def make(self):
        await self.http.send('POST', '/v1/things', json={})
        return ['/bin/sh', '-c', 'true']
"""
TRUTH = """
not_calls = ["/bin/*", "/v1"]

[[calls]]
call = "GET /v1/things/{id}"
checks = [{ what = "answer", against = "simulator", by = ["tests/test_one.py::TestIt::test_a"] }]

[[calls]]
call = "POST /v1/things"
[[calls.checks]]
what = "all"
against = "recording"
recordings = ["net/*.json"]
by = ["tests/test_one.py::test_b"]
"""
TESTS = """
class TestIt:
    async def test_a(self): ...

def test_b(): ...
"""


def _script() -> ModuleType:
    path = ROOT / "scripts" / "truth_tables.py"
    spec = importlib.util.spec_from_file_location("truth_tables", path)
    sys.path.insert(0, str(path.parent))  # as for a script that is run
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["truth_tables"] = module
    spec.loader.exec_module(module)
    return module


truth = _script()


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small project with one network whose table is right."""
    project = tmp_path / "project"
    _write(project / "providers" / "net" / "api.py", CODE)
    _write(project / "providers" / "net" / "truth.toml", TRUTH)
    _write(project / "tests" / "test_one.py", TESTS)
    _write(tmp_path / "shared" / "providers" / "recordings" / "net" / "one.json", "{}")
    marks = "# Net\n\n<!-- truth table: made by scripts/truth_tables.py, from {} -->\n{}\nAfter.\n"
    end = "<!-- end of the truth table -->"
    page = marks.format("providers/net/truth.toml", end)
    _write(project / "docs" / "providers" / "net.md", page)
    _write(project / "simulators" / "README.md", marks.format("providers/*/truth.toml", end))
    assert truth.main([], project) == 0
    return project


def test_those_of_this_project_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert truth.main(["--check"]) == 0, capsys.readouterr().err


def test_a_table_is_written_between_its_marks_and_stays(root: Path) -> None:
    page = (root / "docs" / "providers" / "net.md").read_text()
    assert (
        "| `GET /v1/things/{id}` | answer | our simulator only | `test_one.py::TestIt::test_a` |"
        in page
    )
    assert "| `POST /v1/things` | all | a recording: `net/*.json` | `test_one.py::test_b` |" in page
    assert page.endswith("After.\n")
    debts = (root / "simulators" / "README.md").read_text()
    assert "| net | `GET /v1/things/{id}` | answer | our simulator only |" in debts
    assert "POST" not in debts
    assert truth.main(["--check"], root) == 0


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (
            "docs/providers/net.md",
            "our simulator only",
            "a recording",
            "is not what providers/net/truth.toml says",
        ),
        ("docs/providers/net.md", "<!-- end of the truth table -->", "", "lacks the line"),
        (
            "providers/net/api.py",
            "'/v1/things',",
            "'/v1/other',",
            "lacks `POST /v1/other` (net/api.py:9)",
        ),
        ("providers/net/api.py", "'POST'", "'PUT'", "lacks `PUT /v1/things`"),
        (
            "providers/net/api.py",
            "/things/{item}",
            "/things",
            "no code calls `GET /v1/things/{id}`",
        ),
        (
            "tests/test_one.py",
            "test_a",
            "test_c",
            "there is no test tests/test_one.py::TestIt::test_a",
        ),
        (
            "providers/net/truth.toml",
            "net/*.json",
            "net/gone.json",
            "there is no recording net/gone.json",
        ),
        (
            "providers/net/truth.toml",
            '"simulator"',
            '"faith"',
            "`against` is one of recording, daemon",
        ),
        ("providers/net/truth.toml", '"POST /v1', '"SEND /v1', "is no call: a method, then a path"),
        ("providers/net/truth.toml", 'recordings = ["net/*.json"]', "", "`recording` needs more"),
    ],
)
def test_what_is_untrue_is_said(
    root: Path, capsys: pytest.CaptureFixture[str], file: str, old: str, new: str, words: str
) -> None:
    text = (root / file).read_text()
    assert old in text
    _write(root / file, text.replace(old, new))
    assert truth.main(["--check"], root) == 1
    assert words in capsys.readouterr().err


def test_without_the_shared_folder_files_are_not_looked_for(root: Path) -> None:
    (root.parent / "shared").rename(root.parent / "elsewhere")
    assert truth.main(["--check"], root) == 0
