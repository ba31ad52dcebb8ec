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
        shown = (cortex.plugin(name),) if name else cortex.plugins()
    if state.json:
        render.print_json(*shown)
    elif name:
        _one(state, shown[0])
    else:
        columns = ("NAME", "PACKAGE", "STATUS", "ADDS", "TAKEN", "SKIPPED", "MESSAGE")
        render.table(state, columns, [_row(plugin) for plugin in shown], right=(4, 5))


def _row(plugin: PluginView) -> tuple[str, ...]:
    return (
        plugin.name,
        f"{plugin.package} {plugin.version}".strip(),
        plugin.status,
        _adds(plugin),
        str(sum(each.delivered for each in plugin.subscribers)),
        str(sum(each.skipped for each in plugin.subscribers)),
        plugin.message,
    )


def _adds(plugin: PluginView) -> str:
    listens = any(each.id == plugin.name for each in plugin.subscribers)
    parts = ["events"] if listens else []
    parts += [f"strategy {name}" for name in plugin.strategies]
    parts += [f"channel {name}" for name in plugin.channels]
    return ", ".join(parts)


def _one(state: State, plugin: PluginView) -> None:
    render.fields(
        state,
        [
            ("name", plugin.name),
            ("package", f"{plugin.package} {plugin.version}".strip()),
            ("status", plugin.status),
            ("message", plugin.message),
            ("adds", _adds(plugin)),
            ("reported", render.clock(plugin.updated_at)),
        ],
    )
    for each in plugin.subscribers:
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
    if plugin.skipped:
        print()
        columns = ("SKIPPED", "EVENT", "SUBJECT", "TRIES", "ERROR")
        rows = [
            (render.clock(e.time), e.type, e.subject, str(e.attempts), e.error)
            for e in plugin.skipped
        ]
        render.table(state, columns, rows, right=(3,))
