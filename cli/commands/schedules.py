"""`schedules`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import render
from cli.errors import BadInput
from cli.specfile import load, load_whole
from cli.state import State, state_of
from cli.templates import Named, filling_of
from cortex.client import LAST_SEEN, ApiError
from cortex.domain.schedules import Overlap
from cortex.schemas.schedules import ScheduleCreate, ScheduleView

if TYPE_CHECKING:
    from cortex.client import Cortex

app = typer.Typer()
schedules_app = typer.Typer(no_args_is_help=True, help="Submit jobs by themselves, by cron.")
app.add_typer(schedules_app, name="schedules")

_FORM = "a schedule is one mapping with `name`, `cron` and a `template` or `job`"
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a schedule.")]
Cron = Annotated[str | None, typer.Option(help="`0 6 * * 1-5`: at six on weekdays.")]
Zone = Annotated[str | None, typer.Option("--timezone", help="`Europe/Berlin`; else UTC.")]
Template = Annotated[
    str | None, typer.Option(metavar="NAME[@VERSION]", help="Submit what it becomes.")
]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="Of a parameter; again for more."),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Any field of the spec: `resources.cpu=2`.")
]
JobFile = Annotated[str | None, typer.Option("--job", help="Submit the job in this file.")]
Policy = Annotated[
    Overlap | None, typer.Option(help="What to do while the job before has not ended; else skip.")
]
Catchup = Annotated[
    str | None, typer.Option(metavar="DURATION", help="How late one may be submitted; else 1h.")
]
Jitter = Annotated[str | None, typer.Option(metavar="DURATION", help="So much later, by chance.")]
Start = Annotated[str | None, typer.Option(metavar="TIME", help="`2026-12-01T06:00:00Z`.")]
Description = Annotated[str | None, typer.Option(help="What it is for.")]


@schedules_app.command("list")
def list_schedules(ctx: typer.Context) -> None:
    """List schedules, the newest first."""
    state = state_of(ctx)
    with state.client() as cortex:
        found = tuple(cortex.iter_schedules(project=state.project))
    if state.json:
        render.print_json(*found)
    elif not found:
        render.say(state, "there is no schedule; `cortex schedules create` makes one")
    else:
        heading = ("NAME", "PROJECT", "CRON", "TIMEZONE", "WHAT", "STATE", "NEXT")
        rows = [
            (
                each.name,
                each.project,
                each.cron,
                each.timezone,
                _what(each),
                "paused" if each.paused else "ok",
                render.clock(each.next_runs[0]) if each.next_runs else "",
            )
            for each in found
        ]
        render.table(state, heading, rows, spare=(4,))


@schedules_app.command("create")
def create(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Its name.")] = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", help="All of it from a YAML or JSON file.")
    ] = None,
    cron: Cron = None,
    timezone: Zone = None,
    template: Template = None,
    param: Params = None,
    set_: Overrides = None,
    job: JobFile = None,
    overlap: Policy = None,
    catchup: Catchup = None,
    jitter: Jitter = None,
    start: Start = None,
    end: Start = None,
    description: Description = None,
    paused: Annotated[bool, typer.Option("--paused", help="Submit nothing yet.")] = False,
) -> None:
    """Make a schedule, in your project or that of --project. Its jobs are yours."""
    state = state_of(ctx)
    fields = _fields(
        cron=cron,
        timezone=timezone,
        overlap=overlap and overlap.value,
        catchup=catchup,
        jitter=jitter,
        start_at=start,
        end_at=end,
        description=description,
        paused=paused or None,
    ) | _submitted(template, param, set_, job)
    document = load_whole(file, ScheduleCreate, _FORM) if file is not None else None
    if document is not None:
        fields = {**document.data, **fields}
    if name is not None:
        fields["name"] = name
    if not {"name", "cron"} <= fields.keys():
        raise BadInput("give a name and --cron, or a file with both")
    with state.client() as cortex:
        try:
            made = cortex.create_schedule(fields)
        except ApiError as error:
            if document is None or error.code != "invalid_request" or not error.errors:
                raise
            raise BadInput(
                "the server refuses this", details=document.places(error.errors)
            ) from None
    _tell(state, made)


@schedules_app.command("show")
def show(ctx: typer.Context, name: Name) -> None:
    """Show a schedule: when, what, and the times that come next."""
    state = state_of(ctx)
    with state.client() as cortex:
        shown = find_schedule(state, cortex, name)
        runs = cortex.schedule_runs(shown.id, limit=5).items
    if state.json:
        render.print_json(shown)
        return
    render.fields(
        state,
        [
            ("schedule", shown.name),
            ("id", shown.id),
            ("project", shown.project),
            ("owner", shown.owner),
            ("description", shown.description),
            ("cron", f"{shown.cron} ({shown.timezone})"),
            ("what", _what(shown)),
            ("params", " ".join(f"{key}={value}" for key, value in shown.params.items())),
            ("overlap", shown.overlap.value),
            ("late by", f"at most {render.span(shown.catchup)}"),
            ("jitter", render.span(shown.jitter) if shown.jitter else ""),
            ("from", render.clock(shown.start_at)),
            ("until", render.clock(shown.end_at)),
            ("state", "paused" if shown.paused else "ok"),
            ("why", shown.pause_reason or shown.note),
            ("temporal", "" if shown.told else "has not been told of the last change yet"),
            ("next", ", ".join(render.clock(time) for time in shown.next_runs)),
        ],
    )
    if runs:
        render.heading(state, "Last runs")
        _show_runs(state, runs)


@schedules_app.command("update")
def update(
    ctx: typer.Context,
    name: Name,
    cron: Cron = None,
    timezone: Zone = None,
    template: Template = None,
    param: Params = None,
    set_: Overrides = None,
    job: JobFile = None,
    overlap: Policy = None,
    catchup: Catchup = None,
    jitter: Jitter = None,
    start: Start = None,
    end: Start = None,
    description: Description = None,
) -> None:
    """Change a schedule. What is given of --param and --set is all; the rest stays."""
    state = state_of(ctx)
    fields = _fields(
        cron=cron,
        timezone=timezone,
        overlap=overlap and overlap.value,
        catchup=catchup,
        jitter=jitter,
        start_at=start,
        end_at=end,
        description=description,
    ) | _submitted(template, param, set_, job)
    if not fields:
        raise BadInput("say what to change; `cortex schedules update --help` lists it")
    if job is not None:
        fields |= {"params": {}, "overrides": {}}
    with state.client() as cortex:
        schedule = cortex.schedule(find_schedule(state, cortex, name).id)
        changed = cortex.update_schedule(schedule.id, fields, if_match=LAST_SEEN)
    _tell(state, changed)


@schedules_app.command("delete")
def delete(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of schedules.")],
) -> None:
    """Take schedules away with the lists of their runs. Their jobs go on."""
    state = state_of(ctx)
    with state.client() as cortex:
        for name in names:
            cortex.delete_schedule(find_schedule(state, cortex, name).id)
            if not state.json:
                render.say(state, f"schedule `{name}` was taken away")


@schedules_app.command("pause")
def pause(
    ctx: typer.Context, name: Name, note: Annotated[str, typer.Option(help="Why.")] = ""
) -> None:
    """Submit nothing by itself until it is resumed."""
    state = state_of(ctx)
    with state.client() as cortex:
        _tell(state, cortex.pause_schedule(find_schedule(state, cortex, name).id, note))


@schedules_app.command("resume")
def resume(ctx: typer.Context, name: Name) -> None:
    """Submit what comes due from now on."""
    state = state_of(ctx)
    with state.client() as cortex:
        _tell(state, cortex.resume_schedule(find_schedule(state, cortex, name).id))


@schedules_app.command("trigger")
def trigger(ctx: typer.Context, name: Name) -> None:
    """Submit one now, and print the id of its job."""
    state = state_of(ctx)
    with state.client() as cortex:
        run = cortex.trigger_schedule(find_schedule(state, cortex, name).id)
    render.print_json(run) if state.json else print(run.made)


@schedules_app.command("backfill")
def backfill(
    ctx: typer.Context,
    name: Name,
    start: Annotated[str, typer.Option(metavar="TIME", help="`2026-11-01T00:00:00Z`.")],
    end: Annotated[str, typer.Option(metavar="TIME", help="`2026-11-08T00:00:00Z`.")],
) -> None:
    """Submit all of a span of the past that was not, each time once."""
    state, first, last = state_of(ctx), _time(start), _time(end)
    with state.client() as cortex:
        schedule_id = find_schedule(state, cortex, name).id
        count = cortex.backfill_schedule(schedule_id, first, last)
    if not state.json:
        words = f"{count} {'time is' if count == 1 else 'times are'} made up for"
        render.say(state, words if count else "nothing is made up for: each time had its job")


@schedules_app.command("runs")
def runs(
    ctx: typer.Context,
    name: Name,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 50,
) -> None:
    """List what became of its times, the latest first."""
    state = state_of(ctx)
    with state.client() as cortex:
        page = cortex.schedule_runs(find_schedule(state, cortex, name).id, limit=limit)
    if state.json:
        render.print_json(*page.items)
        return
    _show_runs(state, page.items)
    if page.next_cursor is not None:
        render.say(state, f"the latest {limit}; --limit shows more")


def find_schedule(state: State, cortex: "Cortex", name: str) -> ScheduleView:
    """The one schedule of this name, in the project that was named or in any that one may see.

    Raises:
        BadInput: there is none, or one in each of several projects.
    """
    found = cortex.schedules(project=state.project, name=name).items
    if len(found) == 1:
        return found[0]
    if not found:
        where = f" in the project `{state.project}`" if state.project else ""
        raise BadInput(f"there is no schedule `{name}`{where}; see `cortex schedules list`")
    projects = ", ".join(f"`{each.project}`" for each in found)
    raise BadInput(f"there is a schedule `{name}` in each of {projects}; say which with --project")


def _fields(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _submitted(
    template: str | None, param: list[str] | None, set_: list[str] | None, job: str | None
) -> dict[str, Any]:
    """What is submitted, as the options say."""
    if job is not None and (template or param or set_):
        raise BadInput("--job takes the place of --template, --param and --set")
    if job is not None:
        documents = load(job)
        if len(documents) != 1:
            raise BadInput(f"{job} holds {len(documents)} jobs; a schedule submits one")
        documents[0].spec()
        return {"job": documents[0].data}
    named = Named.of(template) if template is not None else None
    filling = filling_of(named or Named(""), param, set_)
    fields: dict[str, Any] = {}
    if named is not None:
        fields = _fields(template=named.name, template_version=named.version)
    if param:
        fields["params"] = filling.params
    if set_:
        fields["overrides"] = filling.overrides
    return fields


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"`{text}` is no time; write one such as 2026-11-01T00:00:00Z") from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _what(schedule: ScheduleView) -> str:
    if schedule.template is None:
        return f"job {(schedule.job or {}).get('name', 'job')}"
    version = f"@{schedule.template_version}" if schedule.template_version else ""
    return f"template {schedule.template}{version}"


def _show_runs(state: State, runs: Any) -> None:
    rows = [
        (
            render.clock(run.due_at),
            run.cause.value,
            run.state.value,
            run.made or "",
            run.message,
        )
        for run in runs
    ]
    render.table(state, ("DUE", "CAUSE", "STATE", "MADE", "MESSAGE"), rows, spare=(4,))


def _tell(state: State, schedule: ScheduleView) -> None:
    if state.json:
        render.print_json(schedule)
        return
    following = render.clock(schedule.next_runs[0]) if schedule.next_runs else "never"
    paused = "; it is paused" if schedule.paused else f"; next: {following}"
    render.say(state, f"schedule `{schedule.name}` in project `{schedule.project}`{paused}")
