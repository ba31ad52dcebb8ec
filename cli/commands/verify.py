"""`provider verify`: the first live run of a provider, and a report about it."""

import asyncio
import os
import secrets
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from cli import render
from cli.errors import BadInput, CliError
from cli.follow import EventPrinter, interrupts
from cli.local import dir_option, running
from cli.state import State, interactive, state_of
from cli.verify import report as reports
from cli.verify.gates import CouldNotRun, Estimate
from cli.verify.model import Result, Step, Verdict, VerifyReport
from cli.verify.scrub import Scrubber
from cli.verify.session import Session
from cli.verify.trial import Plan
from cortex.client import AsyncCortex
from cortex.domain.errors import CortexError
from cortex.domain.money import Money
from cortex.domain.providers.inspection import Trial
from cortex.domain.units import parse_duration
from cortex.embedded.config import StackConfig
from cortex.embedded.simulators import simulated_providers

_PATIENCE = 90.0
_SHORTEST, _LONGEST = timedelta(seconds=10), timedelta(hours=6)
_STYLES = {
    Result.OK: "green",
    Result.DIFFERENT: "bold red",
    Result.FAILED: "bold red",
    Result.CANNOT: "yellow",
    Result.NOT_REACHED: "dim",
}


@dataclass(frozen=True)
class Options:
    """What the command was given."""

    provider_id: str
    budget: Money
    image: str | None
    timeout: timedelta | None
    report: Path
    yes: bool


def verify(
    ctx: typer.Context,
    provider_id: Annotated[str, typer.Argument(metavar="ID", help="Provider id.")],
    budget: Annotated[
        str, typer.Option(help="The most that all of it may cost: `0.50`, in USD.")
    ] = "0.50",
    image: Annotated[str | None, typer.Option(help="Image of the jobs; it needs a shell.")] = None,
    timeout: Annotated[
        str | None, typer.Option(help="The most that each of the two jobs may take: `10m`.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the report goes; `.json`: as JSON."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before money is spent.")
    ] = False,
) -> None:
    """Try a provider for real: two small jobs, step by step, and a report without secrets.

    One job prints, writes a file and ends with 7; one is cancelled while it runs. What they do is
    compared with what the adapter promises. Ends with 0 if all is as expected, 1 if something
    differs, 2 if nothing could be run.
    """
    state = state_of(ctx)
    options = Options(
        provider_id,
        _budget(budget),
        image,
        _timeout(timeout),
        report or _default_report(provider_id),
        yes,
    )
    if report is not None:
        reports.writable(report)
    raise typer.Exit(asyncio.run(_verify(state, options)))


async def _verify(state: State, options: Options) -> int:
    printer = EventPrinter(state)
    async with state.aclient(timeout=_PATIENCE) as cortex:
        session = Session(
            cortex,
            tell=lambda step: _show_step(state, step),
            watch=lambda event: None if state.json else printer.show(event),
        )
        whole = _Whole(state, options, cortex, session)
        with interrupts() as interrupted:
            work = asyncio.create_task(whole.work())
            if not await _first(work, interrupted):
                await _abandoned(state, work, session, interrupted)
                whole.interrupted = True
            elif work.exception() is not None:
                await whole.broke(work.exception())
        return await whole.close()


@dataclass
class _Whole:
    """One run of the command."""

    state: State
    options: Options
    cortex: AsyncCortex
    session: Session
    plan: Plan | None = None
    simulated: bool = False
    interrupted: bool = False
    declined: bool = False
    error: BaseException | None = None

    async def work(self) -> None:
        """The steps, until one says that nothing can be run."""
        try:
            inspection = await self.session.look(self.options.provider_id)
            self.simulated = _is_simulated(self.state, self.options.provider_id)
            plan = self.plan = self._plan(inspection.trial)
            if plan.image is None and inspection.trial.no_image:
                raise CouldNotRun("offer", f"it needs an image: {inspection.trial.no_image}")
            estimate = await self.session.price(plan)
            await self._consent(plan, estimate, paid=inspection.trial.paid)
            await self.session.run(plan, estimate)
        except CouldNotRun as why:
            if self.session.view is None:
                raise _bad_input(why) from None
            self.session.add(why.step)

    async def broke(self, error: BaseException | None) -> None:
        """The server went away, or refused: what is under way ends by its own limits."""
        self.error = error
        if self.session.view is None:
            return
        await self.session.refresh()
        why = f"the server could not be asked any more: {error}"
        self.session.add(Step(name="server", result=Result.FAILED, observed=why))

    async def close(self) -> int:
        """Write the report, say how it was; the exit code."""
        if self.session.view is None:
            if self.error is not None:
                raise self.error
            return Verdict.INTERRUPTED if self.interrupted else Verdict.COULD_NOT_RUN
        if self.declined:
            return Verdict.COULD_NOT_RUN
        told = await self._report()
        await asyncio.to_thread(reports.write, told, self.options.report)
        if self.state.json:
            render.print_json(told)
        else:
            _show_end(self.state, told, self.options.report)
        if self.error is not None:
            self._say_going_on()
            raise self.error
        if self.interrupted:
            return Verdict.INTERRUPTED
        return {"as expected": 0, "differences": 1}.get(told.verdict, Verdict.COULD_NOT_RUN)

    def _plan(self, trial: Trial) -> Plan:
        options = self.options
        return Plan(
            id=secrets.token_hex(5),
            provider_id=options.provider_id,
            trial=trial,
            budget=options.budget,
            duration=options.timeout or trial.duration,
            image=options.image or trial.image,
            outputs=not trial.no_outputs,
        )

    async def _report(self) -> VerifyReport:
        version = ""
        if self.error is None:
            version = (await self.cortex.info()).version
        inspection = self.session.inspection
        plan = self.plan or self._plan(inspection.trial if inspection else Trial())
        scrub = Scrubber([self.cortex.connection.api_key], [self.state.folder(), Path.cwd()])
        return reports.build(
            self.session,
            plan,
            scrub,
            interrupted=self.interrupted,
            simulated=self.simulated,
            version=version,
        )

    async def _consent(self, plan: Plan, estimate: Estimate, *, paid: bool) -> None:
        """Ask before real money is spent.

        Raises:
            CouldNotRun: the answer is no.
            BadInput: nobody can be asked.
        """
        words = (
            f"{plan.describe()}: up to {estimate.usd} at the cheapest offer, never more than "
            f"{plan.budget}"
        )
        if not self.state.json:
            render.say(self.state, words, style="bold")
        if self.options.yes or self.simulated or not paid:
            return
        if self.state.json or not interactive():
            raise CouldNotRun(
                "offer", "it costs real money, and nobody can be asked", "give --yes to agree"
            )
        if not await _agrees(f"Run them on `{plan.provider_id}`?"):
            self.declined = True
            raise CouldNotRun("offer", "you have not agreed to the price")

    def _say_going_on(self) -> None:
        for job_id in self.session.jobs:
            here = f"cortex {dir_option(self.state)}"
            render.say(self.state, f"job {job_id} may go on; it ends by its own limits")
            render.say(self.state, f"  cancel:  {here}cancel {job_id}")


def _bad_input(why: CouldNotRun) -> CliError:
    todo = [why.step.todo] if why.step.todo else []
    return CliError(
        why.step.observed, details=todo, code="could_not_run", exit_code=Verdict.COULD_NOT_RUN
    )


async def _agrees(question: str) -> bool:
    """The answer. It is read by the event loop: a thread that waits could not be interrupted."""
    lines: asyncio.Queue[str] = asyncio.Queue()
    keyboard, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    loop.add_reader(
        keyboard, lambda: lines.put_nowait(os.read(keyboard, 4096).decode(errors="replace"))
    )
    try:
        typer.echo(f"{question} [y/N]: ", nl=False, err=True)
        return (await lines.get()).strip().lower() in ("y", "yes")
    finally:
        loop.remove_reader(keyboard)


async def _first(work: "asyncio.Task[None]", interrupted: asyncio.Event) -> bool:
    """Whether the work was done before Ctrl-C."""
    asked = asyncio.create_task(interrupted.wait())
    await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    return work.done()


async def _abandoned(
    state: State, work: "asyncio.Task[None]", session: Session, interrupted: asyncio.Event
) -> None:
    """After Ctrl-C: end the jobs; after a second one, wait no longer."""
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    if not state.json:
        render.say(state, "interrupted: ending what runs (Ctrl-C again: not waiting for it)")
    interrupted.clear()
    ending = asyncio.create_task(session.abandon("Ctrl-C in `cortex provider verify`"))
    if await _first(ending, interrupted):
        error = ending.exception()
        if error is not None:
            session.notes.append(f"the jobs could not be ended: {error}")
        return
    ending.cancel()
    await asyncio.gather(ending, return_exceptions=True)
    await session.refresh()


def _show_step(state: State, step: Step) -> None:
    if state.json:
        return
    took = "" if step.seconds is None else f"  ({step.seconds:g} s)"
    text = step.observed or step.expected
    if step.result in (Result.DIFFERENT, Result.FAILED) and step.expected:
        text = f"{step.observed}; expected: {step.expected}"
    line = f"{step.result.value:<12}{step.name:<16}{render.printable(text)}{took}"
    console = render.console(state)
    console.print(line.rstrip(), style=_STYLES[step.result], soft_wrap=True)
    if step.todo:
        console.print(f"{'':<28}to do: {render.printable(step.todo)}", soft_wrap=True)


def _show_end(state: State, told: VerifyReport, path: Path) -> None:
    console = render.console(state)
    style = "green" if told.verdict == "as expected" else "bold red"
    console.print(
        f"\n{told.verdict}: {render.printable(told.summary)}", style=style, soft_wrap=True
    )
    if told.runs:
        console.print(f"spent {told.spent} of {told.budget}", soft_wrap=True)
    odd = sum(call.count for call in told.calls if call.odd)
    if odd:
        console.print(f"{odd} calls to the network did not end as usual: see the report")
    for note in (*told.notes, *told.remaining):
        console.print(f"note: {render.printable(note)}", soft_wrap=True)
    console.print(f"the report, without secrets, is in {path}", soft_wrap=True)


def _is_simulated(state: State, provider_id: str) -> bool:
    """Whether it is one of the simulators of the stack on this machine."""
    if running(state) is None:
        return False
    urls = StackConfig.load(state.folder()).simulator_urls()
    return provider_id in simulated_providers(urls)


def _budget(text: str) -> Money:
    """In USD: prices of other currencies are converted at the network's own rate."""
    written = text.strip()
    try:
        budget = Money.model_validate(written if " " in written else f"{written} USD")
    except ValueError:
        raise BadInput(f"--budget: `{text[:40]}` is no amount; write it as `0.50`") from None
    if budget.currency != "USD":
        raise BadInput(
            f"--budget: `{text[:40]}` is not in USD; prices in other currencies are converted"
        )
    if budget.amount <= 0:
        raise BadInput("--budget must be more than zero")
    if budget.amount > Decimal(1000):
        raise BadInput("--budget: a verification needs cents; at most 1000 USD are taken")
    return budget


def _timeout(text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        timeout = parse_duration(text)
    except (ValueError, CortexError):
        raise BadInput(f"--timeout: `{text[:40]}` is no duration; write it as `10m`") from None
    if not _SHORTEST <= timeout <= _LONGEST:
        raise BadInput("--timeout must be between 10s and 6h")
    return timeout


def _default_report(provider_id: str) -> Path:
    name = "".join(char for char in provider_id if char.isalnum() or char == "-")[:60]
    return Path(f"cortex-verify-{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}.md")
