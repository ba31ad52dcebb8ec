"""`notices`."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from cli import render
from cli.errors import BadInput
from cli.passwords import asked_password
from cli.state import State, state_of
from cortex.domain.notices import ChannelStatus, NoticeEvent
from cortex.schemas.notices import NoticesView

app = typer.Typer()
notices_app = typer.Typer(help="Choose what you are told by e-mail or in a chat.")
app.add_typer(notices_app, name="notices")

_NONE: Final = "none"
_EVENTS: Final = ", ".join(each.value for each in NoticeEvent)
Events = Annotated[
    str | None,
    typer.Option(metavar="EVENTS", help=f"Of your own: some of {_EVENTS}; or none."),
]


@notices_app.callback(invoke_without_command=True)
def show(ctx: typer.Context) -> None:
    """Show what you are told, and how; choose by `set`, `on` and `off`."""
    if ctx.invoked_subcommand is not None:
        return
    state = state_of(ctx)
    with state.client() as cortex:
        _tell(state, cortex.notices())


@notices_app.command("set")
def change(
    ctx: typer.Context,
    own: Events = None,
    projects: Annotated[
        str | None,
        typer.Option(metavar="EVENTS", help="The same of others' things in your projects."),
    ] = None,
    email: Annotated[bool | None, typer.Option("--email/--no-email", help="By e-mail.")] = None,
    chat: Annotated[
        bool | None,
        typer.Option(
            "--chat/--no-chat",
            help="In a chat: its URL (discord://…, slack://…, ntfys://…) is asked for, or a line "
            "of stdin.",
        ),
    ] = None,
    named: Annotated[
        bool | None,
        typer.Option("--named/--not-named", help="Whether jobs of others may name you."),
    ] = None,
) -> None:
    """Choose what you are told; what is not given stays as it is."""
    state = state_of(ctx)
    if own is None and projects is None and email is None and chat is None and named is None:
        raise BadInput("say what to change: --own, --projects, --email, --chat, --named")
    url = None if chat is None else ""
    if chat:
        url = asked_password("URL of the chat")
    with state.client() as cortex:
        now = cortex.update_notices(
            own=_events(own, "--own"),
            projects=_events(projects, "--projects"),
            email=email,
            chat=url,
            named=named,
        )
    _tell(state, now)


@notices_app.command("off")
def off(ctx: typer.Context) -> None:
    """Be told nothing any more; what you have chosen is kept."""
    state = state_of(ctx)
    with state.client() as cortex:
        _tell(state, cortex.update_notices(enabled=False))


@notices_app.command("on")
def on(ctx: typer.Context) -> None:
    """Be told again what you have chosen."""
    state = state_of(ctx)
    with state.client() as cortex:
        _tell(state, cortex.update_notices(enabled=True))


def _events(text: str | None, option: str) -> Sequence[str] | None:
    if text is None:
        return None
    words = [word.strip() for word in text.split(",") if word.strip()]
    if words == [_NONE]:
        return ()
    for word in words:
        if word not in set(NoticeEvent):
            raise BadInput(f"{option}: `{word}` is none of {_EVENTS}")
    return words


def _tell(state: State, now: NoticesView) -> None:
    if state.json:
        render.print_json(now)
        return
    if not now.enabled:
        render.say(state, "you are told nothing; `cortex notices on` changes that")
    rows = [
        ("own", _words(now.own)),
        ("in your projects", _words(now.projects)),
        ("named by others", "yes" if now.named else "no"),
        ("e-mail", _way(now.email)),
        ("chat", _way(now.chat)),
    ]
    render.table(state, ("OF", "TOLD"), rows, spare=(1,))


def _words(events: Sequence[NoticeEvent]) -> str:
    return ", ".join(event.value for event in events) or "nothing"


def _way(way: ChannelStatus) -> str:
    shown = way.to if way.on else "off"
    return f"{shown} ({way.problem})" if way.problem and way.on else shown or "none"
