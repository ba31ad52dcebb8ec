"""Job files: YAML or JSON, one job or many, with the line and column of what is wrong."""

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cli.errors import BadInput
from cortex.domain.errors import FieldError, field_errors
from cortex.domain.spec import JobSpec

MAX_BYTES = 4 * 2**20
Position = tuple[int, int]


@dataclass
class Document:
    """One job of a file, not checked yet.

    Attributes:
        source: The file's name, for messages.
        where: Which job of the file it is, such as `jobs[3]`; empty if it is the only one.
        positions: Line and column (from 1) of each field, by its dotted path; "" is the job.
        options: Which command line option set a field, by its dotted path.
    """

    source: str
    data: dict[str, Any]
    where: str = ""
    positions: dict[str, Position] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)

    def spec(self) -> JobSpec:
        """The checked job.

        Raises:
            BadInput: it is not valid; one line of detail per wrong field.
        """
        try:
            return JobSpec.model_validate(self.data)
        except ValidationError as error:
            raise self.refuse(field_errors(error)) from None

    def refuse(self, errors: list[FieldError]) -> BadInput:
        """The errors of this job, each with its place."""
        which = f" ({self.where})" if self.where else ""
        return BadInput(
            f"{self.source}{which} is no valid job",
            details=[self.place(item) for item in errors],
        )

    def place(self, item: FieldError) -> str:
        """One line: where, which field, what is wrong."""
        path = "" if item.field == "spec" else item.field
        option = _nearest(self.options, path) if path else None
        if option is not None:
            return f"{option}: `{item.field}` {item.message}"
        position = _nearest(self.positions, path)
        text = f"`{item.field}` {item.message}" if path else item.message
        return f"{self.source}:{position[0]}:{position[1]}: {text}" if position else text


def load(path: str) -> list[Document]:
    """The jobs in a file (`-`: standard input).

    A file holds one job, several separated by `---`, or a list of them under `jobs:`.

    Raises:
        BadInput: it cannot be read, is no YAML or JSON, or holds no jobs.
    """
    source = "<stdin>" if path == "-" else path
    found = parse(_read(path), source)
    folder = Path.cwd() if path == "-" else Path(path).absolute().parent
    for document in found:
        _locate_scene(document, folder)
    return found


def load_whole(path: str) -> Document:
    """A file (`-`: standard input) with one mapping, whatever it has under `jobs:`.

    Raises:
        BadInput: it cannot be read, is no YAML or JSON, or holds anything else.
    """
    source = "<stdin>" if path == "-" else path
    found = _documents(_read(path), source)
    if len(found) != 1 or not isinstance(found[0][0], Mapping):
        what = f"{len(found)} documents" if len(found) != 1 else _kind(found[0][0])
        raise BadInput(
            f"{source} holds {what}; a group is one mapping with `jobs:`, see examples/group.yaml"
        )
    data, positions = found[0]
    document = Document(source, dict(data), positions=positions)
    folder = Path.cwd() if path == "-" else Path(path).absolute().parent
    jobs = document.data.get("jobs")
    if isinstance(jobs, list):
        document.data["jobs"] = [_located(job, source, folder) for job in jobs]
    return document


def _located(job: Any, source: str, folder: Path) -> Any:
    if not isinstance(job, Mapping):
        return job
    document = Document(source, dict(job))
    _locate_scene(document, folder)
    return document.data


def parse(text: str, source: str) -> list[Document]:
    """The jobs in the text of a file; see `load`."""
    found: list[Document] = []
    for data, positions in _documents(text, source):
        if isinstance(data, Mapping) and set(data) == {"jobs"}:
            found += _listed(data["jobs"], positions, source)
        elif isinstance(data, Mapping) and isinstance(data.get("jobs"), list):
            raise BadInput(
                f"{source} holds a group of jobs, not single ones",
                details=[f"run it as one: cortex group run {source}"],
            )
        elif isinstance(data, Mapping):
            found.append(Document(source, dict(data), positions=positions))
        else:
            line = positions.get("", (1, 1))[0]
            raise BadInput(
                f"{source}:{line}: a job is a mapping such as `command: [echo, hello]`, "
                f"this is {_kind(data)}"
            )
    if not found:
        raise BadInput(f"{source} holds no job; see `cortex schema` and examples/hello.yaml")
    if len(found) > 1:
        for number, document in enumerate(found, start=1):
            document.where = document.where or f"job {number}"
    return found


def set_field(document: Document, assignment: str) -> None:
    """Set a field from `--set resources.cpu=2`; the value is read as YAML.

    Raises:
        BadInput: it is no assignment.
    """
    path, equals, text = assignment.partition("=")
    if not equals or not re.fullmatch(r"[\w-]+(\.[^.=]+)*", path):
        raise BadInput(f"--set `{assignment}`: write it as `field=value`, `resources.cpu=2`")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    put(document, path, value, "--set")


def put(document: Document, path: str, value: Any, option: str) -> None:
    """Set a (nested) field and remember which option did."""
    target = document.data
    *parents, last = path.split(".")
    for name in parents:
        inner = target.get(name)
        target[name] = dict(inner) if isinstance(inner, Mapping) else {}
        target = target[name]
    target[last] = value
    document.options[path] = option


def _locate_scene(document: Document, folder: Path) -> None:
    """A scene is named as seen from the job file; the server knows no such place."""
    wanted = document.data.get("render")
    scene = wanted.get("scene") if isinstance(wanted, Mapping) else None
    if isinstance(wanted, Mapping) and isinstance(scene, str) and scene and "://" not in scene:
        place = os.path.normpath(folder / scene)
        document.data["render"] = {**wanted, "scene": place}


def _read(path: str) -> str:
    try:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1) if path == "-" else _read_file(Path(path))
    except FileNotFoundError:
        raise BadInput(
            f"there is no file `{path}`",
            details=["to run a command, write it after `--`: cortex run -- echo hello"],
        ) from None
    except OSError as error:
        raise BadInput(f"`{path}` cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise BadInput(f"`{path}` is over {MAX_BYTES // 2**20} MiB: that is no job file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"`{path}` is no UTF-8 text (byte {error.start})") from None


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _documents(text: str, source: str) -> list[tuple[Any, dict[str, Position]]]:
    if text.lstrip()[:1] == "{":
        try:  # JSON allows tabs, YAML does not
            data = json.loads(text)
        except ValueError:
            pass
        else:
            return [(data, _json_positions(text))]
    try:
        return [
            (_construct(node), _positions(node, source))
            for node in yaml.compose_all(text, yaml.SafeLoader)
            if node is not None and node.tag != "tag:yaml.org,2002:null"
        ]
    except yaml.MarkedYAMLError as error:
        raise _malformed(error, source) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"{source} is no valid YAML: {_one_line(str(error))}") from None


def _json_positions(text: str) -> dict[str, Position]:
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        return _positions(node, "") if node is not None else {}
    except (yaml.YAMLError, BadInput):
        return {}


def _construct(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _positions(root: yaml.Node, source: str) -> dict[str, Position]:
    found = {"": _position(root)}
    todo: list[tuple[str, yaml.Node]] = [("", root)]
    seen: set[int] = set()
    while todo:
        path, node = todo.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name = f"{path}.{key.value}" if path else str(key.value)
                if name in found and source:
                    line, column = _position(key)
                    raise BadInput(f"{source}:{line}:{column}: `{name}` stands there twice")
                found[name] = _position(key)
                todo.append((name, value))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                found[f"{path}[{number}]"] = _position(value)
                todo.append((f"{path}[{number}]", value))
    return found


def _position(node: yaml.Node) -> Position:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _listed(items: Any, positions: dict[str, Position], source: str) -> list[Document]:
    if not isinstance(items, list):
        raise BadInput(f"{source}: `jobs` must be a list of jobs")
    found = []
    for number, item in enumerate(items):
        path = f"jobs[{number}]"
        own = {
            name.removeprefix(path).removeprefix("."): position
            for name, position in positions.items()
            if name == path or name.startswith((f"{path}.", f"{path}["))
        }
        if not isinstance(item, Mapping):
            line, column = positions.get(path, (1, 1))
            raise BadInput(f"{source}:{line}:{column}: `{path}` must be a job, not {_kind(item)}")
        found.append(Document(source, dict(item), where=path, positions=own))
    return found


def _malformed(error: yaml.MarkedYAMLError, source: str) -> BadInput:
    mark = error.problem_mark or error.context_mark
    place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
    what = _one_line(error.problem or error.context or "it cannot be read")
    details = []
    if mark is not None and mark.buffer is not None:
        snippet = mark.get_snippet(indent=0)
        details = snippet.splitlines() if snippet else []
    if "\\t" in what:
        details.append("YAML is indented with spaces, not with tabs")
    return BadInput(f"{place}: no valid YAML: {what}", details=details)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "a text", type(None): "nothing"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else "no mapping")


def _nearest(places: Mapping[str, Any], path: str) -> Any:
    """The place of a field, or of the nearest one that it is part of."""
    while path:
        if path in places:
            return places[path]
        path = re.sub(r"(\.[^.\[\]]+|\[\d+\]|^[^.\[\]]+)$", "", path)
        if path.endswith("."):
            path = path[:-1]
    return places.get("")
