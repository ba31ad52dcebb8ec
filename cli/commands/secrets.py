"""`secrets`."""

import os
import sys
import time
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer

from cli import render
from cli.errors import BadInput, ExitCode
from cli.state import State, interactive, state_of
from cortex.domain.errors import CortexError
from cortex.schemas.secrets import RotationView

_ASK_EVERY = 1.0
app = typer.Typer()
secrets_app = typer.Typer(
    no_args_is_help=True,
    help="Secrets of a project, for its jobs; and with which keys secrets are encrypted (admins).",
)
app.add_typer(secrets_app, name="secrets")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a secret.")]
Project = Annotated[
    str | None, typer.Option(help="Of this project; else of that of `cortex --project`, or yours.")
]


@secrets_app.command("set")
def set_secret(
    ctx: typer.Context,
    name: Name,
    project: Project = None,
    from_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its content is the value.")
    ] = None,
    from_env: Annotated[
        str | None, typer.Option(metavar="VARIABLE", help="Of your environment.")
    ] = None,
) -> None:
    """Set a secret: asked for without showing it, or from stdin, a file or a variable.

    The end of its only line is taken off; of several lines nothing is. Jobs refer to it by
    `secret_env: {VARIABLE: {secret: NAME}}`; those that were submitted before keep what they have.
    """
    state = state_of(ctx)
    value = _value(name, from_file, from_env)
    with state.client() as cortex:
        secret = cortex.set_secret(name, value, project)
    if state.json:
        render.print_json(secret)
    else:
        word = "was set" if secret.version == 1 else f"was set anew (version {secret.version})"
        render.say(state, f"secret `{secret.name}` of `{secret.project}` {word}")


@secrets_app.command("list")
def list_secrets(ctx: typer.Context, project: Project = None) -> None:
    """List the secrets of a project. Their values are nowhere to be had."""
    state = state_of(ctx)
    with state.client() as cortex:
        secrets = cortex.secrets(project)
    if state.json:
        render.print_json(*secrets)
    elif not secrets:
        render.say(state, "there is no secret; `cortex secrets set NAME` makes one")
    else:
        rows = [
            (
                each.name,
                each.owner,
                each.set_by,
                render.clock(each.set_at),
                str(each.version),
                render.clock(each.used_at),
            )
            for each in secrets
        ]
        heading = ("NAME", "OWNER", "SET BY", "SET", "VERSION", "USED")
        render.table(state, heading, rows, right=(4,))


@secrets_app.command("delete")
def delete_secret(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of secrets.")],
    project: Project = None,
) -> None:
    """Take secrets away. Jobs that were submitted with them keep their copies."""
    state = state_of(ctx)
    with state.client() as cortex:
        for name in names:
            cortex.delete_secret(name, project)
            if not state.json:
                render.say(state, f"secret `{name}` was taken away")


@secrets_app.command("new-key")
def new_key(
    ctx: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Such as `k2`.")],
    service: Annotated[
        str | None,
        typer.Option(help="`vault`, or another that wraps it; by the settings of this machine."),
    ] = None,
) -> None:
    """Make a key, and print it as an entry of `encryption_keys`; nothing is changed by that.

    Without --service it is in clear: whoever reads it can open secrets.
    """
    from cortex.embedded.config import user_settings
    from cortex.security.kms import new_entry

    state = state_of(ctx)
    try:
        entry = new_entry(key_id, service, user_settings().kms)
    except CortexError as error:
        raise BadInput(error.detail) from None
    if state.json:
        print(render.to_json({"entry": entry}))
    else:
        print(entry)


def _value(name: str, from_file: Path | None, from_env: str | None) -> str:
    if from_file is not None and from_env is not None:
        raise BadInput("give either --from-file or --from-env")
    if from_env is not None:
        value = os.environ.get(from_env, "")
        where = f"--from-env: the variable `{from_env}` is not set"
    elif from_file is not None:
        value = _unended(_file(from_file))
        where = f"--from-file {from_file}: it is empty"
    elif interactive():
        value, where = getpass(f"{name}: "), "nothing was typed"
    else:
        value, where = _unended(_text(sys.stdin.buffer.read(), "stdin")), "stdin is empty"
    if not value:
        raise BadInput(f"the secret `{name}` has no value: {where}")
    return value


def _file(path: Path) -> str:
    try:
        return _text(path.read_bytes(), str(path))
    except OSError as error:
        raise BadInput(f"--from-file {path}: {error.strerror}") from None


def _text(raw: bytes, where: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadInput(f"{where} is no UTF-8 text; encode it, such as by `base64`") from None


def _unended(text: str) -> str:
    """Without the end of its line, if it has but one: nobody means that to be in a token."""
    line = text.removesuffix("\n").removesuffix("\r")
    return text if "\n" in line else line


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
