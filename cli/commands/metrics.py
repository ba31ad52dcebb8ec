"""`metrics`, `top`."""

import asyncio
import time
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.live import Live
from rich.text import Text

from cli import render
from cli import top as loads
from cli.find import find_id
from cli.metrics_view import COLUMNS, RIGHT, rows_of, show_metrics, summary
from cli.state import State, state_of
from cli.times import since
from cortex.client import Cortex
from cortex.schemas.metrics import JobMetrics

app = typer.Typer()
_AGAIN = 2.0
_TOP_AGAIN = 5.0


@app.command("metrics")
def metrics(
    ctx: typer.Context,
    job_id: Annotated[
        str, typer.Argument(metavar="ID", help="Job id, a job's unique name, or @last.")
    ],
    after: Annotated[
        str | None, typer.Option("--since", help="From `2h` ago on, or `2026-01-31`.")
    ] = None,
    before: Annotated[str | None, typer.Option("--until", help="Up to then.")] = None,
    step: Annotated[
        int | None, typer.Option(min=1, max=31_536_000, help="Seconds from one point to the next.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it anew until the job has ended.")
    ] = False,
) -> None:
    """Show what a job took of its machine over time, as far as its provider tells it."""
    state = state_of(ctx)
    begin, end = since(after, "--since"), since(before, "--until")
    with state.client() as cortex:
        whole_id = find_id(cortex, job_id)
        if watch:
            _watch(state, cortex, whole_id)
            return
        told = cortex.metrics(whole_id, since=begin, until=end, step=step)
        if state.json:
            render.print_json(told)
        else:
            show_metrics(state, told)


def _watch(state: State, cortex: Cortex, job_id: str) -> None:
    """Until it has ended: as JSON a line each time, else in place."""
    if state.json:
        for told in _anew(cortex, job_id):
            render.print_json(told)
        return
    console = render.console(state)
    with Live(console=console, auto_refresh=False, screen=False) as live:
        for told in _anew(cortex, job_id):
            if told.points:
                table = render.drawn(COLUMNS, rows_of(told.points), right=RIGHT)
                table.caption = Text(summary(told))
                live.update(table, refresh=True)
            else:
                live.update(Text(told.note), refresh=True)


def _anew(cortex: Cortex, job_id: str) -> Iterator[JobMetrics]:
    """What is known every few seconds, last when the job has ended."""
    while True:
        over = cortex.job(job_id).state.terminal
        yield cortex.metrics(job_id)
        if over:
            return
        time.sleep(_AGAIN)


@app.command("top")
def top(
    ctx: typer.Context,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=100, help="Of the newest so many.")
    ] = 20,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it anew every few seconds.")
    ] = False,
) -> None:
    """Show the jobs that run, those first that take the most CPU."""
    state = state_of(ctx)
    asyncio.run(_top(state, limit, watch=watch))


async def _top(state: State, limit: int, *, watch: bool) -> None:
    async with state.aclient() as cortex:
        if not watch:
            loads.show(state, await loads.loads(cortex, state.project, limit))
            return
        console = render.console(state)
        with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
            while True:
                rows = loads.rows_of(await loads.loads(cortex, state.project, limit))
                table = render.drawn(
                    loads.COLUMNS, rows, right=loads.RIGHT, spare=loads.SPARE, width=console.width
                )
                live.update(table, refresh=True)
                await asyncio.sleep(_TOP_AGAIN)
