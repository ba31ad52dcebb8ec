"""Some fields of each entry of a list: `--fields id,name,state`."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from cli import render
from cli.errors import BadInput
from cli.state import State

Fields = Annotated[
    str | None,
    typer.Option(
        "--fields", help="Only these, with commas: `id,name,state`; with --json one object a line."
    ),
]


def names_of(text: str, known: Iterable[str]) -> tuple[str, ...]:
    """The names in the option, each once.

    Raises:
        BadInput: one of them is none of the known ones.
    """
    known = tuple(known)
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    wrong = [name for name in names if name not in known]
    if wrong:
        raise BadInput(f"--fields: there is no field `{wrong[0]}`; there are {', '.join(known)}")
    return names


def show_fields(state: State, names: Sequence[str], entries: Iterable[dict[str, Any]]) -> None:
    """One line for each entry, with the values in the order of the names."""
    if state.json:
        for entry in entries:
            line = json.dumps({name: entry.get(name) for name in names}, ensure_ascii=False)
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
        return
    rows = [tuple(_text(entry.get(name)) for name in names) for entry in entries]
    render.table(state, tuple(name.upper() for name in names), rows)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
