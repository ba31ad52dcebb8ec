"""Templates of the command line: found by name, filled from options."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cli.errors import BadInput
from cli.specfile import Document, set_field
from cli.state import State
from cortex.client import Cortex, Filling
from cortex.domain.templates import TemplateSummary

_NAMED = re.compile(r"(?P<name>[^@]+)(@(?P<version>[1-9][0-9]{0,8}))?")


@dataclass(frozen=True)
class Named:
    """A template as the command line names it: `NAME`, `NAME@3`."""

    name: str
    version: int | None = None

    @classmethod
    def of(cls, text: str) -> "Named":
        """Read one.

        Raises:
            BadInput: it is none.
        """
        match = _NAMED.fullmatch(text)
        if match is None:
            raise BadInput(f"`{text}` is no template; write NAME, or NAME@3 for its version 3")
        version = match["version"]
        return cls(match["name"], None if version is None else int(version))


def find_template(state: State, cortex: Cortex, name: str) -> TemplateSummary:
    """The one template of this name, in the project that was named or in any that one may see.

    Raises:
        BadInput: there is none, or one in each of several projects.
    """
    found = cortex.templates(project=state.project, name=name).items
    if len(found) == 1:
        return found[0]
    if not found:
        where = f" in the project `{state.project}`" if state.project else ""
        raise BadInput(f"there is no template `{name}`{where}; see `cortex templates list`")
    projects = ", ".join(f"`{each.project}`" for each in found)
    raise BadInput(f"there is a template `{name}` in each of {projects}; say which with --project")


def assignment(option: str, text: str) -> tuple[str, str]:
    """Name and value of `NAME=VALUE`.

    Raises:
        BadInput: it is none; the value may be a secret and is not repeated.
    """
    name, equals, value = text.partition("=")
    if not name:
        raise BadInput(f"{option} must be `NAME=VALUE`; the name is missing")
    if not equals:
        raise BadInput(f"{option} `{name[:60]}`: write `NAME=VALUE`")
    return name, value


def filling_of(
    named: Named, params: Sequence[str] | None, overrides: Sequence[str] | None
) -> Filling:
    """What `--param k=v` and `--set resources.cpu=2` say.

    Raises:
        BadInput: one of them is no assignment.
    """
    given: dict[str, str] = {}
    for text in params or ():
        name, value = assignment("--param", text)
        if name in given:
            raise BadInput(f"--param `{name[:60]}` is given twice")
        given[name] = value
    document = Document("--set", {})
    for override in overrides or ():
        set_field(document, override)
    return Filling(version=named.version, params=given, overrides=document.data)
