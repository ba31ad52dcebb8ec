"""`profile`."""

from typing import Annotated

import typer

from cli import render
from cli.errors import BadInput, CliError, ExitCode
from cli.state import State, state_of
from cortex.client.connection import checked_url
from cortex.client.profiles import PROFILE_NAME, Profile
from cortex.client.urls import shown_url

app = typer.Typer()
profile_app = typer.Typer(
    no_args_is_help=True, help="Servers by name, each with a project and a login of its own."
)
app.add_typer(profile_app, name="profile")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of a profile.")]


@profile_app.command("list")
def list_profiles(ctx: typer.Context) -> None:
    """List the profiles: which is in use, where each leads, and as whom."""
    state = state_of(ctx)
    profiles, in_use = state.profiles().all(), state.profiles().in_use()
    if state.json:
        render.print_json(*map(_shown, profiles))
    elif not profiles:
        render.say(state, "there is no profile; `cortex profile add NAME URL` makes one")
    else:
        rows = [
            (
                "*" if each == in_use else "",
                each.name,
                shown_url(each.url),
                each.project or "",
                _who(state, each),
            )
            for each in profiles
        ]
        render.table(state, ("", "NAME", "SERVER", "PROJECT", "LOGGED IN AS"), rows)


@profile_app.command("show")
def show(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Else the one that counts now.")
    ] = None,
) -> None:
    """Show a profile; without a name the one that counts now, and why."""
    state = state_of(ctx)
    if name is None:
        with state.client() as cortex:
            connection = cortex.connection
        profile = connection.profile
        if profile is None:
            raise CliError(
                f"no profile counts: {shown_url(connection.url)} is named by the "
                f"{connection.source}",
                code="not_found",
                exit_code=ExitCode.NOT_FOUND,
            )
    else:
        profile = state.profiles().get(name)
    if state.json:
        render.print_json(_shown(profile))
        return
    for what, value in (
        ("name", profile.name),
        ("server", shown_url(profile.url)),
        ("project", profile.project or "your own"),
        ("logged in as", _who(state, profile) or "nobody: `cortex --profile … login`"),
    ):
        render.say(state, f"{what:<13} {value}")


@profile_app.command("add")
def add(
    ctx: typer.Context,
    name: Name,
    url: Annotated[str, typer.Argument(metavar="URL", help="Of the server.")],
    use: Annotated[bool, typer.Option("--use", help="Let it count from now on.")] = False,
) -> None:
    """Add a profile, or change the one of this name; `--project` says where submissions go.

    Then `cortex --profile NAME login`. When the server changes the login is forgotten: it goes to
    its own server only.
    """
    state = state_of(ctx)
    if not PROFILE_NAME.fullmatch(name):
        raise BadInput(
            f"`{name[:60]}` is no name of a profile: letters, digits, `.`, `_` and `-`, at most 41"
        )
    store = state.profiles()
    known = store.find(name)
    profile = Profile(name=name, url=checked_url(url), project=state.asked_project)
    if known is not None and known.url != profile.url:
        _forget_login(state, known)
    store.keep(profile)
    if use:
        store.use(name)
    if not state.json:
        render.say(state, f"profile `{name}` leads to {profile.url}")


@profile_app.command("use")
def use(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Of a profile.")] = None,
    none: Annotated[
        bool, typer.Option("--none", help="No profile counts any more, unless it is named.")
    ] = False,
) -> None:
    """Let a profile count where nothing else names a server."""
    state = state_of(ctx)
    if (name is None) is not none:
        raise BadInput("name a profile, or give --none")
    state.profiles().use(name)
    if not state.json:
        words = "no profile counts" if name is None else f"profile `{name}` counts"
        render.say(state, f"{words} from now on, where nothing else is named")


@profile_app.command("remove")
def remove(ctx: typer.Context, name: Name) -> None:
    """Forget a profile and its login; the session itself ends by `cortex --profile NAME logout`."""
    state = state_of(ctx)
    profile = state.profiles().get(name)
    _forget_login(state, profile)
    state.profiles().drop(name)
    if not state.json:
        render.say(state, f"profile `{name}` was removed")


def _shown(profile: Profile) -> Profile:
    """Without a password that an earlier version has kept in the URL."""
    return profile.model_copy(update={"url": shown_url(profile.url)})


def _who(state: State, profile: Profile) -> str:
    login = state.logins(profile.name).known(profile.url)
    return "" if login is None else login.user


def _forget_login(state: State, profile: Profile) -> None:
    """The profile's own; one that others share stays."""
    logins = state.logins(profile.name)
    login = logins.known(profile.url)
    if login is not None and login.profile == profile.name:
        logins.drop(profile.url)
