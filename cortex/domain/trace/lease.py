"""The steps of one attempt: from the offer to the released lease. Pure."""

from datetime import datetime
from typing import Final

from cortex.domain.events import EventType
from cortex.domain.leases import Lease, SettleStep
from cortex.domain.money.ledger import EntryKind
from cortex.domain.states import JobState, LeaseState, RunState
from cortex.domain.trace.model import History, JobStory, Phase, Ran, StepState, TraceStep
from cortex.domain.trace.resolution import resolution_of

_OPEN: Final = (LeaseState.INTENDED, LeaseState.RESERVED)
_CALLS: Final = {
    "look": "find what the network holds under the key",
    "stop": "end the command, so that there are results",
    "collect": "fetch logs and outputs",
    "cancel": "release the lease",
    "usage": "ask for the final bill",
    "forget": "let the network forget the lease",
}


class LeaseSteps:
    """Makes the steps of one lease."""

    def __init__(self, story: JobStory, lease: Lease, history: History) -> None:
        self._story = story
        self._lease = lease
        self._history = history
        self._queue = f"queue `provider.{lease.provider_id}`"
        self._released = lease.state is LeaseState.RELEASED
        self._undone = self._released and lease.run_state is not RunState.EXITED

    def all(self) -> list[TraceStep]:
        """In the order of the protocol."""
        lease = self._lease
        steps = [self._place(), self._intend(), self._reserve()]
        if self._story.gang is not None and lease.reserved_at is not None:
            steps.append(self._verdict())
        steps.append(self._commit())
        if lease.committed_at is not None:
            steps.append(self._watch())
        if lease.state in (LeaseState.RELEASING, LeaseState.RELEASED):
            steps += [*self._settle(), self._book(), self._release()]
        return steps

    def _step(self, phase: Phase, state: StepState, **values: object) -> TraceStep:
        lease = self._lease
        return TraceStep.model_validate(
            {
                "phase": phase,
                "state": state,
                "job_id": lease.job_id,
                "member": self._story.job.member,
                "attempt": lease.attempt,
                "lease_key": lease.key,
                "provider_id": lease.provider_id,
                **values,
            }
        )

    def _place(self) -> TraceStep:
        lease = self._lease
        began = [
            status.time
            for status in self._story.statuses
            if status.state == JobState.PLACING and status.time <= lease.created_at
        ]
        return self._step(
            Phase.PLACE,
            StepState.DONE,
            started_at=began[-1] if began else lease.created_at,
            ended_at=lease.created_at,
            tries=sum(search.tries for search in self._searches()) or None,
            sent="activity `place`: collect offers",
            to="every healthy provider that the spec allows",
            known=f"`{lease.provider_id}` at {lease.offer.price_per_hour} per hour",
        )

    def _searches(self) -> list[Ran]:
        """The looks for an offer that led to this lease: since the one before was released."""
        lease = self._lease
        before = [
            earlier.released_at
            for earlier in self._story.leases
            if earlier.attempt < lease.attempt and earlier.released_at is not None
        ]
        since = max(before, default=self._story.job.created_at)
        return [
            search
            for search in self._history.of("place")
            if search.lease_key == lease.key
            or (
                search.lease_key is None
                and search.scheduled_at is not None
                and since <= search.scheduled_at <= lease.created_at
            )
        ]

    def _intend(self) -> TraceStep:
        holds = [
            entry
            for entry in self._story.entries
            if entry.lease_key == self._lease.key and entry.kind is EntryKind.HOLD
        ]
        return self._step(
            Phase.INTEND,
            StepState.COMPENSATED if self._undone else StepState.DONE,
            started_at=self._lease.created_at,
            ended_at=self._lease.created_at,
            tries=1,
            sent="lease row and hold, before any network is called",
            to="the database",
            known=f"{' and '.join(str(entry.amount) for entry in holds) or 'nothing'} held",
        )

    def _reserve(self) -> TraceStep:
        lease = self._lease
        done = lease.reserved_at is not None or lease.committed_at is not None
        both = _last(self._history.of("acquire", lease.key))
        ran = _last(self._history.of("prepare", lease.key)) or both
        step = "acquire" if both else "prepare"
        state = self._state(ran, done=done, open_=lease.state is LeaseState.INTENDED)
        return self._step(
            Phase.RESERVE,
            state,
            started_at=ran.scheduled_at if ran and ran.scheduled_at else lease.created_at,
            ended_at=lease.reserved_at or self._ended(ran, state),
            **_tries(ran, state),
            sent=f"activity `{step}`: reserve under the key `{lease.key}`",
            to=self._queue,
            known="reserved" if done else "",
            error="" if both and done else self._error(ran, state),
        )

    def _verdict(self) -> TraceStep:
        gang = self._story.gang
        assert gang is not None
        decided = gang.decision is not None
        return self._step(
            Phase.VERDICT,
            StepState.DONE if decided else StepState.WAITING,
            part=f"gang {gang.gang}",
            started_at=self._lease.reserved_at,
            ended_at=gang.decided_at,
            sent="activity `verdict`: may the lease go live?",
            to="the group's decision",
            known=": ".join(filter(None, (gang.decision or "not decided yet", gang.reason))),
        )

    def _commit(self) -> TraceStep:
        lease = self._lease
        done = lease.committed_at is not None
        both = None if lease.reserved_at is None else _last(self._history.of("acquire", lease.key))
        ran = _last(self._history.of("commit", lease.key)) or both
        state = self._state(ran, done=done, open_=lease.state in _OPEN)
        if state is StepState.RUNNING and (lease.state is LeaseState.INTENDED or self._undecided()):
            state = StepState.WAITING
        if state is StepState.FAILED and (lease.reserved_at is None or self._never_asked(ran)):
            state = StepState.SKIPPED
        return self._step(
            Phase.COMMIT,
            state,
            started_at=ran.scheduled_at if ran and not both else lease.reserved_at,
            ended_at=lease.committed_at or self._ended(ran, state),
            **_tries(ran, state),
            sent=f"activity `{'acquire' if both else 'commit'}`: make the reservation live",
            to=self._queue,
            known="live: it costs money from here on" if done else "",
            error=self._error(ran, state),
        )

    def _watch(self) -> TraceStep:
        lease = self._lease
        checks = self._history.of("check", lease.key)
        live = lease.state is LeaseState.ACTIVE
        lost = lease.run_state is RunState.LOST
        said = lease.run_state.value if lease.run_state else "nothing heard yet"
        if lease.exit_code is not None:
            said += f" with {lease.exit_code}"
        if lease.message:
            said += f" ({lease.message})"
        unknown = ""
        if lease.unknown_since is not None:
            unknown = f"out of sight since {lease.unknown_since:%H:%M:%S}: {lease.unknown_reason}"
        return self._step(
            Phase.WATCH,
            StepState.FAILED if lost else StepState.RUNNING if live else StepState.DONE,
            started_at=lease.committed_at,
            ended_at=None if live else lease.finished_at or lease.releasing_at,
            sent=f"watched by `monitor:{lease.provider_id}`; {len(checks)} safety checks",
            to=self._queue,
            known=said,
            error=unknown or (lease.message if lost else ""),
        )

    def _settle(self) -> list[TraceStep]:
        """One step per call at the network; one for all where none is known."""
        lease = self._lease
        pending = next(
            (
                step_run
                for step_run in self._history.of("settle", lease.key)
                if step_run.outcome == "pending"
            ),
            None,
        )
        calls = [self._call(step, pending) for step in lease.settle_steps]
        known = {step.step for step in lease.settle_steps}
        if pending is not None and pending.running and pending.at and pending.at not in known:
            now = SettleStep(step=pending.at, started_at=pending.started_at or lease.created_at)
            calls.append(self._call(now, pending))
        if not calls:
            calls.append(self._whole(pending))
        return calls

    def _whole(self, pending: Ran | None) -> TraceStep:
        lease = self._lease
        done = lease.cost is not None or self._released
        ran = pending or _last(self._history.of("settle", lease.key))
        state = StepState.DONE if done else StepState.WAITING
        if not done and pending is not None and pending.running:
            state = StepState.RUNNING
        return self._step(
            Phase.SETTLE,
            state,
            started_at=lease.releasing_at,
            ended_at=lease.released_at if done else None,
            **_tries(ran, state),
            sent="activity `settle`: end the run, collect, release, read the bill",
            to=self._queue,
            known="the network holds nothing" if done and lease.ref is None else "",
            error=ran.error if ran and not done else "",
            compensates=self._compensates(),
        )

    def _call(self, call: SettleStep, pending: Ran | None) -> TraceStep:
        state = StepState.DONE
        if call.error:
            state = StepState.FAILED if self._released else StepState.WAITING
        elif call.ended_at is None:
            state = StepState.RUNNING
        by_hand = resolution_of(self._lease)
        given_up = self._released and call.error and by_hand is not None
        waiting = state is StepState.WAITING and pending is not None
        return self._step(
            Phase.SETTLE,
            state,
            part=call.step,
            started_at=call.started_at,
            ended_at=None if state is StepState.WAITING else call.ended_at,
            tries=call.tries,
            sent=_CALLS.get(call.step, call.step),
            to=f"the network of `{self._lease.provider_id}`",
            known=f"given up {by_hand.told()}" if given_up and by_hand else "",
            error=call.error,
            next_try_at=pending.next_at if waiting and pending else None,
            compensates=self._compensates() if call.step == "cancel" else (),
        )

    def _compensates(self) -> tuple[Phase, ...]:
        lease = self._lease
        if lease.run_state is RunState.EXITED:
            return ()
        return (Phase.RESERVE, Phase.COMMIT) if lease.committed_at else (Phase.RESERVE,)

    def _book(self) -> TraceStep:
        lease = self._lease
        charge = next(
            (
                entry
                for entry in self._story.entries
                if entry.lease_key == lease.key and entry.kind is EntryKind.CHARGE
            ),
            None,
        )
        if charge is not None:
            known = "; ".join(filter(None, (f"{charge.amount} charged", charge.note)))
            when: datetime | None = charge.created_at
        else:
            known = "nothing to charge" if lease.cost is not None or self._released else ""
            when = lease.released_at
        return self._step(
            Phase.BOOK,
            StepState.DONE if known else StepState.WAITING,
            started_at=when,
            ended_at=when,
            sent="the charge, once per lease",
            to="the ledger",
            known=known,
        )

    def _release(self) -> TraceStep:
        lease = self._lease
        rest = next(
            (
                entry
                for entry in self._story.entries
                if entry.lease_key == lease.key and entry.kind is EntryKind.RELEASE
            ),
            None,
        )
        return self._step(
            Phase.RELEASE,
            StepState.DONE if self._released else StepState.WAITING,
            started_at=rest.created_at if rest else lease.released_at,
            ended_at=lease.released_at,
            sent="the rest of the hold, and the lease as released",
            to="the database",
            known=f"{rest.amount} of the hold released" if rest else "",
            compensates=(Phase.INTEND,),
        )

    def _never_asked(self, ran: Ran | None) -> bool:
        gang = self._story.gang
        aborted = gang is not None and gang.decision == "aborted"
        return ran is None and (aborted or self._history.source == "read")

    def _undecided(self) -> bool:
        return self._story.gang is not None and self._story.gang.decision is None

    def _state(self, ran: Ran | None, *, done: bool, open_: bool) -> StepState:
        """Of a step at the network that may be done, under way, or have come to nothing."""
        if done:
            return StepState.COMPENSATED if self._undone else StepState.DONE
        if open_:
            waits = ran is not None and ran.outcome == "pending" and not ran.running
            return StepState.WAITING if waits else StepState.RUNNING
        failed = ran is not None and (ran.outcome in ("failed", "timed_out") or ran.error)
        stopped = self._story.job.cancel_requested_at is not None
        return StepState.FAILED if failed or not stopped else StepState.SKIPPED

    def _ended(self, ran: Ran | None, state: StepState) -> datetime | None:
        if state not in (StepState.FAILED, StepState.SKIPPED):
            return None
        return (ran.ended_at if ran else None) or self._lease.releasing_at

    def _error(self, ran: Ran | None, state: StepState) -> str:
        """What Temporal or else the events say of it."""
        if ran is not None and ran.error and state is not StepState.DONE:
            return ran.error
        if state not in (StepState.FAILED, StepState.WAITING):
            return ""
        return self._told() if state is StepState.FAILED else ""

    def _told(self) -> str:
        lease, job = self._lease, self._story.job
        for event in self._story.events:
            if event.type is EventType.JOB_RETRYING and event.data.get("lease") == lease.key:
                return str(event.data.get("message", ""))
        last = self._story.leases[-1].key == lease.key
        return job.message if last and job.state is JobState.FAILED else ""


def _last(ran: list[Ran]) -> Ran | None:
    return ran[-1] if ran else None


def _tries(ran: Ran | None, state: StepState) -> dict[str, object]:
    if ran is None:
        return {}
    return {"tries": ran.tries, "next_try_at": ran.next_at if state is StepState.WAITING else None}
