"""`cortex cancel --where …`: which jobs are meant, and being sure of it."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import typer

from cli import render
from cli.errors import BadInput, CliError, ExitCode
from cli.options import parse_labels
from cli.state import State, interactive
from cli.times import since
from cortex.client import Cortex, JobFilter
from cortex.domain.states import JobState
from cortex.schemas.bulk import BulkCancelView, SkipReason

_PLAIN: Final = ("provider", "owner", "name", "group")
_KEYS: Final = ("state", *_PLAIN, "label", "since", "until")
_SKIPPED: Final = {
    SkipReason.CANCELLING: "are being cancelled",
    SkipReason.SETTLING: "are settling their bill",
    SkipReason.ENDED: "have ended",
}


def known_state(text: str, option: str) -> str:
    """The name of a state.

    Raises:
        BadInput: there is no such state.
    """
    try:
        return JobState(text.lower()).value
    except ValueError:
        names = ", ".join(state.value for state in JobState)
        raise BadInput(f"{option} `{text}`: there is no such state; it is one of {names}") from None


def parse_where(texts: Sequence[str], project: str | None) -> JobFilter:
    """The filter of `KEY=VALUE` texts; each key once, but for labels.

    Raises:
        BadInput: a text has another form, or its key is none.
    """
    given: dict[str, str] = {}
    labels: list[str] = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not value or key not in _KEYS:
            raise BadInput(f"--where `{text}`: must be KEY=VALUE, KEY one of {', '.join(_KEYS)}")
        if key == "label":
            labels.append(value)
        elif key in given:
            raise BadInput(f"--where `{key}`: was given twice")
        else:
            given[key] = value
    plain: dict[str, Any] = {key: given[key] for key in _PLAIN if key in given}
    state = given.get("state")
    return JobFilter(
        state=None if state is None else known_state(state, "--where state"),
        project=project,
        labels=parse_labels(labels),
        created_after=since(given.get("since"), "--where since"),
        created_before=since(given.get("until"), "--where until"),
        **plain,
    )


def cancel_matching(
    state: State,
    which: JobFilter,
    *,
    reason: str,
    everything: bool,
    dry_run: bool,
    yes: bool,
    wait: bool,
) -> None:
    """Count, ask, cancel; more than one request does in as many as it takes.

    Raises:
        BadInput: nobody can be asked, and `yes` was not given.
        CliError: the answer was no.
    """
    with state.client() as cortex:
        seen = cortex.cancel_jobs(which, dry_run=True, everything=everything)
        if dry_run:
            _tell(state, seen, "would be cancelled")
            return
        count = seen.cancelled + seen.remaining
        if count and not yes:
            _ask(state, seen, count)
        ended = _cancel_all(state, cortex, which, reason, everything=everything)
        if wait:
            for job_id in ended:
                job = cortex.wait(job_id)
                if not state.json:
                    typer.echo(f"{job.id}  {job.state.value}")


def _cancel_all(
    state: State, cortex: Cortex, which: JobFilter, reason: str, *, everything: bool
) -> list[str]:
    jobs: list[str] = []
    while True:
        done = cortex.cancel_jobs(which, reason=reason, everything=everything)
        _tell(state, done, "are asked to end")
        jobs += done.jobs
        if not done.remaining or not done.cancelled:
            return jobs


def _ask(state: State, seen: BulkCancelView, count: int) -> None:
    if state.json or not interactive():
        raise BadInput(
            f"{_jobs(count)} would be cancelled, and nobody can be asked; give --yes, "
            "or --dry-run to see what matches"
        )
    _tell(state, seen, "would be cancelled", said=render.say)
    if not typer.confirm(f"Cancel {_jobs(count)}?", err=True):
        raise CliError("nothing was cancelled", code="declined", exit_code=ExitCode.FAILED)


def _tell(
    state: State,
    view: BulkCancelView,
    words: str,
    *,
    said: Callable[[State, str], None] = lambda _, text: typer.echo(text),
) -> None:
    if state.json:
        render.print_json(view)
        return
    count = view.cancelled + (view.remaining if view.dry_run else 0)
    said(state, f"{_jobs(view.matched)} match, {count} {words}")
    for skipped in view.skipped:
        said(state, f"  {skipped.count} {_SKIPPED[skipped.reason]}")
    if view.remaining and not view.dry_run:
        said(state, f"  {view.remaining} are left")


def _jobs(count: int) -> str:
    return f"{count} job{'' if count == 1 else 's'}"
