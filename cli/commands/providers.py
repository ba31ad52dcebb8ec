"""`providers`; `provider`: add, update, remove, enable, test, show, status, pricing and more."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cli import provider_view, render
from cli.commands.verify import verify
from cli.errors import BadInput, CliError
from cli.provider_input import ConfigInput, read_config
from cli.state import State, state_of
from cortex.client import LAST_SEEN, Cortex
from cortex.client._routes.providers import UNSET, Unset
from cortex.schemas.providers import ProviderTestResult, ProviderTypeView, ProviderView

app = typer.Typer()
provider_app = typer.Typer(no_args_is_help=True, help="Add, change, test and remove providers.")
app.add_typer(provider_app, name="provider")

Id = Annotated[str, typer.Argument(metavar="ID", help="Provider id.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A field of the configuration."),
]
FromEnv = Annotated[
    list[str] | None,
    typer.Option("--secret-from-env", metavar="NAME=VARIABLE", help="A secret."),
]
FromFile = Annotated[
    list[str] | None,
    typer.Option("--secret-from-file", metavar="NAME=FILE", help="A secret."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="YAML or JSON with its fields; `-`: stdin."),
]
Rate = Annotated[
    float | None,
    typer.Option("--rate-limit", min=0.001, help="Steps per second at most, all workers together."),
]
Untested = Annotated[bool, typer.Option("--no-test", help="Do not ask the network first.")]
Many = Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="How many.")]


@app.command("providers")
def providers(
    ctx: typer.Context,
    provider_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only this one.")
    ] = None,
) -> None:
    """List providers: how they are, what they can run, what they charge."""
    state = state_of(ctx)
    with state.client() as cortex:
        shown = (cortex.provider(provider_id),) if provider_id else cortex.providers()
    if state.json:
        render.print_json(*shown)
        return
    columns = ("ID", "TYPE", "STATUS", "RUNS", "LIMITS", "LEASES", "PRICES PER HOUR", "MESSAGE")
    render.table(state, columns, [provider_view.row(each) for each in shown], right=(5,))


@provider_app.command("add")
def add(
    ctx: typer.Context,
    type_name: Annotated[str, typer.Argument(metavar="TYPE", help="Such as `akash`.")],
    provider_id: Annotated[
        str | None, typer.Option("--id", help="Your name for it; default: the type.")
    ] = None,
    fields: Set = None,
    from_env: FromEnv = None,
    from_file: FromFile = None,
    config_file: ConfigFile = None,
    rate_limit: Rate = None,
    disabled: Annotated[
        bool, typer.Option("--disabled", help="It takes no jobs until `provider enable`.")
    ] = False,
    untested: Untested = False,
) -> None:
    """Add a provider: your account at a network. Asks for its secrets without showing them."""
    state = state_of(ctx)
    name = provider_id or type_name
    with state.client(timeout=60) as cortex:
        kind = _type(cortex, type_name)
        wanted = ConfigInput(kind, read_config(config_file, kind.config_schema))
        wanted.take(fields or (), from_env or (), from_file or ())
        wanted.ask()
        if not untested:
            _tested(state, cortex.test_provider(name, type_name=type_name, config=wanted.config))
        made = cortex.create_provider(
            name, type_name, wanted.config, enabled=not disabled, rate_limit=rate_limit
        )
    _done(state, made, f"provider `{made.id}` was added")


@provider_app.command("update")
def update(
    ctx: typer.Context,
    provider_id: Id,
    fields: Set = None,
    from_env: FromEnv = None,
    from_file: FromFile = None,
    config_file: ConfigFile = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="NAME", help="Back to its default.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option("--ask", metavar="NAME", help="Ask for this secret anew, hidden."),
    ] = None,
    rate_limit: Rate = None,
    no_rate_limit: Annotated[bool, typer.Option("--no-rate-limit")] = False,
    untested: Untested = False,
) -> None:
    """Change a provider; what runs there goes on. Secrets stay unless they are named."""
    state = state_of(ctx)
    limit: float | Unset | None = UNSET
    if no_rate_limit or rate_limit is not None:
        limit = None if no_rate_limit else rate_limit
    with state.client(timeout=60) as cortex:
        present = cortex.provider(provider_id)
        kind = _type(cortex, present.type)
        wanted = ConfigInput(kind, read_config(config_file, kind.config_schema))
        wanted.take(fields or (), from_env or (), from_file or ())
        for name in secret or ():
            wanted.ask_for(name)
        for name in unset or ():
            wanted.config[name] = None
        if not wanted.config and isinstance(limit, Unset):
            raise BadInput("nothing is to be changed; see `cortex provider update --help`")
        if wanted.config and not untested:
            _tested(state, cortex.test_provider(provider_id, config=wanted.config))
        config = wanted.config or None
        made = cortex.update_provider(provider_id, config, rate_limit=limit, if_match=LAST_SEEN)
    _done(state, made, f"provider `{made.id}` was changed")


@provider_app.command("remove")
def remove(ctx: typer.Context, provider_id: Id) -> None:
    """Remove a provider and its credentials. Its jobs and bills stay."""
    state = state_of(ctx)
    with state.client() as cortex:
        cortex.delete_provider(provider_id)
    render.say(state, f"provider `{provider_id}` was removed")


@provider_app.command("enable")
def enable(ctx: typer.Context, provider_id: Id) -> None:
    """Let a provider take new jobs."""
    state = state_of(ctx)
    with state.client() as cortex:
        made = cortex.enable_provider(provider_id)
    _done(state, made, f"provider `{made.id}` takes jobs")


@provider_app.command("disable")
def disable(ctx: typer.Context, provider_id: Id) -> None:
    """Let a provider take no new jobs; those that run there go on."""
    state = state_of(ctx)
    with state.client() as cortex:
        made = cortex.disable_provider(provider_id)
    leases = f"; {made.active_leases} of its leases go on" if made.active_leases else ""
    _done(state, made, f"provider `{made.id}` takes no new jobs{leases}")


@provider_app.command("test")
def test(ctx: typer.Context, provider_id: Id) -> None:
    """Ask the network itself: are the credentials good, how does it do, what does it charge?"""
    state = state_of(ctx)
    with state.client(timeout=60) as cortex:
        result = cortex.test_provider(provider_id)
    if state.json:
        render.print_json(result)
    else:
        render.fields(state, provider_view.test_fields(result))
    if not result.ok:
        raise CliError(f"provider `{provider_id}` cannot be used: {result.message}")


provider_app.command("verify")(verify)


@provider_app.command("show")
def show(ctx: typer.Context, provider_id: Id) -> None:
    """Show one provider: where it comes from, its configuration, how it is."""
    state = state_of(ctx)
    with state.client() as cortex:
        provider = cortex.provider(provider_id)
    if state.json:
        render.print_json(provider)
    else:
        render.fields(state, provider_view.fields(provider))


@provider_app.command("status")
def status(ctx: typer.Context, provider_id: Id, limit: Many = 20) -> None:
    """List the health checks of a provider, newest first."""
    state = state_of(ctx)
    with state.client() as cortex:
        page = cortex.provider_status(provider_id, limit=limit)
    if state.json:
        render.print_json(*page.items)
        return
    rows = [
        (
            render.clock(check.time),
            check.status,
            "" if check.latency_ms is None else f"{check.latency_ms} ms",
            str(check.balance) if check.balance else "",
            check.message,
        )
        for check in page.items
    ]
    columns = ("TIME", "STATUS", "LATENCY", "BALANCE", "MESSAGE")
    render.table(state, columns, rows, right=(2, 3))


@provider_app.command("pricing")
def pricing(ctx: typer.Context, provider_id: Id, limit: Many = 20) -> None:
    """List the prices of a provider, the present ones first, then those before."""
    state = state_of(ctx)
    with state.client() as cortex:
        sheets = cortex.provider_pricing(provider_id, limit=limit)
    if state.json:
        render.print_json(sheets)
        return
    if not sheets.history:
        render.say(state, f"provider `{provider_id}` has told no prices yet")
        return
    rows = [
        (render.clock(sheet.time), *provider_view.prices(sheet.prices)) for sheet in sheets.history
    ]
    columns = ("SINCE", "CORE", "GiB MEMORY", "GiB STORAGE", "GPU", "CURRENCY", "USD RATE")
    render.table(state, columns, rows, right=(1, 2, 3, 4, 6))


@provider_app.command("jobs")
def jobs(ctx: typer.Context, provider_id: Id, limit: Many = 20) -> None:
    """List jobs whose newest attempt is at a provider, newest first."""
    state = state_of(ctx)
    with state.client() as cortex:
        page = cortex.provider_jobs(provider_id, limit=limit)
    if state.json:
        render.print_json(*page.items)
        return
    rows = [
        (job.id, job.name, job.state.value, str(job.cost), render.age(job.created_at))
        for job in page.items
    ]
    render.table(state, ("ID", "NAME", "STATE", "COST", "AGE"), rows, right=(3,))


@provider_app.command("types")
def types(
    ctx: typer.Context,
    type_name: Annotated[
        str | None, typer.Argument(metavar="[TYPE]", help="Show the fields of this one.")
    ] = None,
) -> None:
    """List the types of providers that the workers have, or the fields of one."""
    state = state_of(ctx)
    with state.client() as cortex:
        kinds = cortex.provider_types() if type_name is None else (_type(cortex, type_name),)
    if state.json:
        render.print_json(*kinds)
    elif type_name is None:
        rows = [(kind.name, ", ".join(kind.secret_fields)) for kind in kinds]
        render.table(state, ("TYPE", "SECRETS"), rows)
    else:
        columns = ("FIELD", "TYPE", "DEFAULT", "WHAT")
        render.table(state, columns, provider_view.schema_rows(kinds[0]))


def _type(cortex: Cortex, name: str) -> ProviderTypeView:
    kinds = {kind.name: kind for kind in cortex.provider_types()}
    if name not in kinds:
        known = ", ".join(f"`{kind}`" for kind in kinds) or "none yet: start a worker"
        raise BadInput(f"there is no provider type `{name}`; the workers have {known}")
    return kinds[name]


def _tested(state: State, result: ProviderTestResult) -> None:
    if not result.ok:
        raise CliError(
            f"the test failed, and nothing was stored: {result.message}",
            details=("--no-test stores it untested",),
            code="provider_test_failed",
        )
    parts = [f"the network answers in {result.latency_ms or 0} ms"]
    if result.balance is not None:
        parts.append(f"balance {result.balance}")
    if not state.json:
        render.say(state, ", ".join(parts))


def _done(state: State, made: ProviderView, words: str) -> None:
    if state.json:
        print(json.dumps(json.loads(made.model_dump_json())))
    else:
        render.say(state, words)
