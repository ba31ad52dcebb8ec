"""`keys`."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from cli import render
from cli.state import state_of
from cortex.domain.accounts import ApiKey, KeyBudget

app = typer.Typer()
keys_app = typer.Typer(no_args_is_help=True, help="API keys: what programs send.")
app.add_typer(keys_app, name="keys")

User = Annotated[str | None, typer.Option(help="Whose; else one's own, for admins everybody's.")]


@keys_app.command("list")
def list_keys(
    ctx: typer.Context,
    user: User = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that open nothing.")] = False,
) -> None:
    """List keys: whose, what for, what they may, when they were used last."""
    state = state_of(ctx)
    with state.client() as cortex:
        keys = [key for key in cortex.keys(user) if all_ or _state(key) == "valid"]
    if state.json:
        render.print_json(*keys)
    elif not keys:
        render.say(state, "there is no such key; `cortex keys create NAME` makes one")
    else:
        heading = ("ID", "USER", "NAME", "PREFIX", "SCOPES", "USED", "EXPIRES", "STATE")
        if any(key.budget for key in keys):
            rows = [_row(key) + _budget(key.budget) for key in keys]
            render.table(state, (*heading, "SPENT", "LEFT"), rows)
        else:
            render.table(state, heading, [_row(key) for key in keys])


@keys_app.command("create")
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    user: Annotated[str | None, typer.Option(help="Whose it is; else one's own.")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What it may do at most: `jobs:read`, `jobs:*`, `read`; again for more. "
            "Else whatever its user's role allows."
        ),
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="The only project that it opens.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Such as `90d`; else never.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="AMOUNT",
            help="What all that is submitted with it may cost together, such as `5 USD`.",
        ),
    ] = None,
) -> None:
    """Make a key, and print it: it is nowhere to be had again."""
    state = state_of(ctx)
    with state.client() as cortex:
        made = cortex.create_key(
            name, user=user, scopes=scope or (), project=only, expires_in=expires, budget=budget
        )
    if state.json:
        render.print_json(made)
        return
    until = f" until {render.clock(made.info.expires_at)}" if made.info.expires_at else ""
    render.say(state, f"key `{made.info.id}` of `{made.info.user}`{until}; it is shown only now:")
    print(made.key)


@keys_app.command("revoke")
def revoke(
    ctx: typer.Context,
    key_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of keys.")],
) -> None:
    """Let keys open nothing any more, at once."""
    state = state_of(ctx)
    with state.client() as cortex:
        for key_id in key_ids:
            cortex.revoke_key(key_id)
            if not state.json:
                render.say(state, f"key `{key_id}` was revoked")


def _row(key: ApiKey) -> tuple[str, ...]:
    used = render.clock(key.last_used_at)
    return (
        key.id,
        key.user,
        key.name,
        key.prefix,
        " ".join(key.scopes) or "all",
        f"{used} from {key.last_used_from}" if used else "never",
        render.clock(key.expires_at) or "never",
        _state(key),
    )


def _budget(budget: KeyBudget | None) -> tuple[str, str]:
    """What is spent, with what is set aside for jobs that wait; and what is left of how much."""
    if budget is None:
        return "", ""
    spent = budget.spent + budget.reserved
    return str(spent), f"{budget.left} of {budget.amount}"


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        return "expired"
    return "valid"
