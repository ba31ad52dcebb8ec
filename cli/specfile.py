"""Job files: YAML or JSON, one job or many, with the line and column of what is wrong."""

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from cli.errors import BadInput
from cortex.documents import Document as Written
from cortex.documents import (
    DocumentError,
    Malformed,
    Position,
    Shape,
    locate,
    nearest,
    read,
    read_value,
    shape_of,
    size_notes,
    snippet,
    told,
)
from cortex.domain.conditions.kernel import word_errors
from cortex.domain.errors import FieldError, field_errors
from cortex.domain.spec import JobSpec
from cortex.schemas.jobs import BatchRequest

MAX_BYTES = 4 * 2**20
_SHOWN = 20
_GROUP_FORM = "a group is one mapping with `jobs:`, see examples/group.yaml"


@dataclass
class Document:
    """One job of a file, not checked yet.

    Attributes:
        source: The file's name, for messages.
        where: Which job of the file it is, such as `jobs[3]`; empty if it is the only one.
        written: The document of the file that it stands in; None if it is from no file.
        inside: Path of the job in that document; empty if it is all of it.
        options: Which command line option set a field, by its dotted path.
        nul: Path of a text with a NUL character.
    """

    source: str
    data: dict[str, Any]
    where: str = ""
    written: Written | None = None
    inside: str = ""
    options: dict[str, str] = field(default_factory=dict)
    nul: str | None = None

    @cached_property
    def positions(self) -> dict[str, Position]:
        """Line and column (from 1) of each field, by its dotted path; "" is the job."""
        if self.written is None:
            return {}
        positions = locate(self.written.text, self.written.number)
        if not self.inside:
            return positions
        return {
            path.removeprefix(self.inside).removeprefix("."): position
            for path, position in positions.items()
            if path == self.inside or path.startswith((f"{self.inside}.", f"{self.inside}["))
        }

    def spec(self) -> JobSpec:
        """The checked job.

        Raises:
            BadInput: it is not valid; one line of detail per wrong field.
        """
        try:
            spec = JobSpec.model_validate(self.data)
        except ValidationError as error:
            raise self.refuse(field_errors(error)) from None
        errors = word_errors(spec)
        if self.nul is not None:
            errors.append(FieldError(field=self.nul, message="contains a NUL character"))
        if errors:
            raise self.refuse(errors)
        return spec

    def notes(self, model: type[BaseModel] = JobSpec) -> list[str]:
        """How sizes were read that have other units, each with its place."""
        return [self.place(note) for note in size_notes(self.data, model)]

    def refuse(self, errors: Sequence[FieldError], what: str = "job") -> BadInput:
        """The errors of this job, each with its place."""
        which = f" ({self.where})" if self.where else ""
        return BadInput(f"{self.source}{which} is no valid {what}", details=self.places(errors))

    def places(self, errors: Sequence[FieldError]) -> list[str]:
        """One line for each error, up to twenty."""
        lines = [self.place(error) for error in errors[:_SHOWN]]
        if len(errors) > _SHOWN:
            lines.append(f"and {len(errors) - _SHOWN} more")
        return lines

    def place(self, error: FieldError) -> str:
        """One line: where, which field, what is wrong."""
        path = "" if error.field == "spec" else error.field
        option = nearest(self.options, path) if path else None
        if option is not None:
            return f"{option}: `{error.field}` {error.message}"
        position = nearest(self.positions, path)
        text = f"`{error.field}` {error.message}" if path else error.message
        return f"{self.source}:{position[0]}:{position[1]}: {text}" if position else text


def load(path: str) -> list[Document]:
    """The jobs in a file (`-`: standard input).

    A file holds one job, several separated by `---`, or a list of them under `jobs:`.

    Raises:
        BadInput: it cannot be read, is no YAML or JSON, or holds no jobs.
    """
    source = "<stdin>" if path == "-" else path
    documents = parse(_read(path), source)
    folder = Path.cwd() if path == "-" else Path(path).absolute().parent
    for document in documents:
        _locate_scene(document, folder)
    return documents


def load_whole(path: str, model: type[BaseModel], form: str = _GROUP_FORM) -> Document:
    """A file (`-`: standard input) with one mapping, whatever it has under `jobs:`.

    Raises:
        BadInput: it cannot be read, is no YAML or JSON, or holds anything else.
    """
    source = "<stdin>" if path == "-" else path
    document = parse_whole(_read(path), source, model, form)
    folder = Path.cwd() if path == "-" else Path(path).absolute().parent
    jobs = document.data.get("jobs")
    if isinstance(jobs, list):
        document.data["jobs"] = [_located(job, source, folder) for job in jobs]
    return document


def parse_whole(
    raw: bytes, source: str, model: type[BaseModel], form: str = _GROUP_FORM
) -> Document:
    """The one mapping in the content of a file; see `load_whole`."""
    documents = _documents(raw, source)
    if len(documents) == 1:
        data, nul = _built(documents[0], model, source)
        if isinstance(data, dict):
            return Document(source, data, written=documents[0], nul=nul)
        what = _kind(data)
    else:
        what = f"{len(documents)} documents"
    raise BadInput(f"{source} holds {what}; {form}")


def _located(job: Any, source: str, folder: Path) -> Any:
    if not isinstance(job, Mapping):
        return job
    document = Document(source, dict(job))
    _locate_scene(document, folder)
    return document.data


def parse(text: str | bytes, source: str) -> list[Document]:
    """The jobs in the content of a file; see `load`."""
    documents: list[Document] = []
    for document in _documents(text.encode() if isinstance(text, str) else text, source):
        keys = {key for key in document.names() if not key.startswith("x-")}
        if keys == {"jobs"}:
            documents += _listed(document, source)
            continue
        data, nul = _built(document, JobSpec, source)
        if not isinstance(data, dict):
            line = locate(document.text, document.number).get("", (1, 1))[0]
            raise BadInput(
                f"{source}:{line}: a job is a mapping such as `command: [echo, hello]`, "
                f"this is {_kind(data)}"
            )
        if isinstance(data.get("jobs"), list):
            raise BadInput(
                f"{source} holds a group of jobs, not single ones",
                details=[f"run it as one: cortex group run {shlex.quote(source)}"],
            )
        documents.append(Document(source, data, written=document, nul=nul))
    if not documents:
        raise BadInput(f"{source} holds no job; see `cortex schema` and examples/hello.yaml")
    if len(documents) > 1:
        for number, job_document in enumerate(documents, start=1):
            job_document.where = job_document.where or f"job {number}"
    return documents


def set_field(document: Document, assignment: str) -> None:
    """Set a field from `--set resources.cpu=2`.

    Where text belongs, all that follows the first `=` is the text. Elsewhere it is read as YAML.

    Raises:
        BadInput: it is no assignment, or its value has two readings.
    """
    name, equals, text = assignment.partition("=")
    if not equals or not re.fullmatch(r"[\w-]+(\.[^\[\]]+)*", name):
        raise BadInput(f"--set `{assignment}`: write it as `field=value`, `resources.cpu=2`")
    path, shape = _steps(name)
    value: Any = text
    if shape.fields or shape.item is not None or shape.scalar not in ("written", "text"):
        try:
            value = read_value(text, shape)
        except (DocumentError, Malformed) as error:
            raise BadInput(f"--set {name}: `{name}` {error.message}") from None
    put(document, path, value, "--set")


def _steps(name: str) -> tuple[list[str], Shape]:
    """The keys on the way to a field, and its place; a variable's own name may have dots."""
    shape = shape_of(JobSpec)
    path: list[str] = []
    parts = name.split(".")
    for number, part in enumerate(parts):
        if shape.keyed:
            return [*path, ".".join(parts[number:])], shape.at("")
        path.append(part)
        shape = shape.at(part)
    return path, shape


def put(document: Document, path: str | Sequence[str], value: Any, option: str) -> None:
    """Set a (nested) field and remember which option did."""
    target = document.data
    *parents, last = path.split(".") if isinstance(path, str) else path
    for name in parents:
        inner = target.get(name)
        target[name] = dict(inner) if isinstance(inner, Mapping) else {}
        target = target[name]
    target[last] = value
    document.options[".".join([*parents, last])] = option


def _locate_scene(document: Document, folder: Path) -> None:
    """A scene is named as seen from the job file; the server knows no such place."""
    wanted = document.data.get("render")
    scene = wanted.get("scene") if isinstance(wanted, Mapping) else None
    if not isinstance(wanted, Mapping) or not isinstance(scene, str) or not scene.strip():
        return
    if "://" not in scene and not os.path.isabs(scene.strip()):
        place = os.path.normpath(folder / scene)
        document.data["render"] = {**wanted, "scene": place}


def _read(path: str) -> bytes:
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
    return raw


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _documents(raw: bytes, source: str) -> list[Written]:
    try:
        return read(raw)
    except Malformed as error:
        raise _malformed(error, raw.decode("utf-8-sig", errors="replace"), source) from None


def _built(written: Written, model: type[BaseModel], source: str) -> tuple[Any, str | None]:
    """The values for a model, and the path of a NUL character in them."""
    try:
        built = written.build(model)
    except DocumentError as error:
        line, column = nearest(locate(written.text, written.number), error.path) or (1, 1)
        what = f"`{error.path[:200]}` " if error.path else "it "
        raise BadInput(f"{source}:{line}:{column}: {what}{error.message}") from None
    return built.value, built.nul


def _listed(written: Written, source: str) -> list[Document]:
    data, nul = _built(written, BatchRequest, source)
    items = data["jobs"]
    if not isinstance(items, list):
        raise BadInput(f"{source}: `jobs` must be a list of jobs")
    documents = []
    for number, entry in enumerate(items):
        path = f"jobs[{number}]"
        if not isinstance(entry, Mapping):
            line, column = locate(written.text, written.number).get(path, (1, 1))
            raise BadInput(f"{source}:{line}:{column}: `{path}` must be a job, not {_kind(entry)}")
        inside = nul is not None and nul.startswith((f"{path}.", f"{path}["))
        documents.append(
            Document(
                source,
                dict(entry),
                where=path,
                written=written,
                inside=path,
                nul=nul.removeprefix(path).removeprefix(".") if nul and inside else None,
            )
        )
    return documents


def _malformed(error: Malformed, text: str, source: str) -> BadInput:
    place = f"{source}:{error.line}:{error.column}" if error.line else source
    details = snippet(text, error.line, error.column)
    if "\\t" in error.message:
        details.append("YAML is indented with spaces, not with tabs")
    return BadInput(f"{place}: no valid YAML: {told(text, error)}", details=details)


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "a text", type(None): "nothing"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else "no mapping")
