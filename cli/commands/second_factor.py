"""`second-factor`."""

import sys
from typing import Annotated

import typer

from cli import render
from cli.errors import BadInput
from cli.passwords import asked_password
from cli.state import interactive, state_of

app = typer.Typer()
factor_app = typer.Typer(no_args_is_help=True, help="Codes of an app, beside your password.")
passkeys_app = typer.Typer(no_args_is_help=True, help="Your passkeys, which browsers register.")
app.add_typer(factor_app, name="second-factor")
factor_app.add_typer(passkeys_app, name="passkeys")


@factor_app.command("status")
def status(ctx: typer.Context) -> None:
    """Show whether you have a second factor, and how many recovery codes are left."""
    state = state_of(ctx)
    with state.client() as cortex:
        factor = cortex.second_factor()
    if state.json:
        render.print_json(factor)
    elif factor.confirmed_at is None and factor.passkeys:
        left, many = factor.recovery_codes_left, factor.passkeys
        render.say(state, f"you have {many} passkeys and no app; {left} recovery codes are left")
    elif factor.confirmed_at is None:
        render.say(state, "you have no second factor; `cortex second-factor enable` adds one")
    else:
        since = render.clock(factor.confirmed_at)
        left = factor.recovery_codes_left
        render.say(state, f"you have a second factor since {since}; {left} recovery codes are left")


@factor_app.command("enable")
def enable(ctx: typer.Context) -> None:
    """Add a second factor: put the secret into an app, and type the code that it shows.

    Or two lines of stdin: the password and, once the secret was printed, the code.
    """
    state = state_of(ctx)
    password = asked_password()
    with state.client() as cortex:
        enrolment = cortex.enrol_second_factor(password)
        if state.json:
            render.print_json(enrolment)
        else:
            render.say(state, "put this into your app; it is shown only now:")
            print(enrolment.secret)
            print(enrolment.uri, flush=True)
        codes = cortex.confirm_second_factor(_code())
    if state.json:
        print(render.to_json({"recovery_codes": list(codes)}))
        return
    render.say(
        state, "logins need its codes from now on. If you lose it, each of these is good once:"
    )
    for code in codes:
        print(code)


@factor_app.command("disable")
def disable(ctx: typer.Context) -> None:
    """Remove your second factor; it needs the password (asked for, or a line of stdin)."""
    state = state_of(ctx)
    password = asked_password()
    with state.client() as cortex:
        cortex.disable_second_factor(password)
    if not state.json:
        render.say(state, "you have no second factor any more")


def _code() -> str:
    if interactive():
        print("Code: ", end="", file=sys.stderr, flush=True)
    code = sys.stdin.readline().strip().replace(" ", "")
    if not code:
        raise BadInput("no code was given; the second factor is not asked for yet")
    return code


@passkeys_app.command("list")
def list_passkeys(ctx: typer.Context) -> None:
    """List your passkeys: what you call them, since when, used when."""
    state = state_of(ctx)
    with state.client() as cortex:
        passkeys = cortex.passkeys()
    if state.json:
        render.print_json(*passkeys)
    elif not passkeys:
        render.say(state, "you have no passkeys; a browser registers them (docs/security.md)")
    else:
        rows = [
            (each.id, each.name, render.clock(each.created_at),
             render.clock(each.last_used_at) if each.last_used_at else "never")
            for each in passkeys
        ]  # fmt: skip
        render.table(state, ("ID", "NAME", "SINCE", "USED"), rows)


@passkeys_app.command("rename")
def rename_passkey(
    ctx: typer.Context,
    passkey_id: Annotated[str, typer.Argument(metavar="ID")],
    name: Annotated[str, typer.Argument(metavar="NAME")],
) -> None:
    """Give a passkey another name."""
    state = state_of(ctx)
    with state.client() as cortex:
        passkey = cortex.rename_passkey(passkey_id, name)
    if state.json:
        render.print_json(passkey)
    else:
        render.say(state, f"`{passkey.id}` is called `{passkey.name}` now")


@passkeys_app.command("remove")
def remove_passkey(
    ctx: typer.Context, passkey_id: Annotated[str, typer.Argument(metavar="ID")]
) -> None:
    """Remove a passkey; your password is asked for, or a line of stdin."""
    state = state_of(ctx)
    password = asked_password()
    with state.client() as cortex:
        cortex.remove_passkey(passkey_id, password)
    if not state.json:
        render.say(state, f"`{passkey_id}` was removed")
