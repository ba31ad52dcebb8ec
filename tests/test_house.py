"""What holds for the whole repository: who imports whom, what files may say, what is pinned."""

import ast
import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Longer than 600 lines, and why.
LONG_FILES: dict[str, str] = {}

# Written so that this file does not contain them.
_PATHS = re.compile(r"(?<![\w./-])/(?:wo" "rk|fa" "rm|ro" "ot)/")
_INDEX_HOSTS = re.compile(
    r"py"
    r"pi\.org|python"
    r"hosted\.org|npm"
    r"js\.(?:org|com)|crates"
    r"\.io|proxy\.go"
    r"lang"
    r"|repo\.mav"
    r"en|deb\.deb"
    r"ian\.org"
)
_UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
_PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[\w.+!]+)(?: ; [^#]+?)?(?: +# .*)?$")


def tracked() -> list[Path]:
    """Every text file that git knows and that is there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8000]]


def offenders(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in tracked()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_imports_keep_to_the_contracts() -> None:
    done = subprocess.run(
        [str(Path(sysconfig.get_path("scripts")) / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_worker_stands_beside_api_and_cli() -> None:
    """What the contracts say of `worker.py`, which import-linter cannot read."""
    assert not imported(ROOT / "worker.py") & {"api", "cli"}
    for room in ("cortex", "providers", "activities", "workflows", "api", "cli", "simulators"):
        for path in (ROOT / room).rglob("*.py"):
            assert "worker" not in imported(path), path


def test_blender_is_imported_nowhere() -> None:
    """It is GPL: only a script that runs in a process of its own may."""
    painter = ROOT / "providers/render/blender/paint.py"
    for room in ("cortex", "providers", "activities", "workflows", "api", "cli", "simulators"):
        for path in (ROOT / room).rglob("*.py"):
            assert path == painter or "bpy" not in imported(path), path


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, wherever in it."""
    packages: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            packages.add(node.module.partition(".")[0])
    return packages


class TestFiles:
    def test_none_names_a_path_of_somebodys_machine(self) -> None:
        assert not offenders(_PATHS)

    def test_none_names_the_host_of_a_package_index(self) -> None:
        assert not offenders(_INDEX_HOSTS)

    def test_none_is_unfinished(self) -> None:
        assert not offenders(_UNFINISHED)

    def test_none_is_a_lock_file_with_addresses(self) -> None:
        names = {path.name for path in tracked()}
        assert not names & {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"}

    def test_long_ones_have_a_reason(self) -> None:
        long = {
            str(path.relative_to(ROOT))
            for path in tracked()
            if path.suffix in {".py", ".ts", ".tsx", ".md", ".sh", ".yml", ".yaml", ".toml"}
            and len(path.read_text().splitlines()) > 600
        }
        assert long == set(LONG_FILES)

    def test_links_between_documents_lead_somewhere(self) -> None:
        documents = [path for path in tracked() if path.suffix == ".md"]
        assert documents
        broken = [
            f"{path.relative_to(ROOT)}: {target}"
            for path in documents
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
            if not (path.parent / target).exists()
        ]
        assert not broken

    def test_every_decision_stands_in_the_index(self) -> None:
        folder = ROOT / "docs/decisions"
        index = (folder / "README.md").read_text()
        pages = [path.name for path in folder.glob("*.md") if path.name != "README.md"]
        assert not [name for name in pages if f"]({name})" not in index]


def declared() -> dict[str, list[Requirement]]:
    project = PROJECT["project"]
    return {
        "run time": [Requirement(line) for line in project["dependencies"]],
        "embedded": [
            Requirement(line) for line in project["optional-dependencies"].get("embedded", [])
        ],
        "render": [
            Requirement(line) for line in project["optional-dependencies"].get("render", [])
        ],
        "extras": [
            Requirement(line)
            for extra, lines in project["optional-dependencies"].items()
            if extra not in ("embedded", "render")
            for line in lines
        ],
        "dev": [Requirement(line) for line in PROJECT["dependency-groups"]["dev"]],
    }


def pins(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text().splitlines()
    matches = [_PIN.match(line) for line in lines if not line.startswith("#")]
    assert all(matches), [
        line for line in lines if not line.startswith("#") and not _PIN.match(line)
    ]
    return {canonicalize_name(match["name"]): match["version"] for match in matches if match}


class TestRequirements:
    """A failure here means: run `make lock`."""

    @pytest.mark.parametrize(
        ("file", "groups"),
        [
            ("requirements.txt", ("run time", "embedded")),
            ("requirements-render.txt", ("run time", "render")),
            ("requirements-server.txt", ("run time",)),
            ("requirements-dev.txt", ("dev",)),
        ],
    )
    def test_pins_are_what_the_project_asks_for(self, file: str, groups: tuple[str, ...]) -> None:
        pinned = pins(file)
        for group in groups:
            for wanted in declared()[group]:
                name = canonicalize_name(wanted.name)
                assert name in pinned, f"{file} lacks {name}: run `make lock`"
                assert wanted.specifier.contains(pinned[name], prereleases=True), wanted

    def test_the_files_agree(self) -> None:
        runtime = pins("requirements.txt")
        for file in (
            "requirements-server.txt",
            "requirements-render.txt",
            "requirements-dev.txt",
        ):
            for name, version in pins(file).items():
                assert runtime.get(name, version) == version, f"{file}: {name}"

    def test_images_hold_no_embedded_server(self) -> None:
        server = pins("requirements-server.txt")
        embedded = {canonicalize_name(wanted.name) for wanted in declared()["embedded"]}
        assert not embedded & set(server)
        assert set(server) < set(pins("requirements.txt"))

    def test_no_address_or_option_is_pinned(self) -> None:
        for file in ROOT.glob("requirements*.txt"):
            for line in file.read_text().splitlines():
                assert "://" not in line
                assert not line.startswith("-")

    def test_every_dependency_says_why_it_is_there(self) -> None:
        text = (ROOT / "docs/decisions/dependencies.md").read_text()
        explained = {canonicalize_name(name) for name in re.findall(r"^- `([\w.-]+)`", text, re.M)}
        wanted = {
            canonicalize_name(each.name)
            for group in ("run time", "embedded", "render", "extras")
            for each in declared()[group]
        }
        assert explained >= wanted, sorted(wanted - explained)
        assert not explained - wanted, "explained, but no longer a dependency"


# Tests of several rooms at once, and what has no source of its own.
_BESIDE = {"accepted", "integration", "e2e", "faults", "deploy", "scripts", "support"}
# Tests of a whole room: what they show has no single source.
_OF_A_ROOM = {
    "api": {"money_cli"},
    "cli/verify": {"command", "options"},
    "embedded": {"detach", "stack"},
    "plugins": {"handout"},
    "providers": {"configured", "trial"},
    "providers/akash": {
        *("contract", "leases", "parts", "recordings", "results", "trouble"),
        "watching",
    },
    "providers/docker": {"conditions", "logs"},
    "providers/golem": {"books", "market", "money", "openapi", "results"},
    "providers/golem/real": {"flow", "following", "same_answers", "verify"},
    "providers/local": {
        *("conditions", "disk_watch", "isolation", "storage", "survival"),
    },
    "providers/nosana": {"answers", "recordings", "trouble"},
    "providers/render": {"true_frames"},
    "providers/runner": {"output", "runner"},
    "simulators": {"runs"},
    "simulators/nosana": {"recordings"},
    "workflows": {"fingerprints", "replay", "timeouts"},
    "": {"house", "logging", "worked_example"},
}


def test_tests_mirror_sources() -> None:
    """`cortex/db/jobs/frames.py` is tested by `tests/db/jobs/test_frames.py`, or `_<aspect>.py`."""
    stray = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        folder = path.parent.relative_to(ROOT / "tests")
        if folder.parts[:1] and folder.parts[0] in _BESIDE:
            continue
        name = path.stem.removeprefix("test_")
        if name == "conformance" and folder.parts[:-1] == ("providers",):
            continue  # of the network as a whole
        if name not in _OF_A_ROOM.get(str(folder).strip("."), set()) and not _source(folder, name):
            stray.append(f"{path.relative_to(ROOT)} names nothing in {_room(folder)}")
    assert not stray, "\n".join(stray)


def _room(folder: Path) -> Path:
    """Where the sources lie whose tests lie here."""
    own = bool(folder.parts) and (ROOT / folder.parts[0]).is_dir()
    return folder if own else Path("cortex") / folder


def _source(folder: Path, name: str) -> bool:
    """Whether the name is that of a source, or begins with one."""
    room, words = ROOT / _room(folder), name.split("_")
    names = ["_".join(words[:count]) for count in range(1, len(words) + 1)]
    return any(
        (room / file).exists()
        for one in names
        for file in (f"{one}.py", f"_{one}.py", f"__{one}__.py", one)
    )
