"""`budget`: list, add, show, set, remove."""

from typing import Annotated

import typer

from cli import budget_view, render
from cli.errors import BadInput, CliError, ExitCode
from cli.state import State, state_of
from cortex.client import LAST_SEEN, Cortex
from cortex.domain.money.budgets import BudgetAction, BudgetPeriod, BudgetScope
from cortex.schemas.money import BudgetView

app = typer.Typer()
budget_app = typer.Typer(no_args_is_help=True, help="Limit what jobs may cost.")
app.add_typer(budget_app, name="budget")

Which = Annotated[str, typer.Argument(metavar="BUDGET", help="Its id, or its name.")]
Stop = Annotated[
    bool | None,
    typer.Option(
        "--stop/--alert", help="Refuse and stop jobs once it is used up, or only tell (default)."
    ),
]


@budget_app.command("list")
def list_budgets(ctx: typer.Context) -> None:
    """List budgets: what is spent, held, reserved and left now."""
    state = state_of(ctx)
    with state.client() as cortex:
        budgets = cortex.budgets()
    if state.json:
        render.print_json(*budgets)
    elif not budgets:
        render.say(state, "there is no budget; `cortex budget add` makes one")
    else:
        budget_view.listed(state, budgets)


@budget_app.command("add")
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Stands in every message about it.")],
    amount: Annotated[str, typer.Argument(help="Such as `100 USD`.")],
    user: Annotated[str | None, typer.Option(help="Only for the jobs of this user.")] = None,
    label: Annotated[
        str | None, typer.Option(metavar="KEY=VALUE", help="Only for jobs with this label.")
    ] = None,
    of_project: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only for the jobs in this project.")
    ] = None,
    period: Annotated[BudgetPeriod, typer.Option(help="In UTC.")] = BudgetPeriod.MONTH,
    stop: Stop = None,
) -> None:
    """Add a budget: for all jobs, or those of a user, in a project, or with a label."""
    state = state_of(ctx)
    if state.asked_project is not None and of_project is None:
        raise BadInput(
            f"for a budget of a project write `--of-project {state.project}`; `--project` says "
            "where submissions go"
        )
    given = {
        BudgetScope.USER: user,
        BudgetScope.PROJECT: of_project,
        BudgetScope.LABEL: label,
    }
    scopes = [scope for scope, value in given.items() if value is not None]
    if len(scopes) > 1:
        raise BadInput(
            "give one of --user, --of-project and --label; several budgets may cover one job"
        )
    scope = scopes[0] if scopes else BudgetScope.SYSTEM
    with state.client() as cortex:
        made = cortex.create_budget(
            name,
            amount,
            scope=scope,
            scope_value=given.get(scope),
            period=period,
            action=BudgetAction.STOP if stop else BudgetAction.ALERT,
        )
    _done(state, made, f"budget `{made.name}` was added: {made.left} left this {made.period}")


@budget_app.command("show")
def show(ctx: typer.Context, which: Which) -> None:
    """Show a budget with all that counts against it, and its forecast."""
    state = state_of(ctx)
    with state.client() as cortex:
        budget = _find(cortex, which)
    if state.json:
        render.print_json(budget)
    else:
        budget_view.shown(state, budget)


@budget_app.command("set")
def change(
    ctx: typer.Context,
    which: Which,
    amount: Annotated[str | None, typer.Option(help="Such as `100 USD`.")] = None,
    period: Annotated[BudgetPeriod | None, typer.Option(help="In UTC.")] = None,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    stop: Stop = None,
    enabled: Annotated[
        bool | None, typer.Option("--on/--off", help="Whether it counts at all.")
    ] = None,
) -> None:
    """Change a budget. Lowered below what is used, one with --stop ends jobs, the newest first."""
    state = state_of(ctx)
    if (amount, period, name, stop, enabled) == (None,) * 5:
        raise BadInput("say what to change: --amount, --period, --name, --stop/--alert, --on/--off")
    action = None if stop is None else BudgetAction.STOP if stop else BudgetAction.ALERT
    with state.client() as cortex:
        budget = cortex.budget(_find(cortex, which).id)
        made = cortex.update_budget(
            budget.id,
            name=name,
            amount=amount,
            period=period,
            action=action,
            enabled=enabled,
            if_match=LAST_SEEN,
        )
    _done(state, made, f"budget `{made.name}` was changed: {made.left} left this {made.period}")


@budget_app.command("remove")
def remove(ctx: typer.Context, which: Which) -> None:
    """Remove a budget."""
    state = state_of(ctx)
    with state.client() as cortex:
        budget = _find(cortex, which)
        cortex.delete_budget(budget.id)
    if not state.json:
        render.say(state, f"budget `{budget.name}` was removed")


def _find(cortex: Cortex, which: str) -> BudgetView:
    matching = [budget for budget in cortex.budgets() if which in (budget.id, budget.name)]
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise CliError(
            f"there is no budget `{which}`",
            details=("`cortex budget list` shows them",),
            code="not_found",
            exit_code=ExitCode.NOT_FOUND,
        )
    ids = ", ".join(budget.id for budget in matching)
    raise BadInput(f"{len(matching)} budgets have the name `{which}`; take the id: {ids}")


def _done(state: State, made: BudgetView, words: str) -> None:
    if state.json:
        render.print_json(made)
    else:
        render.say(state, words)
