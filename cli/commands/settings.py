"""`settings`."""

from typing import Annotated

import typer

from cli import render
from cli.errors import BadInput
from cli.state import State, state_of
from cortex.domain.runtime_settings import Scalar, SettingsVersion
from cortex.schemas.runtime_settings import SettingsView

app = typer.Typer()
settings_app = typer.Typer(
    no_args_is_help=True, help="Settings that are changed while Cortex runs."
)
app.add_typer(settings_app, name="settings")

Comment = Annotated[str, typer.Option("--comment", "-m", help="Why; kept in the history.")]
Version = Annotated[
    int | None, typer.Option("--if-version", help="Only if this is still the newest version.")
]


@settings_app.command("list")
def list_settings(
    ctx: typer.Context,
    changed: Annotated[bool, typer.Option("--changed", help="Only what was set here.")] = False,
) -> None:
    """Show what can be set while Cortex runs, what holds, and where that is from."""
    state = state_of(ctx)
    with state.client() as cortex:
        _show(state, cortex.settings(), changed=changed)


@settings_app.command("set")
def set_values(
    ctx: typer.Context,
    values: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="Such as jobs.accept=false.")
    ],
    comment: Comment = "",
    version: Version = None,
) -> None:
    """Set some; every process follows within a few seconds."""
    wanted: dict[str, Scalar | None] = {}
    for word in values:
        name, mark, value = word.partition("=")
        if not (name and mark and value):
            raise BadInput(f"`{word}` is not NAME=VALUE; `cortex settings unset` takes one back")
        wanted[name] = value
    _change(state_of(ctx), wanted, comment, version)


@settings_app.command("unset")
def unset(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...")],
    comment: Comment = "",
    version: Version = None,
) -> None:
    """Take back what was set: file and environment hold again."""
    _change(state_of(ctx), dict.fromkeys(names), comment, version)


@settings_app.command("history")
def history(
    ctx: typer.Context,
    before: Annotated[int | None, typer.Option(help="Only versions before this one.")] = None,
) -> None:
    """Show who changed what, the newest first."""
    state = state_of(ctx)
    with state.client() as cortex:
        page = cortex.settings_history(before=before)
    if state.json:
        render.print_json(page)
        return
    if not page.items:
        render.say(state, "nothing was set while Cortex ran")
        return
    rows = [
        (str(each.version), _when(each), each.changed_by, _words(each), each.comment)
        for each in page.items
    ]
    render.table(state, ("VERSION", "AT", "BY", "SET", "WHY"), rows, right=(0,))
    if page.next_before is not None:
        render.say(state, f"there are more: --before {page.next_before}")


@settings_app.command("rollback")
def roll_back(
    ctx: typer.Context,
    to: Annotated[int, typer.Argument(metavar="VERSION", help="0: nothing is set.", min=0)],
    comment: Comment = "",
    version: Version = None,
) -> None:
    """Set again what was set at an earlier version; that makes a new version."""
    state = state_of(ctx)
    with state.client() as cortex:
        view = cortex.roll_back_settings(to, comment=comment, version=version)
    _show(state, view, changed=True)


def _change(
    state: State, values: dict[str, Scalar | None], comment: str, version: int | None
) -> None:
    with state.client() as cortex:
        view = cortex.change_settings(values, comment=comment, version=version)
    _show(state, view, changed=True)


def _show(state: State, view: SettingsView, *, changed: bool) -> None:
    shown = [each for each in view.items if not changed or each.origin == "runtime"]
    if state.json:
        render.print_json(*shown)
        return
    render.say(state, f"version {view.version}")
    if not shown:
        render.say(state, "nothing is set: file and environment hold")
        return
    rows = [
        (each.name, _text(each.value), _origin(each.origin, each.at_start), each.description)
        for each in shown
    ]
    render.table(state, ("SETTING", "VALUE", "FROM", "WHAT"), rows)


def _origin(origin: str, at_start: Scalar) -> str:
    return f"runtime (else {_text(at_start)})" if origin == "runtime" else origin


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _words(version: SettingsVersion) -> str:
    return ", ".join(f"{name}={_text(value)}" for name, value in version.values.items()) or "-"


def _when(version: SettingsVersion) -> str:
    return "-" if version.changed_at is None else render.clock(version.changed_at)
