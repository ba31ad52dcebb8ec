"""The top of the command: commands are loaded when used, global options may stand anywhere.

Only the command that runs is imported, so that `cortex --help` and completion are quick.
"""

import importlib
import os
import sys
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from cli.errors import as_cli_error, show
from cli.state import TAIL, State

_SWITCHES = ("--json", "--no-color")
_VALUES = ("--url", "--api-key", "--profile", "--project", "--data-dir")
_TAKES_COMMAND = frozenset({"run", "worker", "api"})
_EPILOG = (
    "Also here: --json, --no-color, --url, --api-key, --profile, --project, --data-dir (see "
    "`cortex --help`)."
)


@dataclass(frozen=True)
class Entry:
    """One command: its line in the help, and the module of `cli.commands` that has it."""

    module: str
    help: str
    panel: str


_JOBS, _SEE, _SERVER = "Jobs", "Prices and bills", "This machine"
COMMANDS = {
    "run": Entry("submit", "Submit a job and follow it: states, output, bill.", _JOBS),
    "submit": Entry("submit", "Submit jobs from YAML or JSON files.", _JOBS),
    "validate": Entry("submit", "Check a job file without submitting it.", _JOBS),
    "jobs": Entry("jobs", "List jobs.", _JOBS),
    "job": Entry("jobs", "Show one job: spec, leases, history, bill.", _JOBS),
    "group": Entry("groups", "Run several jobs as one: submit, watch, show, cancel.", _JOBS),
    "frames": Entry("frames", "Show the frames of a render job.", _JOBS),
    "metrics": Entry("metrics", "Show what a job took of its machine over time.", _JOBS),
    "top": Entry("metrics", "Show the jobs that run, the busiest first.", _JOBS),
    "logs": Entry("outputs", "Print a job's output.", _JOBS),
    "events": Entry("outputs", "Print what happened, as it happens with -f.", _JOBS),
    "outputs": Entry("outputs", "List and download result files.", _JOBS),
    "cancel": Entry("jobs", "Cancel jobs.", _JOBS),
    "extend": Entry("jobs", "Move a job's deadline.", _JOBS),
    "trace": Entry("trace", "Show every step of a job or group, and what is undone.", _JOBS),
    "stuck": Entry("trace", "List what does not get on.", _JOBS),
    "resolve": Entry("trace", "End by hand what does not get on (admins).", _JOBS),
    "quote": Entry("submit", "Ask every provider what a job would cost.", _SEE),
    "providers": Entry("providers", "List providers: state, abilities, prices.", _SEE),
    "plugins": Entry("plugins", "List plugins: what they add, whether they work.", _SEE),
    "provider": Entry("providers", "Add, change, test and remove providers.", _SEE),
    "cost": Entry("money", "Sum up what was charged.", _SEE),
    "budget": Entry("budgets", "Limit what jobs may cost, and see what is left.", _SEE),
    "ledger": Entry("money", "List holds, charges and releases.", _SEE),
    "reconcile": Entry(
        "reconcile", "Compare networks and jobs with the books; close what leaked.", _SEE
    ),
    "users": Entry("users", "Add people and services, change what they may (admins).", _SEE),
    "projects": Entry("projects", "See and make projects, and who is in them.", _SEE),
    "login": Entry("login", "Log in with a password or a key, and stay so.", _SEE),
    "logout": Entry("login", "End the login that is kept on this machine.", _SEE),
    "profile": Entry("profiles", "Name servers, each with a project and a login.", _SEE),
    "password": Entry("login", "Change your password.", _SEE),
    "second-factor": Entry(
        "second_factor", "Add codes of an app, or passkeys, to your password.", _SEE
    ),
    "sessions": Entry("login", "See where you are logged in, and end it there.", _SEE),
    "admin": Entry("admin", "Add the first administrator.", _SEE),
    "redeem": Entry("admin", "Set your password with a token that an admin gave you.", _SEE),
    "keys": Entry("keys", "Make, list and revoke API keys.", _SEE),
    "secrets": Entry("secrets", "Keep secrets for jobs of a project; rotate keys (admins).", _SEE),
    "templates": Entry("templates", "Keep job and group specs with parameters, by name.", _JOBS),
    "filters": Entry("filters", "Keep filters of lists of jobs, by name.", _JOBS),
    "schedules": Entry("schedules", "Submit jobs by themselves, by cron.", _JOBS),
    "settings": Entry("settings", "Change settings while Cortex runs (admins).", _SEE),
    "notices": Entry("notices", "Choose what you are told by e-mail or in a chat.", _SEE),
    "webhooks": Entry("webhooks", "Have events sent to a URL; see what became of each.", _SEE),
    "audit": Entry("audit", "See who changed what, and who was denied (admins).", _SEE),
    "up": Entry("stack", "Start the whole stack on this machine.", _SERVER),
    "down": Entry("stack", "Stop the stack.", _SERVER),
    "status": Entry("stack", "Show the stack's processes and the server's health.", _SERVER),
    "doctor": Entry("stack", "Look for what is wrong here, and say what to do.", _SERVER),
    "demo": Entry(
        "stack", "See it all work: a stack, real jobs, their bills; then clean up.", _SERVER
    ),
    "api": Entry("stack", "Run an API process.", _SERVER),
    "worker": Entry("stack", "Run a worker process.", _SERVER),
    "db": Entry("stack", "Look after the database.", _SERVER),
    "config": Entry("system", "Show every setting and where it came from.", _SERVER),
    "schema": Entry("system", "Print the JSON Schema of job files.", _SERVER),
    "version": Entry("system", "Print the version.", _SERVER),
}


class LazyGroup(TyperGroup):
    """Knows its commands by name and loads the one that is asked for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, entry in COMMANDS.items():
            stub = TyperCommand(name, help=entry.help, rich_help_panel=entry.panel)
            self.commands[name] = stub
        self._loaded: set[str] = set()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if "_CORTEX_COMPLETE" in os.environ and cmd_name in COMMANDS:
            self._load(cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in COMMANDS:
            self._load(args[0])
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _sorted_args(ctx, args))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            told = as_cli_error(error)
            if told is None:
                raise
            state = ctx.obj if isinstance(ctx.obj, State) else State()
            show(told, as_json=state.json, color=state.colored(sys.stderr))
            raise typer.Exit(told.exit_code) from None

    def _load(self, name: str) -> None:
        if name in self._loaded:
            return
        self._loaded.add(name)
        module = importlib.import_module(f"cli.commands.{COMMANDS[name].module}")
        command = typer.main.get_group(module.app).commands[name]
        command.epilog = command.epilog or _EPILOG
        self.commands[name] = command


def _sorted_args(ctx: Any, args: list[str]) -> list[str]:
    """The global options first; what follows `--` is put aside where a command takes it."""
    args, tail = _split(args)
    front: list[str] = []
    rest: list[str] = []
    words = iter(args)
    for word in words:
        name, equals, _ = word.partition("=")
        if word in _SWITCHES or (equals and name in _VALUES):
            front.append(word)
        elif word in _VALUES:
            front += [word, *([value] if (value := next(words, None)) is not None else [])]
        else:
            rest.append(word)
    if tail is None:
        return front + rest
    if rest and rest[0] in _TAKES_COMMAND:
        ctx.meta[TAIL] = tail
        return front + rest
    return [*front, *rest, "--", *tail]


def _split(args: list[str]) -> tuple[list[str], list[str] | None]:
    if "--" not in args:
        return args, None
    at = args.index("--")
    return args[:at], args[at + 1 :]
