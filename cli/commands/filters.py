"""`filters`."""

from typing import Annotated, Any

import typer

from cli import render
from cli.bulk import known_state
from cli.errors import BadInput
from cli.options import parse_labels
from cli.state import state_of
from cortex.domain.filters import SavedFilter

app = typer.Typer()
filters_app = typer.Typer(no_args_is_help=True, help="Keep filters for `cortex jobs --saved`.")
app.add_typer(filters_app, name="filters")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the filter.")]
Shared = Annotated[
    str | None,
    typer.Option("--share", metavar="PROJECT", help="Of this project, for all in it; else yours."),
]


@filters_app.command("list")
def list_filters(ctx: typer.Context) -> None:
    """List your own filters, and those that are shared."""
    state = state_of(ctx)
    with state.client() as cortex:
        found = cortex.filters()
    if state.json:
        render.print_json(*found)
    elif not found:
        render.say(state, "there is no filter; `cortex filters save NAME --state failed` makes one")
    else:
        rows = [(each.name, each.shared or "", each.owner, _words(each)) for each in found]
        render.table(state, ("NAME", "SHARED IN", "BY", "JOBS"), rows, spare=(3,))


@filters_app.command("save")
def save(
    ctx: typer.Context,
    name_: Name,
    state_: Annotated[
        list[str] | None, typer.Option("--state", "-s", help="Such as failed; again for more.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="Provider id.")] = None,
    owner: Annotated[str | None, typer.Option(help="Who submitted it.")] = None,
    name: Annotated[str | None, typer.Option(help="The job's name.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="KEY=VALUE.")] = None,
    group: Annotated[str | None, typer.Option(help="Id of a group.")] = None,
    of_project: Annotated[str | None, typer.Option(help="Only what is in this project.")] = None,
    within: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Not older than this: `24h`, `7d`.")
    ] = None,
    share: Shared = None,
) -> None:
    """Save a filter, in place of the one of this name."""
    state = state_of(ctx)
    given: dict[str, Any] = {
        "state": [known_state(text, "--state") for text in state_ or ()],
        "provider": provider,
        "owner": owner,
        "name": name,
        "label": parse_labels(label or ()),
        "group": group,
        "project": of_project,
        "created_within": within,
    }
    jobs = {key: value for key, value in given.items() if value}
    if not jobs:
        raise BadInput("say which jobs; `cortex filters save --help` lists how")
    with state.client() as cortex:
        saved = cortex.put_filter(name_, jobs, shared=share)
    if state.json:
        render.print_json(saved)
    else:
        render.say(state, f"filter `{saved.name}`: {_words(saved)}")


@filters_app.command("delete")
def delete(ctx: typer.Context, name: Name, share: Shared = None) -> None:
    """Take a filter away."""
    state = state_of(ctx)
    with state.client() as cortex:
        cortex.delete_filter(name, shared=share)
    if not state.json:
        render.say(state, f"filter `{name}` was taken away")


def _words(saved: SavedFilter) -> str:
    jobs = saved.jobs.model_dump(mode="json", exclude_defaults=True)
    words = []
    for key, value in jobs.items():
        if isinstance(value, dict):
            words += [f"{key}={name}={text}" for name, text in value.items()]
        else:
            words.append(f"{key}={','.join(value) if isinstance(value, list) else value}")
    return " ".join(words)
