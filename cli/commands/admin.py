"""`admin` and `redeem`: the first administrator, and links that set passwords."""

from typing import Annotated

import typer

from cli import render
from cli.errors import CliError
from cli.passwords import new_password
from cli.state import state_of
from cortex.domain.accounts import User
from cortex.domain.rights import Role

app = typer.Typer()
admin_app = typer.Typer(no_args_is_help=True, help="The first administrator of a server.")
app.add_typer(admin_app, name="admin")


@admin_app.command("create")
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a user.")],
) -> None:
    """Add an administrator who logs in with a password: it is asked for, or a line of stdin."""
    from cortex.client import ApiError

    state = state_of(ctx)
    password = new_password("Password")
    with state.client() as cortex:
        try:
            user = cortex.user(name)
        except ApiError as error:
            if error.status != 404:
                raise
            user = cortex.add_user(name, Role.ADMIN)
        _require_new(user)
        invitation = cortex.invite(name, expires_in="5m", by_email=False)
        if invitation.kind != "invitation":
            raise CliError(
                f"`{name}` has a password already; `cortex users invite {name}` resets it"
            )
        cortex.redeem(invitation.token, password)
    if state.json:
        render.print_json(user)
    else:
        render.say(state, f"`{name}` is an admin now; `cortex login {name}` logs in")


@app.command("redeem")
def redeem(
    ctx: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Of an invitation or a reset.")],
) -> None:
    """Set your password (asked for, or a line of stdin) with the token that an admin gave you."""
    state = state_of(ctx)
    password = new_password()
    with state.client() as cortex:
        cortex.redeem(token, password)
    if not state.json:
        render.say(state, "the password is set; `cortex login` logs in with it")


def _require_new(user: User) -> None:
    if user.role != Role.ADMIN:
        raise CliError(
            f"there is a user `{user.name}` already, who is {user.role.value}; "
            f"`cortex users set {user.name} --role admin` makes them an admin"
        )
