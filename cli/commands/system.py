"""`config`, `schema`, `version`."""

import json
import platform
from importlib.metadata import version as package_version
from typing import Annotated

import typer

from cli import render
from cli.configuration import all_settings
from cli.state import State, state_of

app = typer.Typer()


@app.command("config")
def config(
    ctx: typer.Context,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only what is not the default.")
    ] = False,
) -> None:
    """Show every setting, its value and where that came from; secrets are masked."""
    state = state_of(ctx)
    settings = [setting for setting in all_settings() if not changed or setting.source != "default"]
    if state.json:
        for setting in settings:
            print(render.to_json(setting))
        return
    rows = [
        (setting.name, setting.value, setting.source, setting.description) for setting in settings
    ]
    if not rows:
        render.say(state, "every setting has its default")
        return
    render.table(state, ("SETTING", "VALUE", "FROM", "WHAT"), rows)


@app.command("schema")
def schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of job files, for editors."""
    from cortex.domain.schema import job_spec_schema

    print(json.dumps(job_spec_schema(), indent=None if state_of(ctx).json else 2))


@app.command("version")
def version(ctx: typer.Context) -> None:
    """Print the version of this command and, if one is there, of the server."""
    state = state_of(ctx)
    own = package_version("cortex-orchestrator")
    server = _server_version(state)
    if state.json:
        print(json.dumps({"cortex": own, "server": server, "python": platform.python_version()}))
        return
    print(f"cortex {own} (Python {platform.python_version()})")
    if server:
        print(f"server {server}")


def _server_version(state: State) -> str | None:
    from cortex.client import ClientError
    from cortex.domain.errors import CortexError

    try:
        with state.client(timeout=2.0) as cortex:
            return cortex.info().version
    except (ClientError, CortexError):
        return None
