"""`secrets`."""

import time
from typing import Annotated

import typer

from cli import render
from cli.errors import ExitCode
from cli.state import State, state_of
from cortex.schemas.secrets import RotationView

_ASK_EVERY = 1.0
app = typer.Typer()
secrets_app = typer.Typer(
    no_args_is_help=True, help="With which keys secrets are encrypted (admins)."
)
app.add_typer(secrets_app, name="secrets")


@secrets_app.command("status")
def status(ctx: typer.Context) -> None:
    """Show what is encrypted with which key. Ends with 1 if a key is missing."""
    state = state_of(ctx)
    with state.client() as cortex:
        rotation = cortex.secret_rotation()
    _show(state, rotation)
    raise typer.Exit(ExitCode.FAILED if rotation.lost else ExitCode.OK)


@secrets_app.command("rotate")
def rotate(
    ctx: typer.Context,
    wait: Annotated[bool, typer.Option(help="Wait until nothing is left.")] = True,
) -> None:
    """Encrypt with the newest key what is under an older one."""
    state = state_of(ctx)
    with state.client() as cortex:
        rotation = cortex.rotate_secrets()
        left = rotation.left
        while wait and rotation.left:
            if rotation.left != left or not state.json:
                render.say(state, f"{rotation.left} left")
            left = rotation.left
            time.sleep(_ASK_EVERY)
            rotation = cortex.secret_rotation()
    _show(state, rotation)
    raise typer.Exit(ExitCode.FAILED if rotation.lost else ExitCode.OK)


def _show(state: State, rotation: RotationView) -> None:
    if state.json:
        render.print_json(rotation)
        return
    if rotation.newest is None:
        render.say(state, "no `encryption_keys` are configured: no secret can be stored")
    if rotation.sealed:
        rows = [
            (each.what, each.key, str(each.count), _word(each.key, each.readable, rotation))
            for each in rotation.sealed
        ]
        render.table(state, ("WHAT", "KEY", "COUNT", ""), rows)
    elif rotation.newest is not None:
        render.say(state, f"nothing is encrypted yet; `{rotation.newest}` will be the key")
    if rotation.lost:
        render.say(
            state,
            f"{rotation.lost} cannot be opened: put their key back into `encryption_keys`",
        )
    elif rotation.sealed and not rotation.left:
        render.say(state, f"all of it is under the newest key, `{rotation.newest}`")


def _word(key: str, readable: bool, rotation: RotationView) -> str:
    if not readable:
        return "the key is missing"
    return "newest" if key == rotation.newest else "older"
