"""`logs`, `events`, `outputs list`, `outputs get`."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli import render
from cli.errors import CliError, ExitCode
from cli.find import find_id
from cli.lines import LinePrinter, live
from cli.state import State, state_of
from cortex.client import Cortex
from cortex.client.errors import ApiError, ClientError, ConnectionFailed
from cortex.schemas.events import EventView
from cortex.schemas.jobs import LeftOutView, LogEntry, OutputView

_MOST_NAMED = 20
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
        found_id = find_id(cortex, job_id)
        for line in cortex.logs(found_id, follow=follow, tail=tail, since=since, partial=partial):
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
        found_id = find_id(cortex, job_id) if job_id else None
        start: Literal["start", "now"] = "start" if found_id or not follow else "now"
        for event in cortex.events(found_id, follow=follow, after=after, start=start):
            if state.json:
                render.print_json(event)
            else:
                _show_event(state, event, with_job=found_id is None)


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
    """List the result files of a job, and say what is not kept and why (on stderr)."""
    state = state_of(ctx)
    with state.client() as cortex:
        found_id = find_id(cortex, job_id)
        outputs, left = cortex.outputs(found_id), _left_out(cortex.left_out, found_id)
    if state.json:
        render.print_json(*outputs)
    elif not outputs:
        render.say(state, "the job has no result files")
    else:
        rows = [_row(output) for output in outputs]
        render.table(state, ("PATH", "SIZE", "SHA-256"), rows, right=(1,))
    for line in left:
        render.say(state, f"not kept: {line}")


def _row(output: OutputView) -> tuple[str, str, str]:
    if output.kind == "folder":
        return f"{output.path}/", "", "(an empty folder)"
    return output.path, render.size(output.size), output.sha256


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
    """Download result files. Each is checked (SHA-256) and replaces what was there.

    One that cannot be had, or saved here, keeps no other from coming; it is named at the end.
    """
    state = state_of(ctx)
    with state.client() as cortex:
        found_id = find_id(cortex, job_id)
        outputs = cortex.outputs(found_id)
        left = _left_out(cortex.left_out, found_id)
        wanted = _matching(outputs, path, found_id, left)
        if str(output) == "-":
            for file in wanted:
                if file.kind == "file":
                    sys.stdout.buffer.write(cortex.output(found_id, file.path))
            sys.stdout.buffer.flush()
            return
        saving = (_saved(state, cortex, found_id, file, output) for file in wanted)
        failed = [line for line in saving if line]
    if left and path is None:
        render.say(state, f"{_count(left)} not kept; `cortex outputs list {found_id}` says why")
    if failed:
        count = f"{len(failed)} of {len(wanted)} result files could not be saved"
        raise CliError(count, details=failed[:_MOST_NAMED])


def _saved(state: State, cortex: Cortex, job_id: str, output: OutputView, folder: Path) -> str:
    """Save one; why that did not go, else nothing."""
    try:
        target = cortex.download(job_id, output, folder)
    except ConnectionFailed:
        raise  # none of the others would come either
    except (ClientError, OSError) as error:
        return f"{render.printable(output.path)}: {error}"
    if state.json:
        render.print_json(output)
    elif output.kind == "folder":
        print(f"{target}/", flush=True)
    else:
        print(f"{target}  {render.size(output.size)}", flush=True)
    return ""


def _left_out(ask: Callable[[str], tuple[LeftOutView, ...]], job_id: str) -> list[str]:
    """Lines of what is not kept; none from a server that cannot say."""
    try:
        return [
            render.printable(f"`{left_out.path}` {left_out.reason}") for left_out in ask(job_id)
        ]
    except ApiError as error:
        if error.status == 404:  # an earlier version
            return []
        raise


def _count(left: Sequence[str]) -> str:
    return "1 other is" if len(left) == 1 else f"{len(left)} others are"


def _matching(
    outputs: tuple[OutputView, ...], path: str | None, job_id: str, left: Sequence[str]
) -> list[OutputView]:
    if path is None:
        matching = list(outputs)
        missing = f"job `{job_id}` has no result files"
        known = [f"not kept: {line}" for line in left[:_MOST_NAMED]]
    else:
        name = path.strip("/")
        matching = [
            output
            for output in outputs
            if output.path == name or output.path.startswith(f"{name}/")
        ]
        missing = f"job `{job_id}` has no result file `{path}`"
        known = [output.path for output in outputs[:_MOST_NAMED]]
        known += [f"not kept: {line}" for line in left if line.startswith(f"`{name}` ")]
    if not matching:
        raise CliError(missing, details=known, code="not_found", exit_code=ExitCode.NOT_FOUND)
    return matching
