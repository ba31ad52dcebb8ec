"""`jobs`, `job`, `cancel`, `extend`."""

import asyncio
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Annotated

import typer
from rich.live import Live

from cli import render
from cli.bulk import cancel_matching, known_state, parse_where
from cli.errors import BadInput, CliError, ExitCode, as_cli_error, show
from cli.fields import Fields, names_of, show_fields
from cli.find import find_id, find_job
from cli.frames import show_frames
from cli.local import dir_option
from cli.options import parse_labels
from cli.state import State, state_of
from cli.times import since
from cli.trace_view import show_trace
from cortex.client import ClientError, Cortex, JobFilter
from cortex.domain.spec import JobSpec
from cortex.domain.units import format_duration, parse_duration
from cortex.schemas.jobs import JobSummary, JobView
from cortex.schemas.money import LedgerView

app = typer.Typer()
Id = Annotated[str, typer.Argument(metavar="ID", help="Job id, a job's unique name, or @last.")]
_COLUMNS = ("ID", "NAME", "STATE", "PROVIDER", "DONE", "EXIT", "COST", "AGE")
_RIGHT = (4, 5, 6, 7)
_SPARE = (3, 4, 5, 6)  # the id stays whole: it is what people copy


@app.command("jobs")
def jobs(
    ctx: typer.Context,
    state_: Annotated[str | None, typer.Option("--state", "-s", help="Such as running.")] = None,
    provider: Annotated[str | None, typer.Option(help="Provider id.")] = None,
    owner: Annotated[str | None, typer.Option(help="Who submitted it.")] = None,
    name: Annotated[str | None, typer.Option(help="The job's name.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="KEY=VALUE.")] = None,
    after: Annotated[
        str | None, typer.Option("--since", help="Created after: `2h` ago, or `2026-01-31`.")
    ] = None,
    before: Annotated[str | None, typer.Option("--until", help="Created before.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 50,
    saved: Annotated[
        str | None, typer.Option(help="By a saved filter (`cortex filters`); options count too.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew each second.")] = False,
    fields: Fields = None,
) -> None:
    """List jobs, newest first."""
    state = state_of(ctx)
    names = None if fields is None else names_of(fields, JobSummary.model_fields)
    if watch and names is not None:
        raise BadInput("either --watch or --fields")
    which = JobFilter(
        state=None if state_ is None else known_state(state_, "--state"),
        project=state.project,
        provider=provider,
        owner=owner,
        name=name,
        labels=parse_labels(label or ()),
        created_after=since(after, "--since"),
        created_before=since(before, "--until"),
    )
    with state.client() as cortex:
        if watch:
            _watch(state, cortex, which, saved, limit)
            return
        if names is not None:
            most = None if all_ else limit
            entries = cortex.iter_job_fields(names, which, saved=saved, page_size=_page(most))
            show_fields(state, names, islice(entries, most))
            return
        listed = _take(cortex, which, saved, None if all_ else limit)
        if state.json:
            for summary in listed:
                render.print_json(summary)
            return
        items = list(listed)
        if not items:
            render.say(state, "no jobs match")
            return
        render.table(state, _COLUMNS, map(_row, items), right=_RIGHT, spare=_SPARE)
        if not all_ and len(items) == limit:
            render.say(state, f"the newest {limit}; --limit or --all shows more", style="dim")


def _take(
    cortex: Cortex, which: JobFilter, saved: str | None, limit: int | None
) -> Iterator[JobSummary]:
    return islice(cortex.iter_jobs(which, saved=saved, page_size=_page(limit)), limit)


def _page(limit: int | None) -> int:
    return 100 if limit is None else min(limit, 100)


def _watch(state: State, cortex: Cortex, which: JobFilter, saved: str | None, limit: int) -> None:
    console = render.console(state)
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            rows = [_row(summary) for summary in _take(cortex, which, saved, limit)]
            table = render.drawn(_COLUMNS, rows, right=_RIGHT, spare=_SPARE, width=console.width)
            live.update(table, refresh=True)
            time.sleep(1.0)


def _row(job: JobSummary) -> tuple[str, ...]:
    return (
        job.id,
        job.name,
        render.job_state(job),
        job.provider_id or "-",
        "" if job.state.terminal else render.percent(job.progress),
        "" if job.exit_code is None else str(job.exit_code),
        render.cost(job),
        render.age(job.created_at),
    )


@app.command("job")
def job(
    ctx: typer.Context,
    job_id: Id,
    frames: Annotated[
        bool, typer.Option("--frames", help="Only the frames of a render job.")
    ] = False,
    trace: Annotated[
        bool, typer.Option("--trace", help="Every step of its protocol; see `cortex trace`.")
    ] = False,
) -> None:
    """Show one job: what was asked for, each attempt, its history, its bill."""
    state = state_of(ctx)
    with state.client() as cortex:
        view = find_job(cortex, job_id)
        if frames:
            show_frames(state, cortex, view.id, None)
            return
        if trace:
            show_trace(state, cortex.trace(view.id), full=False)
            return
        if state.json:
            render.print_json(view)
            return
        _show_job(state, view, list(cortex.iter_ledger(view.id)))


def _show_job(state: State, job: JobView, entries: list[LedgerView]) -> None:
    render.fields(state, _facts(job))
    if job.leases:
        render.heading(state, "Leases")
        rows = [
            (
                str(lease.attempt),
                lease.provider_id,
                lease.state.value,
                lease.run_state.value if lease.run_state else "-",
                "" if lease.exit_code is None else str(lease.exit_code),
                f"{lease.price_per_hour}",
                render.money(lease.cost or lease.usage),
                lease.message,
            )
            for lease in job.leases
        ]
        columns = ("TRY", "PROVIDER", "LEASE", "RUN", "EXIT", "PER HOUR", "COST", "MESSAGE")
        render.table(state, columns, rows, right=(0, 4, 5, 6))
        for lease in job.leases:
            for endpoint in lease.endpoints:
                print(f"port {endpoint.port}: {endpoint.url}")
    if job.history:
        render.heading(state, "History")
        history = [(render.clock(h.time), h.state.value, h.message) for h in job.history]
        render.table(state, ("TIME", "STATE", "MESSAGE"), history)
    if entries:
        render.heading(state, "Bill")
        bill = [
            (render.clock(e.created_at), e.kind.value, str(e.amount), e.provider_id, e.note)
            for e in entries
        ]
        render.table(state, ("TIME", "KIND", "AMOUNT", "PROVIDER", "NOTE"), bill, right=(2,))
    render.heading(state, "Next")
    here = f"cortex {dir_option(state)}"
    steps = [("output", f"{here}logs {job.id}")]
    if job.spec.render is not None:
        steps.append(("frames", f"{here}frames {job.id}"))
    if job.spec.kept():
        steps.append(("results", f"{here}outputs get {job.id}"))
    steps.append(("each step", f"{here}trace {job.id}"))
    if not job.state.terminal:
        steps.append(("cancel", f"{here}cancel {job.id}"))
    render.fields(state, [*steps, ("workflow", job.temporal_url or "")])


def _facts(job: JobView) -> list[tuple[str, str]]:
    spec, need = job.spec, job.spec.resources
    asked = spec.model_dump(mode="json")["resources"]
    gpu = f", {need.gpu.count} x {need.gpu.model or need.gpu.vendor}" if need.gpu else ""
    left = ""
    if job.deadline_at and not job.state.terminal:
        rest = job.deadline_at - datetime.now().astimezone()
        late = rest < timedelta(0)
        left = f"{render.clock(job.deadline_at)} ({'over' if late else f'in {render.span(rest)}'})"
        if job.extension:
            left += f", extended by {format_duration(job.extension)}"
    logs = render.size(job.log_bytes)
    if job.log_dropped_bytes:
        logs += f" ({render.size(job.log_dropped_bytes)} or more in the middle are not kept)"
    ran = (
        (job.finished_at or datetime.now().astimezone()) - job.started_at
        if job.started_at
        else None
    )
    return [
        ("id", job.id),
        ("name", job.name),
        ("state", render.job_state(job)),
        ("reason", job.reason.value if job.reason else ""),
        ("message", job.message),
        ("exit code", "" if job.exit_code is None else str(job.exit_code)),
        ("progress", "" if job.state.terminal else render.percent(job.progress)),
        ("provider", job.provider_id or ""),
        ("image", spec.image or ""),
        ("scene", spec.render.scene if spec.render else ""),
        ("frames", spec.render.frames if spec.render else ""),
        ("command", render.command([*spec.command, *spec.args])),
        ("template", f"{job.template.name}@{job.template.version}" if job.template else ""),
        ("resources", f"{render.cores(asked['cpu'])}, {asked['memory']} memory{gpu}"),
        ("labels", " ".join(f"{key}={value}" for key, value in job.labels.items())),
        ("secrets", " ".join(_secrets(spec))),
        ("created", f"{render.clock(job.created_at)} by {job.owner}"),
        ("started", render.clock(job.started_at)),
        ("finished", render.clock(job.finished_at)),
        ("ran", render.span(ran) if ran is not None else ""),
        ("used", _used(job)),
        ("deadline", left),
        ("restarts", _restarts(job)),
        ("cost", _cost(job)),
        ("budget", str(spec.budget) if spec.budget else ""),
        ("output", logs),
    ]


def _cost(job: JobView) -> str:
    """What is billed; while it runs, with what its lease has cost so far, and who says so."""
    now = job.cost_so_far
    if now is None:
        return str(job.cost)
    told = "as its network tells" if not now.estimated else "estimated as price times time"
    return f"{now} so far, {told} ({render.clock(now.as_of)})"


def _used(job: JobView) -> str:
    """What it took of its machines, once it has ended."""
    used = job.resources_used
    if used is None:
        return ""
    cpu = "" if used.cpu_seconds is None else f"{render.duration(used.cpu_seconds)} of CPU"
    memory = (
        "" if used.memory_peak is None else f"{render.size(used.memory_peak)} of memory at most"
    )
    return ", ".join(part for part in (cpu, memory) if part)


def _secrets(spec: JobSpec) -> list[str]:
    """Its secret variables; with `NAME` those that came from a secret of the project."""
    kept = spec.references()
    return [f"{name}=`{kept[name]}`" if name in kept else name for name in spec.secret_env]


def _restarts(job: JobView) -> str:
    """What the network is to be blamed for is told apart from what the command did itself."""
    told = ((job.losses, "after the network lost it"), (job.failures, "after its command failed"))
    counts = ", ".join(f"{count} {why}" for count, why in told if count)
    return f"{counts}; last {render.clock(job.restarted_at)}" if job.restarted_at else counts


@app.command("cancel")
def cancel(
    ctx: typer.Context,
    job_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID...]", help="Job ids, unique names, or @last."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Is kept with the job.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Until its lease is released.")] = False,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Instead of ids, all that match: state, name, owner, provider, group, "
            "label=KEY=VALUE, since, until. May be repeated.",
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Instead of ids, every job.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many match.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Cancel jobs. What they used is charged, the rest of their holds is released."""
    state = state_of(ctx)
    if sum(map(bool, (job_ids, where, all_))) != 1:
        raise BadInput("name jobs by their ids, by --where, or all of them by --all")
    if not job_ids:
        cancel_matching(
            state,
            parse_where(where or (), state.project),
            reason=reason,
            everything=all_,
            dry_run=dry_run,
            yes=yes,
            wait=wait,
        )
        return
    if dry_run:
        raise BadInput("--dry-run goes with --where or --all")
    raise typer.Exit(asyncio.run(_cancel(state, job_ids, reason, wait=wait)))


async def _cancel(state: State, job_ids: list[str], reason: str, *, wait: bool) -> int:
    """Each in turn; one that cannot be cancelled does not keep the others from it."""
    worst = int(ExitCode.OK)
    async with state.aclient() as cortex:
        asked: list[JobView] = []
        for text in job_ids:
            try:
                job_id = await asyncio.to_thread(_looked_up, state, text)
                asked.append(await cortex.cancel(job_id, reason=reason))
            except (CliError, ClientError) as error:
                told = as_cli_error(error) or CliError(str(error))
                show(told, as_json=state.json, color=state.colored(sys.stderr))
                worst = max(worst, told.exit_code)
        for job in asked:
            now = await cortex.wait(job.id) if wait else job
            _tell(state, now, f"{now.id}  {now.state.value}")
    return worst


def _looked_up(state: State, text: str) -> str:
    with state.client() as cortex:
        return find_id(cortex, text)


@app.command("extend")
def extend(
    ctx: typer.Context,
    job_id: Id,
    duration: Annotated[str, typer.Argument(help="How much longer: `30m`, `2h`.")],
) -> None:
    """Move a job's deadline."""
    state = state_of(ctx)
    try:
        longer = parse_duration(duration)
    except ValueError as error:
        raise BadInput(str(error)) from None
    with state.client() as cortex:
        job = cortex.extend(find_job(cortex, job_id).id, longer)
    until = f"  until {render.clock(job.deadline_at)}" if job.deadline_at else ""
    _tell(state, job, f"{job.id}  {duration} longer{until}")


def _tell(state: State, job: JobView, text: str) -> None:
    render.print_json(job) if state.json else print(text, flush=True)
