"""What each step expected, and what was observed: pure judgements over what the API told."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from cli.verify.model import Moment, Result, RunReport, Step
from cli.verify.trial import (
    EXIT_CODE,
    FILE,
    Plan,
    Run,
    command_digest,
    command_file,
    command_lines,
    log_differences,
)
from cortex.domain.jobs import Reason
from cortex.domain.money import Money
from cortex.domain.money.ledger import EntryKind
from cortex.domain.offers import Offer
from cortex.domain.providers.inspection import HeldLease
from cortex.domain.states import JobState
from cortex.domain.units import format_duration
from cortex.schemas.events import EventView
from cortex.schemas.jobs import JobView, LeaseView, LogEntry, OutputView
from cortex.schemas.money import LedgerView

_IMAGE = "if the image cannot be had there, name another one with `--image`"
_TOLD = ("message", "next", "provider", "state", "run_state", "exit_code", "price_per_hour", "hold")
_TROUBLE = ("job.trouble", "job.retrying", "lease.failed", "job.unknown")


@dataclass
class Observed:
    """One job after its end, as the API tells it."""

    run: Run
    job: JobView
    events: list[EventView] = field(default_factory=list)
    lines: list[LogEntry] = field(default_factory=list)
    outputs: tuple[OutputView, ...] = ()
    ledger: list[LedgerView] = field(default_factory=list)
    cancelled_at: datetime | None = None

    def first(self, kind: str) -> EventView | None:
        """The first event of this kind."""
        return next((event for event in self.events if _kind(event) == kind), None)

    @property
    def committed(self) -> bool:
        """Whether anything was bought."""
        return any(lease.committed_at for lease in self.job.leases)

    def report(self, plan: Plan) -> RunReport:
        """What the report says of it."""
        lease = self.job.leases[-1] if self.job.leases else None
        return RunReport(
            name=self.run,
            job_id=self.job.id,
            state=self.job.state.value,
            reason=self.job.reason.value if self.job.reason else None,
            message=self.job.message,
            exit_code=self.job.exit_code,
            lease_keys=tuple(each.key for each in self.job.leases),
            price_per_hour=lease.price_per_hour if lease else None,
            most=_most(lease, plan) if lease else None,
            charged=tuple(entry.amount for entry in self.ledger if entry.kind is EntryKind.CHARGE),
            cost=self.job.cost,
            moments=tuple(self._moments()),
        )

    def _moments(self) -> Iterator[Moment]:
        for event in self.events:
            data = {name: event.data[name] for name in _TOLD if event.data.get(name)}
            after = round((event.time - self.job.created_at).total_seconds(), 2)
            yield Moment(after=after, type=_kind(event), data=data)


def placing_steps(seen: Observed) -> list[Step]:
    """`reserve`, `commit`, `start`: how far the job got, and why no further."""
    intended, reserved = seen.first("lease.intended"), seen.first("lease.reserved")
    active = seen.first("lease.active")
    marks = (
        ("reserve", "a reservation under the lease's key", intended, reserved),
        ("commit", "a lease at the agreed price", reserved, active),
    )
    steps: list[Step] = []
    for name, expected, before, event in marks:
        if event is None:
            return [*steps, _stopped_at(name, expected, seen), *_not_reached(name)]
        price = seen.job.leases[-1].price_per_hour if seen.job.leases else None
        observed = f"at {price} per hour" if name == "reserve" else "the network has confirmed it"
        step = _ok(name, expected, observed, _between(before, event))
        offered = _offered(seen)
        if name == "reserve" and price and offered and _is_more(price, offered):
            told = f"at {price} per hour, over the {offered} that were offered"
            step = step.model_copy(update={"result": Result.DIFFERENT, "observed": told})
        steps.append(step)
    started = seen.job.started_at
    expected = "the command runs"
    if started is None:
        return [*steps, _stopped_at("start", expected, seen)]
    took = (started - active.time).total_seconds() if active else None
    return [*steps, _ok("start", expected, "it ran", took)]


def _offered(seen: Observed) -> Money | None:
    """The price of the offer that was taken."""
    event = seen.first("lease.intended")
    text = event.data.get("price_per_hour") if event else None
    return Money.model_validate(text) if text else None


def _stopped_at(name: str, expected: str, seen: Observed) -> Step:
    """Where it went no further. Before anything was bought, there is nothing to compare."""
    job = seen.job
    why = job.reason.value.replace("_", " ") if job.reason else job.state.value
    return Step(
        name=name,
        result=Result.DIFFERENT if seen.committed else Result.FAILED,
        expected=expected,
        observed=f"{why}: {job.message}" if job.message else why,
        todo=_what_to_do(job),
    )


def _what_to_do(job: JobView) -> str:
    if job.reason is Reason.AUTHENTICATION_FAILED:
        return "renew its credentials (`cortex provider update ID --ask NAME`)"
    if job.reason in (Reason.NO_CAPACITY, Reason.IMAGE_UNAVAILABLE, Reason.LEASE_LOST):
        return f"{_IMAGE}; `cortex trace {job.id}` shows every step"
    return f"`cortex trace {job.id}` shows every step"


def _not_reached(after: str) -> list[Step]:
    names = ("reserve", "commit", "start")
    return [Step(name=name, result=Result.NOT_REACHED) for name in names[names.index(after) + 1 :]]


def log_step(seen: Observed, plan: Plan, *, can: bool) -> Step:
    """Whether the log has every line, in order, on its stream."""
    wanted = command_lines(plan.mark)
    out = sum(stream == "stdout" for stream, _ in wanted)
    expected = (
        f"{out} lines on stdout and {len(wanted) - out} on stderr, in order: plain, UTF-8, and "
        "one of 16 KiB"
    )
    if not can:
        return Step(
            name="log",
            result=Result.CANNOT,
            expected=expected,
            observed="this network gives no output of its jobs",
        )
    ours: list[tuple[str, str]] = [(line.stream, line.text) for line in seen.lines]
    differences = log_differences(plan.mark, ours)
    if seen.job.log_dropped_bytes:
        differences.append(f"{seen.job.log_dropped_bytes} bytes were dropped")
    others = sum(not text.startswith(plan.mark) for stream, text in ours if stream != "cortex")
    extra = f"; {others} more lines are the network's own" if others else ""
    return _judged("log", expected, differences, f"all {len(wanted)} lines{extra}")


def exit_step(seen: Observed) -> Step:
    """Whether the command's own exit code is told, as its own."""
    job = seen.job
    expected = f"exit code {EXIT_CODE}, told as the command's own"
    right = job.exit_code == EXIT_CODE and job.reason is Reason.EXITED
    reason = job.reason.value if job.reason else "no reason"
    code = "no exit code" if job.exit_code is None else f"exit code {job.exit_code}"
    words = f"{code}, {job.state.value} ({reason})"
    told = "; ".join(filter(None, (words, "" if right else job.message)))
    step = _judged("exit code", expected, [] if right else [told], words)
    todo = "" if job.reason is Reason.EXITED else _what_to_do(job)
    return step.model_copy(update={"todo": todo})


def output_step(seen: Observed, plan: Plan, why_not: str) -> Step:
    """Whether the result file is there, byte for byte."""
    name, size, digest = "output file", len(command_file()), command_digest()
    expected = f"`{FILE}`, {size} bytes, SHA-256 {digest[:16]}…"
    if not plan.outputs:
        return Step(name=name, result=Result.CANNOT, expected=expected, observed=why_not)
    by_path = {output.path: output for output in seen.outputs}
    file = by_path.get(FILE)
    if file is None:
        told = ", ".join(f"`{path}`" for path in list(by_path)[:5]) or "no file at all"
        return _judged(name, expected, [f"it is not there; there is {told}"], "")
    same = (file.size, file.sha256) == (size, digest)
    words = f"{file.size} bytes, SHA-256 {file.sha256[:16]}…"
    return _judged(name, expected, [] if same else [words], "the same bytes")


def stop_step(seen: Observed, plan: Plan) -> Step:
    """Whether a running job ends when it is told to, soon enough."""
    job, limit = seen.job, plan.trial.stop_within
    expected = f"ended and released within {format_duration(limit)} after a cancel"
    if seen.cancelled_at is None or job.finished_at is None:
        why = job.message or (job.reason.value if job.reason else job.state.value)
        return _judged("stop", expected, [f"it ended before it could be cancelled: {why}"], "")
    seconds = (job.finished_at - seen.cancelled_at).total_seconds()
    differences: list[str] = []
    if job.state is not JobState.CANCELLED:
        differences.append(f"it ended as {job.state.value}: {job.message}")
    if seconds > limit.total_seconds():
        differences.append(f"it took {seconds:.0f} s")
    step = _judged("stop", expected, differences, "it ended, and its lease is released")
    return step.model_copy(update={"seconds": round(seconds, 1)})


def bill_step(name: str, seen: Observed, plan: Plan) -> Step:
    """Whether each lease is released and charged once, and not above what was offered."""
    differences: list[str] = []
    charges = [entry for entry in seen.ledger if entry.kind is EntryKind.CHARGE]
    for lease in seen.job.leases:
        booked = [entry for entry in charges if entry.lease_key == lease.key]
        most = _most(lease, plan)
        if lease.released_at is None:
            differences.append(f"lease `{lease.key}` is not released")
        if lease.committed_at and len(booked) != 1:
            differences.append(f"{len(booked)} charges are booked for lease `{lease.key}`")
        for entry in booked:
            if _is_more(entry.amount, most):
                differences.append(f"{entry.amount} are charged, over the {most} that were offered")
    held = {entry.lease_key for entry in seen.ledger if entry.kind is EntryKind.HOLD}
    closed = {entry.lease_key for entry in seen.ledger if entry.kind is EntryKind.RELEASE}
    if held - closed:
        differences.append("money is still held for it")
    share = plan.share()
    if seen.job.cost.amount > share.amount:
        differences.append(f"it has cost {seen.job.cost}, over the {share} that it was given")
    price = seen.job.leases[-1].price_per_hour if seen.job.leases else None
    bound = _most(seen.job.leases[-1], plan) if seen.job.leases else share
    expected = f"final, one charge, at most {bound}"
    billed = ", ".join(str(entry.amount) for entry in charges) or "nothing"
    return _judged(name, expected, differences, f"{billed} charged{_reckoned(seen, price)}")


def _reckoned(seen: Observed, price: Money | None) -> str:
    """What price and time make of it, for comparison."""
    lease = seen.job.leases[-1] if seen.job.leases else None
    if price is None or lease is None or not lease.started_at or not lease.finished_at:
        return ""
    ran = lease.finished_at - lease.started_at
    seconds = Decimal(str(round(ran.total_seconds(), 1)))
    reckoned = (price * (seconds / Decimal(3600))).rounded()
    return f"; it ran {seconds} s, which is {reckoned} at {price} per hour"


def trouble_step(all_seen: Iterable[Observed]) -> Step:
    """Whether anything had to be tried again, or fell through."""
    troubles: list[str] = []
    for seen in all_seen:
        for event in seen.events:
            if _kind(event) in _TROUBLE:
                told = event.data.get("message") or event.data.get("reason") or ""
                troubles.append(f"{_kind(event)} ({seen.run}): {told}".removesuffix(": "))
        if seen.job.attempt > 1:
            troubles.append(f"the job `{seen.run}` took {seen.job.attempt} attempts")
    return _judged("trouble", "one attempt each, nothing tried again", troubles, "none")


def left_step(
    keys: Sequence[str], held: Sequence[HeldLease], findings: Sequence[str], *, asked: str = ""
) -> Step:
    """Whether the network still holds something of this verification.

    Args:
        keys: Its lease keys.
        held: What the network holds now.
        findings: What reconcile says about these leases.
        asked: Why the network could not be asked; empty: it was.
    """
    expected = "the network holds none of these leases, and no charge is open"
    todo = "`cortex reconcile --provider ID` closes what is left; look at the network's own page"
    if asked:
        return Step(
            name="nothing left",
            result=Result.DIFFERENT,
            expected=expected,
            observed=f"it cannot be told: {asked}",
            todo=todo,
        )
    left = [
        f"it still lists `{lease.key}` ({lease.run_state.value if lease.run_state else 'unknown'})"
        for lease in held
        if lease.key in set(keys)
    ]
    left += findings
    step = _judged("nothing left", expected, left, "nothing of it is there")
    return step.model_copy(update={"todo": todo if left else ""})


def remaining(seen: Iterable[Observed], held: Sequence[HeldLease]) -> list[str]:
    """What was still there when it was looked at last, in words."""
    left: list[str] = []
    keys: set[str] = set()
    for run in seen:
        keys |= {lease.key for lease in run.job.leases}
        if not run.job.state.terminal:
            left.append(
                f"job {run.job.id} is {run.job.state.value}; Cortex goes on until it is released "
                f"(`cortex job {run.job.id}`)"
            )
        left += [
            f"lease `{lease.key}` is {lease.state.value}"
            for lease in run.job.leases
            if lease.released_at is None
        ]
    return left + [f"the network lists `{listed.key}`" for listed in held if listed.key in keys]


def _judged(name: str, expected: str, differences: Sequence[str], good: str) -> Step:
    if differences:
        told = "; ".join(differences[:6])
        return Step(name=name, result=Result.DIFFERENT, expected=expected, observed=told)
    return Step(name=name, result=Result.OK, expected=expected, observed=good)


def _ok(name: str, expected: str, observed: str, seconds: float | None) -> Step:
    rounded = None if seconds is None else round(max(seconds, 0.0), 1)
    return Step(name=name, result=Result.OK, expected=expected, observed=observed, seconds=rounded)


def _between(before: EventView | None, after: EventView) -> float | None:
    return (after.time - before.time).total_seconds() if before else None


def _most(lease: LeaseView, plan: Plan) -> Money:
    """What the lease costs if it takes all its time, at its own price."""
    offer = Offer(provider_id=lease.provider_id, price_per_hour=lease.price_per_hour)
    return offer.estimate(plan.duration)


def _is_more(amount: Money, bound: Money) -> bool:
    """In one currency; of two nothing can be said here."""
    return amount.currency == bound.currency and amount.amount > bound.amount


def _kind(event: EventView) -> str:
    return event.type.removeprefix("cortex.")
