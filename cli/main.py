"""The `cortex` command."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import as_cli_error, show
from cli.lazy import LazyGroup
from cli.state import TAIL, State

app = typer.Typer(
    name="cortex",
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    pretty_exceptions_short=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with `cortex demo`, or `cortex up` and `cortex run examples/hello.yaml`.",
)


@app.callback()
def root(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(help="The server; else CORTEX_URL, a profile, the stack on this machine."),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(help="Its API key; else CORTEX_API_KEY, else the stack's.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(help="A server by name (`cortex profile`), in place of --url."),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            help="Where submissions go, and what lists show; else CORTEX_PROJECT, else your own."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the stack on this machine.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", help="No colours (also: NO_COLOR).")
    ] = False,
) -> None:
    """Run jobs on decentralised compute networks and on your own machine, durably."""
    color = not no_color and not os.environ.get("NO_COLOR")
    if not color:
        os.environ["NO_COLOR"] = "1"
    ctx.obj = State(
        url=url,
        api_key=api_key,
        profile=profile,
        data_dir=data_dir,
        asked_project=project,
        json=json,
        color=color,
        tail=ctx.meta.get(TAIL),
    )


def _open_closed() -> None:
    """Let streams that the shell has closed (`>&-`) lead nowhere.

    Otherwise Python has none at all there, and the next file or connection that is opened gets its
    number: what is printed by a process below would end up in it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
        os.set_inheritable(opened, opened == number)
        setattr(sys, name, os.fdopen(opened, "w" if number else "r", encoding="utf-8"))


def main() -> None:
    """The console script."""
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        # Output may be anything: a terminal that cannot show it must not end the command.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace", line_buffering=True)
    try:
        app(prog_name="cortex")
    except OSError as error:  # `--help` into a full disk; commands have been told of theirs
        told = as_cli_error(error)
        if told is None:
            raise
        show(told, as_json=False, color=False)
        sys.exit(told.exit_code)


if __name__ == "__main__":
    main()
