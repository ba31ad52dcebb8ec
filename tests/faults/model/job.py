"""One job of the model: its workflow, its workers, its network and the monitor, move by move.

The workflow decides by `workflows.decisions.decide` itself. What it knows is durable; what a worker
knows is a `Try`. Signals may be late: a command that was written is delivered at any time.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from cortex.domain.groups.snapshot import Decided
from cortex.domain.jobs import Outcome, Reason
from cortex.domain.reconcile import suspects
from cortex.domain.states import (
    CANCELLABLE_JOB_STATES,
    JobState,
    LeaseState,
    RunState,
    job_sources,
)
from cortex.temporal.contracts import JobInput, LeaseChange
from tests.faults.model.state import At, Lease, Left, ModelMember, Mutation, Net, Setup, Try
from tests.faults.model.steps import COMMITS, moves, recorded
from workflows.decisions import End, LeaseEnd, Retry, Tally, decide, stopped_state


class View(NamedTuple):
    """What a member sees of its gang, and what may still go wrong."""

    decision: Decided | None
    late: bool
    """The gang's deadline and the grace of its members have passed."""
    left: Left


class Step(NamedTuple):
    """One move of a member, and what it took."""

    what: str
    after: ModelMember
    trouble: int = 0
    losses: int = 0
    late: int = 0
    cancels: int = 0
    writes: Decided | None = None
    """The decision of the gang that this member writes."""


def steps(m: ModelMember, view: View, setup: Setup) -> Iterator[Step]:
    """Everything that may happen to this member now."""
    yield from _messages(m)
    yield from _workflow(m, view, setup)
    yield from _workers(m, view, setup)
    yield from _network(m, view, setup)
    if view.left.cancels and m.job in CANCELLABLE_JOB_STATES and not m.held:
        asked = m._replace(job=JobState.CANCELLING, asked=True, told=Reason.CANCELLED)
        yield Step("the user cancels it", asked, cancels=1)


def _messages(m: ModelMember) -> Iterator[Step]:
    if m.start:
        begun = At.NEW if m.job.terminal else At.PLACE
        yield Step("its workflow is started", m._replace(start=False, at=begun))
    elif m.told is not None and m.at is not At.NEW:
        stop = m.stop or m.told
        yield Step("its workflow hears the cancel", m._replace(told=None, stop=stop))


def _workflow(m: ModelMember, view: View, setup: Setup) -> Iterator[Step]:
    if m.at is At.PLACE:
        yield from _place(m, view, setup)
    elif m.at is At.PREPARE and m.stop is not None and not _commits(m):
        # The step hears of it while it waits for the network; what it asked for may be there.
        yield Step("prepare is interrupted", _settling(m._replace(now=None), _stop_end(m), setup))
        if m.now is not None and m.now.at == "call":
            there, _ = m.nets[-1].prepared(idempotent=setup.idempotent)
            made = m.with_net(len(m.nets) - 1, there)
            settling = _settling(made._replace(now=None), _stop_end(m), setup)
            yield Step("prepare is interrupted after its call", settling)
    elif m.at is At.VOTE:
        yield from _vote(m, view, setup)
    elif m.at is At.WATCH:
        if m.lease.run is not None:
            yield Step("the workflow hears of the end", _settling(m, _run_end(m), setup))
        elif m.stop is not None:
            yield Step("the workflow stops it", _settling(m, _stop_end(m), setup))
    elif m.at is At.FINISH:
        yield Step("finish closes the job", _finished(m))


def _place(m: ModelMember, view: View, setup: Setup) -> Iterator[Step]:
    if m.stop is not None:
        stopped = m._replace(at=At.FINISH, outcome=stopped_state(m.stop), why=m.stop)
        yield Step("the workflow stops placing", stopped)
        return
    if m.job not in job_sources(JobState.PLACING) | {JobState.PLACING}:
        cancelled = m._replace(at=At.FINISH, outcome=JobState.CANCELLED, why=Reason.CANCELLED)
        yield Step("place finds it cancelled", cancelled)
        return
    if len(m.leases) >= setup.offers:
        failed = m._replace(at=At.FINISH, outcome=JobState.FAILED, why=Reason.NO_CAPACITY)
        yield Step("nobody offers", failed)
        return
    row = Lease(None) if setup.mutation is Mutation.NO_INTENT else Lease()
    placed = m._replace(job=JobState.PLACING, leases=(*m.leases, row), nets=(*m.nets, Net()))
    run = Try("acquire" if setup.one_step else "prepare", len(m.leases), "begin")
    yield Step("place writes the intent", placed._replace(at=At.PREPARE, now=run))
    if view.left.trouble:
        lost = placed._replace(at=At.FINISH, outcome=JobState.FAILED, why=Reason.INTERNAL_ERROR)
        yield Step("place writes the intent, and nobody hears of it", lost, trouble=1)


def _vote(m: ModelMember, view: View, setup: Setup) -> Iterator[Step]:
    if setup.mutation is Mutation.NO_DECISION:
        yield Step("it commits without asking", _committing(m))
        return
    if m.stop is not None:
        yield Step("the workflow stops waiting", _settling(m, _stop_end(m), setup))
    elif view.decision == "committed":
        yield Step("verdict: commit", _committing(m._replace(agreed=True)))
    elif view.decision == "aborted":
        stopped = m._replace(stop=Reason.GROUP_ABORTED)
        yield Step("verdict: abort", _settling(stopped, _stop_end(stopped), setup))
    elif view.late:
        yield Step("it presumes an abort", m, writes="aborted")
    if setup.mutation is Mutation.ABORT_AFTER_COMMIT and view.decision == "committed":
        yield Step("it presumes an abort", m, writes="aborted")


def _workers(m: ModelMember, view: View, setup: Setup) -> Iterator[Step]:
    run = m.now
    if run is not None:
        for move in moves(m, run, setup):
            if move.trouble > view.left.trouble or move.late > view.left.late:
                continue
            after = move.after._replace(now=move.goes_on)
            if move.goes_on is None:
                after = _heard(after, run.step, move.result, setup)
            yield Step(f"{run.step} {move.what}", after, move.trouble, late=move.late)
        if view.left.trouble:
            anew = run._replace(at="begin", again=True, made="")
            if anew != run:
                yield Step(f"{run.step} dies before `{run.at}`", m._replace(now=anew), trouble=1)
            if m.zombie is None and setup.stalls:
                stalled = m._replace(now=anew, zombie=run)
                yield Step(f"{run.step} stalls before `{run.at}`", stalled, trouble=1)
    if m.zombie is not None:
        for move in moves(m, m.zombie, setup):
            if move.trouble > view.left.trouble or move.late > view.left.late:
                continue
            # A try that was given up is tried no more, and nobody hears its answer.
            again = move.goes_on is not None and move.goes_on.at == "begin"
            after = move.after._replace(zombie=None if again else move.goes_on)
            yield Step(f"the stalled {m.zombie.step} {move.what}", after, move.trouble)
        if view.left.trouble:
            yield Step("the stalled try dies", m._replace(zombie=None), trouble=1)


def _network(m: ModelMember, view: View, setup: Setup) -> Iterator[Step]:
    for index, (lease, net) in enumerate(zip(m.leases, m.nets, strict=True)):
        if net.flying:
            landed, _ = net._replace(flying=False).prepared(idempotent=setup.idempotent)
            yield Step("the call that was held up lands", m.with_net(index, landed))
        if net.mine == "live":
            for code in (0, 1) if setup.fails else (0,):
                ended = net._replace(mine="over", code=code)
                yield Step(f"its command exits with {code}", m.with_net(index, ended))
            if view.left.losses:
                lost = m.with_net(index, net._replace(mine="gone"))
                yield Step("the network loses it", lost, losses=1)
        states = {"key": lease.state} if lease.state is not None else {}
        if setup.reconcile and net.alive and suspects(["key"], states):
            closed = net._replace(mine=net.mine if net.mine == "over" else "gone", strays=0)
            yield Step("reconcile closes an orphan", m.with_net(index, closed))
    seen = recorded(m)
    if seen is not None:
        yield Step("the monitor records", seen)


def _heard(m: ModelMember, step: str, result: str, setup: Setup) -> ModelMember:
    """The workflow hears the result of a step."""
    if step == "settle":
        return m._replace(at=At.DONE if m.outcome is not None else At.PLACE)
    if result == "ok" and step in ("acquire", "commit"):
        return m._replace(at=At.WATCH, was_live=True)
    if m.stop is not None or result == "stopped":
        return _settling(m, _stop_end(m), setup)
    if result == "ok":
        return _committing(m) if m.agreed or not setup.grouped else m._replace(at=At.VOTE)
    if result == "released":
        end = LeaseEnd(End.BROKEN, Reason.INTERNAL_ERROR, "released")
    else:
        end = LeaseEnd(End.REFUSED, Reason.NO_CAPACITY, "refused")
    together = setup.grouped and setup.commit_failure == "compensate" and not m.was_live
    return _settling(m, replace(end, last=together and step == "commit"), setup)


def _commits(m: ModelMember) -> bool:
    """A stop waits for the outcome of an `acquire` that has its reservation."""
    return m.now is not None and m.now.at.startswith(COMMITS)


def _committing(m: ModelMember) -> ModelMember:
    return m._replace(at=At.COMMIT, now=Try("commit", len(m.leases) - 1, "begin"))


def _settling(m: ModelMember, end: LeaseEnd, setup: Setup) -> ModelMember:
    """The end of a lease, judged by the workflow's own rules."""
    tally = Tally(failures=m.failures, losses=m.losses)
    job = JobInput(
        job_id="job",
        retries_on_failure=setup.retries_on_failure,
        retries_on_lost=setup.retries_on_lost,
    )
    verdict: Outcome | Retry = decide(end, job, tally)
    outcome, why = None, None
    if isinstance(verdict, Outcome):
        outcome, why = verdict.state, verdict.reason
    elif m.stop is not None:
        outcome, why = stopped_state(m.stop), m.stop
    run = Try("settle", len(m.leases) - 1, "begin", outcome=outcome, why=why)
    return m._replace(
        at=At.SETTLE,
        now=run,
        outcome=outcome,
        why=why,
        losses=tally.losses,
        failures=tally.failures,
    )


def _run_end(m: ModelMember) -> LeaseEnd:
    state = RunState.LOST if m.lease.code is None else RunState.EXITED
    end = LeaseEnd.of_change(LeaseChange(key="k", version=1, state=state, exit_code=m.lease.code))
    return end if end.exit_code == 0 or m.stop is None else _stop_end(m)


def _stop_end(m: ModelMember) -> LeaseEnd:
    return LeaseEnd(End.STOPPED, m.stop or Reason.CANCELLED, "stopped")


def _finished(m: ModelMember) -> ModelMember:
    """`finish`: one transaction, which also closes an intent that nobody heard of."""
    rows = tuple(
        row._replace(state=LeaseState.RELEASED, booked=True)
        if row.state is LeaseState.INTENDED
        else row
        for row in m.leases
    )
    job = m.job
    if job is JobState.PENDING:
        job = JobState.PLACING
    if job in job_sources(JobState.SETTLING) and m.outcome is not None:
        return m._replace(leases=rows, job=m.outcome, reason=m.why, at=At.DONE)
    return m._replace(leases=rows, at=At.DONE)


def wrong(m: ModelMember, setup: Setup) -> str | None:
    """What of the promise is broken for this job by itself."""
    for number, (row, net) in enumerate(zip(m.leases, m.nets, strict=True), 1):
        if row.charges > 1:
            return f"lease {number} is charged twice"
        if row.state is LeaseState.RELEASED and row.charges != row.committed:
            was = "live" if row.committed else "never live"
            return f"lease {number} was {was} and is charged {row.charges} times"
        if net.starts > 1:
            return f"the command of lease {number} was started twice"
        if net.alive and row.state is None:
            return f"the network holds lease {number}, which is written nowhere"
    # In trouble that may be: a network that is away for too long right after a commit is given up,
    # and what it has run meanwhile counts for nothing.
    if not setup.trouble and any(row.code == 0 for row in m.leases[:-1]):
        return "a command that had succeeded was started again"
    if sum(row.open for row in m.leases) > 1:
        return "a lease was replaced before it was released"
    if m.job.terminal and any(row.open for row in m.leases):
        return "the job has ended and a lease is open"
    if not (m.job.terminal and m.idle):
        return None
    held = [number for number, net in enumerate(m.nets, 1) if net.alive]
    if held and not setup.reconcile:
        return f"the job has ended and the network still holds lease {held[0]}"
    return None
