"""`users`."""

from typing import Annotated

import typer

from cli import render
from cli.errors import BadInput
from cli.state import State, state_of
from cortex.client import LAST_SEEN
from cortex.client.urls import shown_url
from cortex.domain.accounts import User, UserKind
from cortex.domain.rights import Role

app = typer.Typer()
users_app = typer.Typer(no_args_is_help=True, help="Who has a name and a role (admins).")
app.add_typer(users_app, name="users")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a user.")]


@users_app.command("list")
def list_users(ctx: typer.Context) -> None:
    """List users. Those who have their key in the settings are not among them."""
    state = state_of(ctx)
    with state.client() as cortex:
        users = cortex.users()
    if state.json:
        render.print_json(*users)
    elif not users:
        render.say(state, "there is no user; `cortex users add` makes one")
    else:
        rows = [
            (user.name, user.role.value, user.kind.value, "yes" if user.active else "no",
             render.clock(user.created_at))
            for user in users
        ]  # fmt: skip
        render.table(state, ("NAME", "ROLE", "KIND", "ACTIVE", "SINCE"), rows)


@users_app.command("add")
def add(
    ctx: typer.Context,
    name: Name,
    role: Annotated[Role, typer.Option(help="What they may do.")] = Role.DEVELOPER,
    service: Annotated[bool, typer.Option("--service", help="A program, not a person.")] = False,
    email: Annotated[str, typer.Option(help="Where links and notices are sent.")] = "",
) -> None:
    """Add a user. `cortex keys create --user NAME` makes a key for them."""
    state = state_of(ctx)
    with state.client() as cortex:
        kind = UserKind.SERVICE if service else UserKind.PERSON
        user = cortex.add_user(name, role, kind, email=email)
    _done(state, user, f"user `{name}` was added as {role.value}")


@users_app.command("set")
def change(
    ctx: typer.Context,
    name: Name,
    role: Annotated[Role | None, typer.Option(help="What they may do.")] = None,
    active: Annotated[
        bool | None, typer.Option("--on/--off", help="Whether their keys open anything.")
    ] = None,
    email: Annotated[
        str | None, typer.Option(help="Where links and notices are sent; empty: nowhere.")
    ] = None,
) -> None:
    """Change a user's role or address, or switch a user off; it holds at once."""
    state = state_of(ctx)
    if role is None and active is None and email is None:
        raise BadInput("say what to change: --role, --email, --on/--off")
    with state.client() as cortex:
        cortex.user(name)
        user = cortex.update_user(name, role=role, active=active, email=email, if_match=LAST_SEEN)
    address = f" <{user.email}>" if user.email else ""
    now = f"{user.role.value}, {'active' if user.active else 'switched off'}{address}"
    _done(state, user, f"user `{name}` is now {now}")


@users_app.command("invite")
def invite(
    ctx: typer.Context,
    name: Name,
    expires: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Such as `12h`; else 3 days.")
    ] = None,
    by_email: Annotated[
        bool | None,
        typer.Option(
            "--by-email/--print", help="Send it, or print it; else it is sent where that can be."
        ),
    ] = None,
) -> None:
    """Make a link by which somebody sets their first password, or another one; send or print it."""
    state = state_of(ctx)
    with state.client() as cortex:
        invitation = cortex.invite(name, expires_in=expires, by_email=by_email)
        url = shown_url(cortex.connection.url)
    if state.json:
        render.print_json(invitation)
        return
    until = render.clock(invitation.expires_at)
    if invitation.sent_to:
        what = f"{invitation.kind.value} of `{name}` until {until}, for once"
        render.say(state, f"{what}; it is sent to {invitation.sent_to}")
        return
    render.say(
        state, f"{invitation.kind.value} of `{name}` until {until}, for once; it is shown only now:"
    )
    print(f"cortex --url {url} redeem {invitation.token}")


@users_app.command("reset-second-factor")
def reset_second_factor(ctx: typer.Context, name: Name) -> None:
    """Remove the second factor of somebody who has lost it."""
    state = state_of(ctx)
    with state.client() as cortex:
        cortex.reset_second_factor(name)
    if not state.json:
        render.say(state, f"`{name}` has no second factor any more")


def _done(state: State, user: User, words: str) -> None:
    if state.json:
        render.print_json(user)
    else:
        render.say(state, words)
