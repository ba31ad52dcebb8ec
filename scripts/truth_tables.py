"""Make the truth tables: each call of an adapter, and what it was checked against.

The data lies beside the adapter, in `providers/<network>/truth.toml`:

    not_calls = ["/bin/*"]        # texts of the code that look like paths and are none

    [[calls]]
    call = "POST /v1/leases"      # method (WS: a WebSocket) and path; `{...}` stands for a part
    checks = [
      { what = "request and answer", against = "official", file = "x-openapi.json", by = ["…"] },
      { what = "its refusals", against = "source", source = "file @ commit", by = ["…"] },
    ]

`by` names tests as pytest does (`tests/x/test_y.py::TestZ::test_w`). `against` is one of, the
strongest first:

    recording   real software was recorded, and the adapter met it; needs `recordings` (patterns
                below shared/providers/recordings) and `by`
    daemon      the real daemon or engine answers in a test; needs `by`
    official    the network's own OpenAPI file or library; needs `file` (below shared/providers,
                or the package's name and version) and `by`
    source      its source was read, nothing of it has run here; needs `source`
    simulator   our simulator only; needs `by`

From this come the table between the marks in `docs/providers/<network>.md` and, of the last two
kinds, the list of debts in `simulators/README.md`. A network's page needs the two marks once; the
script says which.

    python scripts/truth_tables.py            # write them (`make format`)
    python scripts/truth_tables.py --check    # say what is wrong, change nothing (`make lint`)

Wrong is: a table that is not what the data say; a path in the adapter's code that no entry has, or
an entry that the code does not have; a test, a file or a recording that does not exist.
"""

import ast
import fnmatch
import re
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapter_paths import METHODS, CodePath, paths_in

ROOT = Path(__file__).parents[1]
KINDS = {
    "recording": "a recording",
    "daemon": "the real daemon",
    "official": "the official file or library",
    "source": "source only",
    "simulator": "our simulator only",
}
DEBTS = ("source", "simulator")
_BEGIN = "<!-- truth table: made by scripts/truth_tables.py, from {source} -->"
_END = "<!-- end of the truth table -->"


class Wrong(Exception):
    """What is to be mended, for people."""


@dataclass(frozen=True)
class Check:
    """One thing of a call that was checked, and against what."""

    what: str
    against: str
    by: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()
    file: str = ""
    source: str = ""


@dataclass(frozen=True)
class Entry:
    """One call of an adapter."""

    method: str
    path: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Table:
    """All of one network."""

    network: str
    source: Path
    entries: tuple[Entry, ...]
    not_calls: tuple[str, ...] = ()


@dataclass
class Report:
    """Everything that is wrong."""

    lines: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.lines.append(text)


# The data


def tables(root: Path) -> list[Table]:
    """The data of every network that has some.

    Raises:
        Wrong: a file is not of the form above.
    """
    return [_table(path) for path in sorted(root.glob("providers/*/truth.toml"))]


def _table(path: Path) -> Table:
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    unknown = data.keys() - {"calls", "not_calls"}
    if unknown:
        raise Wrong(f"{path.parent.name}/truth.toml: unknown: {', '.join(sorted(unknown))}")
    try:
        entries = tuple(_entry(call) for call in data["calls"])
    except (KeyError, TypeError, ValueError) as error:
        raise Wrong(f"{path.parent.name}/truth.toml: {error}") from error
    return Table(path.parent.name, path, entries, tuple(data.get("not_calls", ())))


def _entry(call: dict[str, Any]) -> Entry:
    method, _, path = str(call["call"]).partition(" ")
    if method not in METHODS or not path.startswith("/"):
        raise ValueError(f"`{call['call']}` is no call: a method, then a path")
    checks = tuple(_check(call["call"], each) for each in call["checks"])
    if not checks:
        raise ValueError(f"`{call['call']}` has no `checks`")
    return Entry(method, path, checks)


def _check(call: str, said: dict[str, Any]) -> Check:
    made = Check(
        what=said["what"],
        against=said["against"],
        by=tuple(said.get("by", ())),
        recordings=tuple(said.get("recordings", ())),
        file=said.get("file", ""),
        source=said.get("source", ""),
    )
    if made.against not in KINDS:
        raise ValueError(f"`{call}`: `against` is one of {', '.join(KINDS)}")
    needs = {
        "recording": made.recordings and made.by,
        "daemon": made.by,
        "official": made.file and made.by,
        "source": made.source,
        "simulator": made.by,
    }
    if not needs[made.against]:
        raise ValueError(f"`{call}`, {made.what}: `{made.against}` needs more (see the script)")
    return made


# The code


def fits(entry: Entry, called: CodePath) -> bool:
    """Whether an entry is for a path of the code."""
    if called.method not in ("", entry.method):
        return False
    theirs, ours = entry.path.rstrip("/").split("/"), called.path.rstrip("/").split("/")
    return len(theirs) == len(ours) and all(map(_same, theirs, ours))


def _same(entry: str, code: str) -> bool:
    pattern = "[^/]*".join(re.escape(part) for part in re.split(r"\{[^{}]*\}", code))
    return re.fullmatch(pattern, entry) is not None


# What is wrong


def problems(table: Table, root: Path, shared: Path) -> list[str]:
    """What is not as the data of a network say."""
    report = Report()
    _compare(table, root, report)
    for entry in table.entries:
        for check in entry.checks:
            call = f"{table.network}: {entry.method} {entry.path}, {check.what}"
            for test in check.by:
                if not _is_test(root, test):
                    report.say(f"{call}: there is no test {test}")
            if shared.is_dir():
                _compare_files(call, check, shared, report)
    return report.lines


def _compare(table: Table, root: Path, report: Report) -> None:
    code = [
        called
        for called in paths_in(root / "providers" / table.network)
        if not any(fnmatch.fnmatchcase(called.path, pattern) for pattern in table.not_calls)
    ]
    for called in code:
        if not any(fits(entry, called) for entry in table.entries):
            report.say(
                f"{table.source.relative_to(root)} lacks `{called.method or '?'} {called.path}` "
                f"({called.where}); if it is no call, add it to `not_calls`"
            )
    for entry in table.entries:
        if not any(fits(entry, called) for called in code):
            report.say(f"{table.network}: no code calls `{entry.method} {entry.path}`")


def _compare_files(call: str, check: Check, shared: Path, report: Report) -> None:
    for pattern in check.recordings:
        if not any((shared / "recordings").glob(pattern)):
            report.say(f"{call}: there is no recording {pattern}")
    if "." in check.file and " " not in check.file and not (shared / check.file).exists():
        report.say(f"{call}: there is no file {check.file}")


def _is_test(root: Path, name: str) -> bool:
    """Whether a file has the test of this name; a file alone is a name too."""
    path, *parts = name.split("::")
    if not (root / path).is_file():
        return False
    body: list[ast.stmt] = ast.parse((root / path).read_text(encoding="utf-8")).body
    for part in parts:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        node = next((node for node in body if isinstance(node, kinds) and node.name == part), None)
        if node is None:
            return False
        body = node.body
    return True


# The pages


def page(table: Table, root: Path) -> Path:
    """Where a network's table stands."""
    return root / "docs" / "providers" / f"{table.network}.md"


def rendered(table: Table) -> str:
    """The table of one network, as Markdown."""
    lines = ["| call | what of it | checked against | by |", "|---|---|---|---|"]
    for entry in table.entries:
        first = f"`{entry.method} {entry.path}`"
        for check in entry.checks:
            lines.append(f"| {first} | {check.what} | {_against(check)} | {_by(check)} |")
            first = ""
    return "\n".join(lines)


def debts(all_tables: list[Table]) -> str:
    """What no simulator was ever compared with, as Markdown."""
    lines = ["| network | call | what of it | so far |", "|---|---|---|---|"]
    for table in all_tables:
        for entry in table.entries:
            for check in entry.checks:
                if check.against in DEBTS:
                    call = f"`{entry.method} {entry.path}`"
                    lines.append(f"| {table.network} | {call} | {check.what} | {_against(check)} |")
    return "\n".join(lines)


def _against(check: Check) -> str:
    said = check.file or check.source or ", ".join(f"`{pattern}`" for pattern in check.recordings)
    return KINDS[check.against] + (f": {said}" if said else "")


def _by(check: Check) -> str:
    short = []
    for name in check.by:
        path, *parts = name.split("::")
        short.append(f"`{Path(path).name}{'::' if parts else ''}{'::'.join(parts)}`")
    return ", ".join(short)


def placed(text: str, source: str, table: str) -> str | None:
    """A page with its table renewed; None where it has no place for one."""
    begin = _BEGIN.format(source=source)
    before, mark, rest = text.partition(begin)
    _old, end, after = rest.partition(_END)
    if not mark or not end:
        return None
    return f"{before}{begin}\n\n{table}\n\n{_END}{after}"


def pages(all_tables: list[Table], root: Path) -> list[tuple[Path, str, str]]:
    """Each page that has a table: where it is, what it comes from, the table."""
    networks = [
        (page(table, root), str(table.source.relative_to(root)), rendered(table))
        for table in all_tables
    ]
    readme = root / "simulators" / "README.md"
    return [*networks, (readme, "providers/*/truth.toml", debts(all_tables))]


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Write the tables, or with `--check` compare them. Returns the exit code."""
    check = "--check" in arguments
    report = Report()
    try:
        all_tables = tables(root)
    except Wrong as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    for table in all_tables:
        report.lines += problems(table, root, root.parent / "shared" / "providers")
    for path, source, made in pages(all_tables, root):
        text = path.read_text(encoding="utf-8")
        new = placed(text, source, made)
        if new is None:
            report.say(f"{path.relative_to(root)} lacks the line `{_BEGIN.format(source=source)}`")
        elif new != text and check:
            report.say(f"{path.relative_to(root)} is not what {source} says: run `make format`")
        elif new != text:
            path.write_text(new, encoding="utf-8")
    for line in report.lines:
        print(line, file=sys.stderr)  # noqa: T201
    return 1 if report.lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
