"""`up`, `down`, `status`, `doctor`, `demo`, `api`, `worker`, `db migrate`."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cli import render
from cli.errors import ExitCode
from cli.local import dir_option, reporter, show_links
from cli.state import State, state_of
from cortex.client import ClientError, ConnectionFailed, NotConfigured
from cortex.embedded.config import PortName, StackConfig, read_stack_file
from cortex.embedded.control import (
    ProcessStatus,
    StackInfo,
    StackStatus,
    detach,
    find_running,
    stack_status,
    stop_stack,
)
from cortex.embedded.foreground import run_foreground
from cortex.embedded.service import StackEvent
from cortex.schemas.server import Health
from cortex.settings import config_file

app = typer.Typer()
db_app = typer.Typer(no_args_is_help=True, help="Look after the database.")
app.add_typer(db_app, name="db")
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of all its data.", show_default=False)
]


@app.command("up")
def up(
    ctx: typer.Context,
    data_dir: DataDir = None,
    background: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when it is ready; it goes on.")
    ] = False,
    host: Annotated[
        str | None, typer.Option(help="Address that the API listens on (127.0.0.1).")
    ] = None,
    api_port: Annotated[
        int | None, typer.Option("--port", "--api-port", help="Of the API (8700).")
    ] = None,
    temporal_port: Annotated[int | None, typer.Option(help="Of Temporal (7233).")] = None,
    ui_port: Annotated[
        int | None,
        typer.Option("--temporal-ui-port", "--ui-port", help="Of Temporal's Web UI (8233)."),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option("--temporal-metrics-port", help="Of Temporal's metrics (9233)."),
    ] = None,
    postgres_port: Annotated[int | None, typer.Option(help="Of PostgreSQL (54329).")] = None,
    simulators: Annotated[
        bool | None,
        typer.Option(
            "--simulators/--no-simulators",
            help="Also run simulated networks, as providers `akash-sim`, `golem-sim`, … "
            "(as at the last start).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start the whole stack on this machine: PostgreSQL, Temporal, API, worker.

    It runs until Ctrl-C (a second one hurries), restarts what dies, and finds its data again
    at the next start.
    """
    state = _with_folder(ctx, data_dir)
    given: dict[PortName, int | None] = {
        "api": api_port,
        "temporal": temporal_port,
        "temporal_ui": ui_port,
        "temporal_metrics": metrics_port,
        "postgres": postgres_port,
    }
    ports = {name: port for name, port in given.items() if port is not None}
    config = StackConfig.load(state.folder(), host=host, ports=ports, simulators=simulators)
    render.say(state, f"starting the stack (data in {config.data_dir})")
    if background:
        _up_detached(state, config)
        return
    asyncio.run(run_foreground(config, on_event=_foreground_reporter(state, config)))
    render.say(state, "stopped; its data stays; running jobs go on, the next start finds them")


def _up_detached(state: State, config: StackConfig) -> None:
    info = asyncio.run(detach(config, on_event=reporter(state)))
    if state.json:
        print(_info_json(info))
        return
    show_links(
        state,
        api_url=info.api_url,
        temporal_ui=info.temporal_ui_url,
        api_key=info.api_key,
        stop=f"cortex {dir_option(state)}down",
    )


class _foreground_reporter(reporter):
    """Prints the links once everything is ready."""

    def __init__(self, state: State, config: StackConfig) -> None:
        super().__init__(state)
        self._state = state
        self._config = config

    def __call__(self, event: StackEvent) -> None:
        super().__call__(event)
        if (event.name, event.phase) == ("stack", "ready"):
            config = self._config
            show_links(
                self._state,
                api_url=config.api_url,
                temporal_ui=config.temporal_ui_url,
                api_key=config.api_key,
                stop="Ctrl-C",
            )


@app.command("down")
def down(ctx: typer.Context, data_dir: DataDir = None) -> None:
    """Stop the stack on this machine. Its data stays; jobs continue at the next start."""
    state = _with_folder(ctx, data_dir)
    folder = state.folder()
    if asyncio.run(stop_stack(folder)):
        render.say(
            state,
            f"stopped; its data stays in {folder}; running jobs go on, the next start finds them",
        )
    else:
        render.say(state, f"nothing was running (data folder {folder})")


@app.command("status")
def status(
    ctx: typer.Context,
    data_dir: DataDir = None,
    show_key: Annotated[bool, typer.Option(help="Print the API key, and only it.")] = False,
) -> None:
    """Show the stack's processes and the health of the server; 3 if it is not ready."""
    state = _with_folder(ctx, data_dir)
    if show_key:
        key = _key(state)
        print(render.to_json({"api_key": key}) if state.json else key)
        return
    named = state.server_named()
    stack = None if named else stack_status(state.folder())
    health, why = _health(state)
    if state.json:
        print(_status_json(stack, health, why))
    else:
        if stack is not None:
            _show_stack(state, stack)
        _show_health(state, health, why, named)
    if health is None or health.status != "ok":
        raise typer.Exit(ExitCode.UNREACHABLE)


def _key(state: State) -> str:
    info = find_running(state.folder())
    if info is None:
        raise NotConfigured
    return info.api_key


def _health(state: State) -> tuple[Health | None, str]:
    try:
        with state.client(timeout=10.0) as cortex:
            return cortex.health(), ""
    except ConnectionFailed as error:
        return None, f"no answer from {error.url}: {error.why}"
    except ClientError as error:
        return None, str(error)


def _show_stack(state: State, stack: StackStatus) -> None:
    words = "running" if stack.running else "not running"
    print(f"stack    {words}  (data in {stack.data_dir})")
    if stack.error:
        print(f"error    {stack.error}")
    if stack.warning:
        print(f"warning  {stack.warning}")
    listed = [*([stack.supervisor] if stack.supervisor else []), *stack.processes]
    rows = [_process_row(process) for process in listed]
    if rows:
        columns = ("PROCESS", "STATE", "PID", "UP", "MEMORY", "RESTARTS", "PORTS", "")
        render.table(state, columns, rows, right=(2, 3, 4, 5))
    render.fields(state, stack.links.items())


def _process_row(process: ProcessStatus) -> tuple[str, ...]:
    up = render.duration(process.uptime) if process.pid else ""
    return (
        process.name,
        process.phase,
        str(process.pid or "-"),
        up,
        render.size(process.memory) if process.pid else "",
        str(process.restarts),
        " ".join(f"{name}:{port}" for name, port in process.ports.items()),
        process.detail if process.phase != "ready" else "",
    )


def _show_health(state: State, health: Health | None, why: str, named: str) -> None:
    head = f"server {named}".rstrip()
    if health is None:
        print(f"{head}   {why}")
        return
    print(f"{head}   {'ready' if health.status == 'ok' else 'NOT ready'}")
    for check in health.checks:
        print(f"  {'ok  ' if check.ok else 'AWAY'}  {check.name}  {check.detail}".rstrip())


@app.command("demo")
def demo(
    ctx: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running.")] = False,
    data_dir: DataDir = None,
) -> None:
    """See it all work: start a stack, run real jobs, show results and bills, clean up.

    Ends with 0 only if everything went as it should. Uses free ports and a temporary folder.
    """
    from cli.demo import run_demo

    state = _with_folder(ctx, data_dir)
    raise typer.Exit(run_demo(state, keep=keep))


_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command("api", context_settings=_PASS_ON)
def api(ctx: typer.Context) -> None:
    """Run an API process with the settings that `cortex config` shows."""
    _become("api", ctx)


@app.command("worker", context_settings=_PASS_ON)
def worker(ctx: typer.Context) -> None:
    """Run a worker process; what follows is handed to it (`cortex worker --help`)."""
    _become("worker", ctx)


@app.command("doctor")
def doctor(ctx: typer.Context, data_dir: DataDir = None) -> None:
    """Look for what is wrong with the installation on this machine, and say what to do.

    Of the stack, if its folder has one; else of what the settings name (`cortex config`). Nothing
    is changed. Ends with 1 if there is a fault.
    """
    state = _with_folder(ctx, data_dir)
    args = ["--json"] if state.json else []
    folder = state.folder()
    if "CORTEX_DATABASE__URL" in os.environ or not read_stack_file(folder):
        render.say(state, f"looking at what the settings name ({config_file()}, CORTEX_*)")
        _exec("cortex.doctor", args)
    start = f"cortex {dir_option(state)}up"
    if find_running(folder) is None:
        render.say(state, f"the stack in {folder} is not running: `{start}`")
        args += ["--start", start]
    else:
        render.say(state, f"looking at the stack in {folder}")
    _exec("cortex.doctor", args, StackConfig.load(folder).environment())


@db_app.command("migrate")
def migrate() -> None:
    """Bring the database of the settings to the newest schema."""
    _exec("cortex.db.migrate", [])


def _become(module: str, ctx: typer.Context) -> None:
    _exec(module, [*ctx.args, *(state_of(ctx).tail or [])])


def _exec(module: str, args: list[str], environment: Mapping[str, str] = os.environ) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: a file of the same name in the working folder is not ours.
    os.execve(sys.executable, [sys.executable, "-P", "-m", module, *args], environment)


def _with_folder(ctx: typer.Context, data_dir: Path | None) -> State:
    state = state_of(ctx)
    state.data_dir = data_dir or state.data_dir
    return state


def _info_json(info: StackInfo) -> str:
    body = {
        "data_dir": str(info.data_dir),
        "pid": info.pid,
        "api_url": info.api_url,
        "api_key": info.api_key,
        "docs": info.docs_url,
        "temporal_address": info.temporal_address,
        "temporal_ui": info.temporal_ui_url,
    }
    return render.to_json(body)


def _status_json(stack: StackStatus | None, health: Health | None, why: str) -> str:
    return render.to_json({"stack": stack, "health": health, "error": why or None})
