"""`login`, `logout`, `password` and `sessions`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.errors import BadInput
from cli.passwords import asked_password, new_password
from cli.state import State, interactive, state_of

if TYPE_CHECKING:
    from cortex.client.logins import StoredLogin

app = typer.Typer()
sessions_app = typer.Typer(no_args_is_help=True, help="Where you are logged in.")
app.add_typer(sessions_app, name="sessions")


@app.command("login")
def login(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Yours, else it is asked for; of a service (--sso)."),
    ] = None,
    key: Annotated[
        bool, typer.Option("--key", help="Keep an API key instead; it is asked for too.")
    ] = False,
    sso: Annotated[
        bool,
        typer.Option("--sso", help="With a browser, which may be on another machine."),
    ] = False,
) -> None:
    """Log in, and stay so: the password is asked for, or a line of stdin; then the code, if needed.

    What is needed later is kept in a file that only you may read, and refreshed by itself.
    """
    state = state_of(ctx)
    if key and sso:
        raise BadInput("give either --key or --sso")
    if sso:
        from cli.browser_login import log_in_with_browser

        user = log_in_with_browser(state, name)
    else:
        user = _keep_key(state) if key else _log_in(state, name)
    if not state.json:
        render.say(state, f"logged in as `{user}`; `cortex logout` ends it")


@app.command("logout")
def logout(ctx: typer.Context) -> None:
    """End the login that is kept for this server, and forget it."""
    state = state_of(ctx)
    with state.client() as cortex:
        url, store = cortex.connection.url, state.logins(cortex.connection.profile_name)
    known = store.find(url)
    try:
        if known is not None and known.session:
            _end(known)
    finally:
        store.drop(url)
    if not state.json:
        from cortex.client.urls import shown_url

        where = shown_url(url)
        words = f"logged out of {where}" if known else f"nobody was logged in at {where}"
        render.say(state, words)


@app.command("password")
def password(ctx: typer.Context) -> None:
    """Change your password (asked for, or two lines of stdin); your other sessions end."""
    state = state_of(ctx)
    old, new = asked_password("Old password"), new_password()
    with state.client() as cortex:
        cortex.change_password(old, new)
    if not state.json:
        render.say(state, "the password was changed; all other sessions have ended")


@sessions_app.command("list")
def list_sessions(
    ctx: typer.Context,
    user: Annotated[
        str | None, typer.Option(help="Whose; else one's own, for admins everybody's.")
    ] = None,
) -> None:
    """List open sessions: whose, from where, with what, since when, used when."""
    state = state_of(ctx)
    with state.client() as cortex:
        sessions = cortex.sessions(user)
        login = cortex.connection.login
    if state.json:
        render.print_json(*sessions)
    elif not sessions:
        render.say(state, "nobody is logged in")
    else:
        own = login.session if login is not None else ""
        rows = [
            (each.id, each.user, each.source, each.client, render.clock(each.created_at),
             render.clock(each.last_used_at), "this one" if each.id == own else "")
            for each in sessions
        ]  # fmt: skip
        render.table(state, ("ID", "USER", "FROM", "WITH", "SINCE", "USED", ""), rows)


@sessions_app.command("revoke")
def revoke(
    ctx: typer.Context,
    session_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of sessions.")],
) -> None:
    """End sessions, at once."""
    state = state_of(ctx)
    with state.client() as cortex:
        for session_id in session_ids:
            cortex.end_session(session_id)
            if not state.json:
                render.say(state, f"session `{session_id}` was ended")


def _end(login: "StoredLogin") -> None:
    """End its session, whatever key is given to this command."""
    from cortex.client import ApiError, Cortex

    try:
        with Cortex(login.url, login.access_token) as cortex:
            fresh = cortex.refresh(login.refresh_token)
        with Cortex(login.url, fresh.access_token) as cortex:
            cortex.logout()
    except ApiError as error:
        if error.status != 401:  # it is over already
            raise


def _log_in(state: State, name: str | None) -> str:
    from cortex.client import ApiError
    from cortex.client.logins import StoredLogin

    user = name or _asked("Name")
    secret = asked_password()
    with state.client() as cortex:
        try:
            made = cortex.login(user, secret)
        except ApiError as error:
            if error.code != "second_factor_needed":
                raise
            code = _asked("Code")
            if not code:
                raise
            made = cortex.login(user, secret, code=code)
        connection = cortex.connection
        kept = StoredLogin.of_session(connection.url, made, connection.profile_name)
    state.logins().keep(kept)
    return kept.user


def _keep_key(state: State) -> str:
    from cortex.client import Cortex
    from cortex.client.logins import StoredLogin

    key = asked_password("API key")
    with state.client() as cortex:
        url, profile = cortex.connection.url, cortex.connection.profile_name
    with Cortex(url, key, data_dir=state.data_dir) as cortex:
        user = cortex.info().user
    state.logins().keep(StoredLogin.of_key(url, user, key, profile))
    return user


def _asked(what: str) -> str:
    if interactive():
        print(f"{what}: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()
