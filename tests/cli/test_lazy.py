"""The table of commands, and what the rest of Cortex tells people to type."""

import ast
import importlib
import re
from collections.abc import Iterator

import typer

from cli.lazy import COMMANDS
from tests.support.command import REPO

_ROOMS = ("activities", "api", "cli", "cortex", "providers", "workflows")
_COMMAND = re.compile(
    r"(?:^|`|: |\n)cortex(?: --[a-z-]+ \S+)* (?P<name>[a-z][a-z-]*)(?: (?P<below>[a-z][a-z-]*))?"
)
_DEVICE = "cortex on {}"  # how the program calls itself where it logs in


def _texts(tree: ast.AST) -> Iterator[str]:
    """All texts; what is filled in is `{}`."""
    parts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(each) for each in node.values}
            yield "".join(
                str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values
            )
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts
        ):
            yield node.value


def _told() -> Iterator[tuple[str, str, str]]:
    """Where a command is named, it, and the word behind it."""
    for room in _ROOMS:
        for path in sorted((REPO / room).rglob("*.py")):
            source = path.read_text()
            if "cortex " not in source:
                continue
            for text in _texts(ast.parse(source)):
                for match in _COMMAND.finditer(text) if text != _DEVICE else ():
                    yield path.relative_to(REPO).as_posix(), match["name"], match["below"] or ""


def _below(name: str) -> set[str]:
    """The commands below one; empty: it has none."""
    module = importlib.import_module(f"cli.commands.{COMMANDS[name].module}")
    command = typer.main.get_group(module.app).commands[name]
    return set(getattr(command, "commands", ()))


def test_every_command_that_people_are_told_exists() -> None:
    told = set(_told())
    assert ("cortex/domain/notices.py", "job", "") in told
    assert {each for each in told if each[1] not in COMMANDS} == set()
    below = {name: _below(name) for _, name, word in told if word}
    assert {
        (where, name, word)
        for where, name, word in told
        if word and below[name] and word not in below[name]
    } == set()
