"""`second-factor`."""

import sys

import typer

from cli import render
from cli.errors import BadInput
from cli.passwords import asked_password
from cli.state import interactive, state_of

app = typer.Typer()
factor_app = typer.Typer(no_args_is_help=True, help="Codes of an app, beside your password.")
app.add_typer(factor_app, name="second-factor")


@factor_app.command("status")
def status(ctx: typer.Context) -> None:
    """Show whether you have a second factor, and how many recovery codes are left."""
    state = state_of(ctx)
    with state.client() as cortex:
        factor = cortex.second_factor()
    if state.json:
        render.print_json(factor)
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
