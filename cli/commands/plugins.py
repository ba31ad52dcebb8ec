"""`plugins`."""

from typing import Annotated

import typer

from cli import render
from cli.state import State, state_of
from cortex.schemas.plugins import PluginView

app = typer.Typer()


@app.callback()
def _group() -> None:
    """A group, so that the command keeps its name."""


@app.command("plugins")
def plugins(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this one.")] = None,
) -> None:
    """List plugins: what they add, and whether they take the events they are handed."""
    state = state_of(ctx)
    with state.client() as cortex:
        found = (cortex.plugin(name),) if name else cortex.plugins()
    if state.json:
        render.print_json(*found)
    elif name:
        _one(state, found[0])
    else:
        columns = ("NAME", "PACKAGE", "STATUS", "ADDS", "TAKEN", "SKIPPED", "MESSAGE")
        render.table(state, columns, [_row(item) for item in found], right=(4, 5))


def _row(item: PluginView) -> tuple[str, ...]:
    return (
        item.name,
        f"{item.package} {item.version}".strip(),
        item.status,
        _adds(item),
        str(sum(each.delivered for each in item.subscribers)),
        str(sum(each.skipped for each in item.subscribers)),
        item.message,
    )


def _adds(item: PluginView) -> str:
    listens = any(each.id == item.name for each in item.subscribers)
    parts = ["events"] if listens else []
    parts += [f"strategy {name}" for name in item.strategies]
    parts += [f"channel {name}" for name in item.channels]
    return ", ".join(parts)


def _one(state: State, item: PluginView) -> None:
    render.fields(
        state,
        [
            ("name", item.name),
            ("package", f"{item.package} {item.version}".strip()),
            ("status", item.status),
            ("message", item.message),
            ("adds", _adds(item)),
            ("reported", render.clock(item.updated_at)),
        ],
    )
    for each in item.subscribers:
        print()
        again = render.clock(each.retry_at) if each.retry_at and each.error else ""
        render.fields(
            state,
            [
                ("subscriber", each.id),
                ("taken", str(each.delivered)),
                ("skipped", str(each.skipped)),
                ("error", each.error),
                ("tried", f"{each.attempts} times, again {again}" if each.attempts else ""),
            ],
        )
    if item.skipped:
        print()
        columns = ("SKIPPED", "EVENT", "SUBJECT", "TRIES", "ERROR")
        rows = [
            (render.clock(e.time), e.type, e.subject, str(e.attempts), e.error)
            for e in item.skipped
        ]
        render.table(state, columns, rows, right=(3,))
