"""The report: what a session saw, without anything secret, as Markdown or JSON."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal

from cli.errors import BadInput
from cli.verify import checks
from cli.verify.model import Result, RunReport, Step, Verdict, VerifyReport, verdict
from cli.verify.scrub import Scrubber
from cli.verify.session import Session
from cli.verify.trial import Plan
from cortex.domain.money import Money
from cortex.domain.providers.inspection import CallTally

_WORDS: dict[Verdict, Literal["as expected", "differences", "could not run", "interrupted"]] = {
    Verdict.AS_EXPECTED: "as expected",
    Verdict.DIFFERENCES: "differences",
    Verdict.COULD_NOT_RUN: "could not run",
    Verdict.INTERRUPTED: "interrupted",
}
_BAD = (Result.DIFFERENT, Result.FAILED)


def build(
    session: Session,
    plan: Plan,
    scrub: Scrubber,
    *,
    interrupted: bool,
    simulated: bool,
    version: str,
) -> VerifyReport:
    """Put together what there is, however far it got."""
    outcome = verdict(session.steps, interrupted=interrupted)
    view, inspection = session.view, session.inspection
    spent = sum((observed.job.cost.amount for observed in session.seen), Decimal(0))
    can = view.capabilities if view else None
    workers = {name: number for number, name in enumerate(session.calls, 1)}
    calls = [call for name in workers for call in session.calls[name]]
    whole = VerifyReport(
        id=plan.id,
        provider_id=plan.provider_id,
        verdict=_WORDS[outcome],
        summary=summary(session.steps, interrupted=interrupted),
        adapter=inspection.adapter if inspection else None,
        cortex_version=version,
        network_version=session.network.network_version if session.network else "",
        simulated=simulated,
        config=scrub.config(view.config) if view else {},
        capabilities=can.model_dump(mode="json", exclude_defaults=True) if can else {},
        image=plan.image,
        budget=plan.budget,
        run_limit_seconds=plan.duration.total_seconds(),
        started_at=session.began,
        finished_at=datetime.now(UTC),
        spent=Money(amount=spent, currency="USD"),
        steps=tuple(session.steps),
        runs=tuple(observed.report(plan) for observed in session.seen),
        calls=tuple(calls),
        notes=tuple(session.notes),
        remaining=tuple(checks.remaining(session.seen, session.held)),
    )
    return VerifyReport.model_validate(scrub.value(whole.model_dump(mode="json")))


def summary(steps: Sequence[Step], *, interrupted: bool = False) -> str:
    """One sentence."""
    if interrupted:
        return "it was interrupted, and its jobs were cancelled"
    failed = [step for step in steps if step.result is Result.FAILED]
    if failed:
        return f"it could not run ({failed[0].name}): {failed[0].observed}"
    bad = [step.name for step in steps if step.result is Result.DIFFERENT]
    if bad:
        return f"{len(bad)} of {len(steps)} steps differ: {', '.join(bad)}"
    cannot = [step.name for step in steps if step.result is Result.CANNOT]
    rest = f"; not asked: {', '.join(cannot)}" if cannot else ""
    return f"all {len(steps) - len(cannot)} steps as expected{rest}"


def writable(path: Path) -> None:
    """Refuse a place where the report cannot be written, before anything is bought.

    Raises:
        BadInput: names it.
    """
    if path.is_dir():
        raise BadInput(f"--report: `{path}` is a folder; name a file in it")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise BadInput(f"--report: there is no folder `{path.parent}`")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise BadInput(f"--report: `{path}` may not be written")


def write(report: VerifyReport, path: Path) -> None:
    """Write it: JSON where the name ends so, else Markdown."""
    as_json = path.suffix.lower() == ".json"
    text = report.model_dump_json(indent=2) + "\n" if as_json else markdown(report)
    path.write_text(text, encoding="utf-8")


def markdown(report: VerifyReport) -> str:
    """The report for people."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: VerifyReport) -> Iterator[str]:
    yield f"# Verification of provider `{report.provider_id}`: {report.verdict}"
    yield ""
    yield f"{report.summary[:1].upper()}{report.summary[1:]}."
    yield ""
    yield from _table(("", ""), _facts(report))
    yield from _section("Steps", _steps(report.steps))
    yield from _section("What differs, and what to do", _differences(report.steps))
    yield from _section("Still there at the end", [f"- {_cell(line)}" for line in report.remaining])
    for run in report.runs:
        yield from _section(f"Run `{run.name}`", _run(run))
    odd = [call for call in report.calls if call.odd]
    yield from _section("Calls that did not end as usual", _calls(odd))
    yield from _section("All calls", _calls(report.calls))
    yield from _section("Notes", [f"- {_cell(line)}" for line in report.notes])
    config = json.dumps(report.config, indent=2, ensure_ascii=False)
    yield from _section("Configuration, without secrets", ["```json", config, "```"])


def _facts(report: VerifyReport) -> Iterator[tuple[str, str]]:
    adapter = report.adapter
    if adapter is not None:
        package = f", {adapter.package} {adapter.version}" if adapter.package else ""
        yield "adapter", f"`{adapter.type}` ({adapter.name}{package})"
    yield "network", report.network_version + (" (a simulator)" if report.simulated else "")
    yield "Cortex", report.cortex_version
    yield "when", f"{report.started_at:%Y-%m-%d %H:%M:%S} to {report.finished_at:%H:%M:%S} UTC"
    yield "image", report.image or "none: a plain process"
    yield "limit of a run", f"{report.run_limit_seconds:g} s"
    yield "budget, spent", f"{report.budget}, {report.spent}"
    yield "id", report.id


def _steps(steps: Sequence[Step]) -> list[str]:
    rows = [
        (
            step.name,
            step.result.value,
            step.expected,
            step.observed,
            "" if step.seconds is None else f"{step.seconds:g} s",
        )
        for step in steps
    ]
    return _table(("step", "result", "expected", "observed", "took"), rows)


def _differences(steps: Sequence[Step]) -> list[str]:
    lines: list[str] = []
    for step in steps:
        if step.result in _BAD:
            wanted = _cell(step.expected) or "that it can be done"
            lines.append(f"- **{step.name}**: expected {wanted}")
            lines.append(f"  - observed: {_cell(step.observed)}")
            if step.todo:
                lines.append(f"  - to do: {_cell(step.todo)}")
    return lines


def _run(run: RunReport) -> list[str]:
    code = "" if run.exit_code is None else f", exit code {run.exit_code}"
    price = f" at {run.price_per_hour} per hour, at most {run.most}" if run.price_per_hour else ""
    charged = ", ".join(str(amount) for amount in run.charged) or "nothing"
    head = [
        f"Job `{run.job_id}`, leases {', '.join(f'`{key}`' for key in run.lease_keys) or 'none'}: "
        f"{run.state} ({run.reason or 'no reason'}{code}){price}; {charged} charged.",
        "",
    ]
    if run.message:
        head += [f"It says: {_cell(run.message)}", ""]
    rows = [(f"{moment.after:.2f} s", moment.type, _data(moment.data)) for moment in run.moments]
    return head + _table(("after", "event", "with"), rows)


def _data(data: dict[str, object]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in data.items())


def _merged(calls: Sequence[CallTally]) -> list[CallTally]:
    """The same calls of both runs as one."""
    merged: dict[tuple[str, str, str], CallTally] = {}
    for call in calls:
        kind = (call.step, call.call, call.outcome)
        one = merged.get(kind)
        merged[kind] = call if one is None else _sum(one, call)
    return list(merged.values())


def _sum(one: CallTally, other: CallTally) -> CallTally:
    count = one.count + other.count
    total = one.mean_ms * one.count + other.mean_ms * other.count
    return other.model_copy(
        update={
            "count": count,
            "mean_ms": round(total / count),
            "longest_ms": max(one.longest_ms, other.longest_ms),
            "first_at": min(one.first_at, other.first_at),
            "note": other.note or one.note,
        }
    )


def _calls(calls: Sequence[CallTally]) -> list[str]:
    rows = [
        (
            call.step,
            call.call or "(the step)",
            call.outcome,
            str(call.count),
            f"{call.mean_ms} ms",
            f"{call.longest_ms} ms",
            call.note,
        )
        for call in sorted(_merged(calls), key=lambda tally: tally.first_at)
    ]
    columns = ("step", "call", "outcome", "times", "mean", "longest", "said")
    return _table(columns, rows) if rows else []


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"## {title}"
        yield ""
        yield from lines


def _table(columns: Sequence[str], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return lines + [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
