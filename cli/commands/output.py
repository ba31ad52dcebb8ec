"""`logs`, `events`, `outputs list`, `outputs get`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli import render
from cli.errors import CliError, ExitCode
from cli.find import find_id
from cli.lines import LinePrinter, live
from cli.state import State, state_of
from cortex.schemas import EventView, LogEntry, OutputView

app = typer.Typer()
outputs_app = typer.Typer(no_args_is_help=True, help="List and download result files.")
app.add_typer(outputs_app, name="outputs")
Id = Annotated[str, typer.Argument(metavar="ID", help="Job id, a job's unique name, or @last.")]


@app.command("logs")
def logs(
    ctx: typer.Context,
    job_id: Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the job ends.")] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", min=0, help="Only the last lines.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only after this cursor (--json shows them).")
    ] = None,
    times: Annotated[bool, typer.Option("--timestamps", "-t", help="With times.")] = False,
) -> None:
    """Print a job's output: its stdout to stdout, its stderr to stderr."""
    state = state_of(ctx)
    printer = LinePrinter()
    partial = live() and not state.json
    with state.client() as cortex:
        found = find_id(cortex, job_id)
        for line in cortex.logs(found, follow=follow, tail=tail, since=since, partial=partial):
            _show_line(state, line, printer, times=times)
    printer.finish()


def _show_line(state: State, line: LogEntry, printer: LinePrinter, *, times: bool) -> None:
    if state.json:
        render.print_json(line)
    elif times:
        stamped = f"{line.time.astimezone().isoformat(timespec='milliseconds')}  {line.text}"
        printer.show(line.model_copy(update={"text": stamped}))
    else:
        printer.show(line)


@app.command("events")
def events(
    ctx: typer.Context,
    job_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only of this job; none: all.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
    after: Annotated[
        str | None, typer.Option(help="Only after this `cortexposition` (--json shows them).")
    ] = None,
) -> None:
    """Print events (CloudEvents with --json). With -f and no ID: from now on."""
    state = state_of(ctx)
    with state.client() as cortex:
        found = find_id(cortex, job_id) if job_id else None
        start: Literal["start", "now"] = "start" if found or not follow else "now"
        for event in cortex.events(found, follow=follow, after=after, start=start):
            if state.json:
                render.print_json(event)
            else:
                _show_event(state, event, with_job=found is None)


def _show_event(state: State, event: EventView, *, with_job: bool) -> None:
    kind = event.type.removeprefix("cortex.")
    data = "  ".join(
        f"{key}={value}" for key, value in event.data.items() if value not in ("", None)
    )
    who = f"{event.subject}  " if with_job or event.subject != event.cortexjob else ""
    style = render.STYLES.get(str(event.data.get("state", "")), "")
    text = render.printable(f"{render.clock(event.time)}  {kind:<20}  {who}{data}")
    render.console(state).print(text, style=style, soft_wrap=True)


@outputs_app.command("list")
def list_outputs(ctx: typer.Context, job_id: Id) -> None:
    """List the result files of a job."""
    state = state_of(ctx)
    with state.client() as cortex:
        found = cortex.outputs(find_id(cortex, job_id))
    if state.json:
        render.print_json(*found)
    elif not found:
        render.say(state, "the job has no result files")
    else:
        rows = [(item.path, render.size(item.size), item.sha256) for item in found]
        render.table(state, ("PATH", "SIZE", "SHA-256"), rows, right=(1,))


@outputs_app.command("get")
def get_outputs(
    ctx: typer.Context,
    job_id: Id,
    path: Annotated[
        str | None, typer.Argument(help="A file, or a folder of files; none: all. ")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to put them in; `-`: to stdout.")
    ] = Path(),
) -> None:
    """Download result files. Each is checked (SHA-256) and replaces what was there."""
    state = state_of(ctx)
    with state.client() as cortex:
        found_id = find_id(cortex, job_id)
        wanted = _matching(cortex.outputs(found_id), path, found_id)
        if str(output) == "-":
            for item in wanted:
                sys.stdout.buffer.write(cortex.output(found_id, item.path))
            sys.stdout.buffer.flush()
            return
        for item in wanted:
            target = cortex.download(found_id, item, output)
            if state.json:
                render.print_json(item)
            else:
                print(f"{target}  {render.size(item.size)}", flush=True)


def _matching(outputs: tuple[OutputView, ...], path: str | None, job_id: str) -> list[OutputView]:
    if path is None:
        found = list(outputs)
        missing = f"job `{job_id}` has no result files"
    else:
        name = path.strip("/")
        found = [item for item in outputs if item.path == name or item.path.startswith(f"{name}/")]
        missing = f"job `{job_id}` has no result file `{path}`"
    if not found:
        known = [item.path for item in outputs[:20]]
        raise CliError(missing, details=known, code="not_found", exit_code=ExitCode.NOT_FOUND)
    return found
