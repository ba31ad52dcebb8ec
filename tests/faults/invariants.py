"""What must hold after every run, checked from outside on the database's and the networks' books.

    books = await read_books(database_url, {"akash-sim": url}, ignored=before)
    broken = violations(books, accepted={job_id}, runs={job_id: 1})

Nothing of Cortex is asked: the rules know the schema, the legal transitions and nothing else.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal

from cortex.domain.money import Money
from cortex.domain.states import JOB_TRANSITIONS, TERMINAL_JOB_STATES, JobState
from tests.faults.books import Books, Row

Kind = Literal["leak", "loss", "double_charge"]
_GROUP_ENDS = ("completed", "failed", "cancelled")
_CENT_OF_A_CENT = Decimal("0.0001")


@dataclass(frozen=True)
class Violation:
    """One thing that must not be."""

    kind: Kind
    subject: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}: {self.message}"


@dataclass(frozen=True)
class Expected:
    """What is known from outside about a run."""

    accepted: Collection[str] | None = None
    """All jobs that were accepted, and no others; None: not known."""
    runs: Mapping[str, int] | None = None
    """How often the command of each job (its id) was begun; None: not counted."""
    lost: Collection[str] = ()
    """Lease keys whose network lost the bill, or whose bill was settled by hand."""


def violations(
    books: Books,
    *,
    accepted: Collection[str] | None = None,
    runs: Mapping[str, int] | None = None,
    lost: Collection[str] = (),
) -> list[Violation]:
    """Everything that is wrong, or nothing."""
    expected = Expected(accepted, runs, lost)
    rules: tuple[Callable[[Books, Expected], Iterable[Violation]], ...] = (
        _no_lease_lives,
        _nothing_is_held,
        _every_job_ended,
        _only_accepted_jobs,
        _every_bill_is_booked_once,
        _the_books_add_up,
        _commands_ran_once,
        _history_is_legal,
        _events_are_complete,
    )
    return [violation for rule in rules for violation in rule(books, expected)]


def counts(broken: Iterable[Violation]) -> dict[str, int]:
    """Leaks, losses and double charges, as a row of the report names them."""
    by_kind = Counter(violation.kind for violation in broken)
    return {
        "leaks": by_kind["leak"],
        "losses": by_kind["loss"],
        "double_charges": by_kind["double_charge"],
    }


def _no_lease_lives(books: Books, _: Expected) -> Iterator[Violation]:
    for entry in books.new_entries():
        if entry.alive:
            yield Violation("leak", entry.key or entry.id, f"still alive at {entry.network}")


def _nothing_is_held(books: Books, _: Expected) -> Iterator[Violation]:
    for lease in books.leases:
        if lease["state"] != "released" or lease["released_at"] is None:
            yield Violation("leak", lease["key"], f"the lease is {lease['state']} at the end")
    for key, entries in _by(books.ledger, "lease_key").items():
        kinds = Counter(entry["kind"] for entry in entries)
        if kinds["hold"] and not kinds["release"]:
            yield Violation("leak", key, "its hold is open")
    for reserve in books.reserves:
        yield Violation("leak", reserve["job_id"], f"{reserve['usd']} USD are still reserved")


def _every_job_ended(books: Books, _: Expected) -> Iterator[Violation]:
    for job in books.jobs:
        if not JobState(job["state"]).terminal:
            why = f"the job is {job['state']} at the end: {job['message'][:200]}"
            yield Violation("loss", job["id"], why)
        elif job["finished_at"] is None:
            yield Violation("loss", job["id"], "it has ended, nobody knows when")
    for group in books.groups:
        if group["state"] not in _GROUP_ENDS:
            yield Violation("loss", group["id"], f"the group is {group['state']} at the end")


def _only_accepted_jobs(books: Books, expected: Expected) -> Iterator[Violation]:
    if expected.accepted is None:
        return
    there = {job["id"] for job in books.jobs}
    for job_id in sorted(set(expected.accepted) - there):
        yield Violation("loss", job_id, "it was accepted and is gone")
    for job_id in sorted(there - set(expected.accepted)):
        yield Violation("loss", job_id, "nobody submitted it")


def _every_bill_is_booked_once(books: Books, expected: Expected) -> Iterator[Violation]:
    billed: dict[str, list[Money]] = defaultdict(list)
    for entry in books.new_entries():
        if not entry.final:
            yield Violation("loss", entry.key or entry.id, f"no final bill at {entry.network}")
        if entry.currency:
            billed[entry.key or ""].append(Money(amount=entry.amount, currency=entry.currency))
    known = {lease["key"] for lease in books.leases}
    for key in sorted(set(billed) - known):
        total = _sum(billed[key])
        if total.amount:
            why = f"the network bills {total} for a lease that nobody wrote down"
            yield Violation("double_charge", key or "(no key)", why)
    ledger = _by(books.ledger, "lease_key")
    for lease in books.leases:
        key = lease["key"]
        charges = [entry for entry in ledger.get(key, ()) if entry["kind"] == "charge"]
        bill = _sum(billed[key]) if key in billed else None
        yield from _one_charge(lease, charges, bill, on_network=key not in expected.lost)


def _one_charge(
    lease: Row, charges: list[Row], bill: Money | None, *, on_network: bool
) -> Iterator[Violation]:
    key, committed = lease["key"], lease["committed_at"] is not None
    if len(charges) > 1:
        yield Violation("double_charge", key, f"charged {len(charges)} times")
    if committed and not charges:
        yield Violation("loss", key, "it was committed and never charged")
    if not charges:
        if bill is not None and bill.billed().amount:
            yield Violation("loss", key, f"the network bills {bill} and nothing is charged")
        return
    (charge, *_more) = charges
    if bill is None or not on_network:
        return  # no simulator stands behind this provider, or it has no bill to compare with
    if (charge["currency"], charge["amount"]) != (bill.currency, bill.billed().amount):
        why = f"charged {charge['amount']} {charge['currency']}, the network bills {bill.billed()}"
        yield Violation("double_charge", key, why)


def _the_books_add_up(books: Books, _: Expected) -> Iterator[Violation]:
    for key, entries in _by(books.ledger, "lease_key").items():
        kinds = Counter(entry["kind"] for entry in entries)
        if kinds["release"] > 1:
            yield Violation("double_charge", key, f"its hold was released {kinds['release']} times")
        holds = _total(entries, "hold")
        (currency,) = {entry["currency"] for entry in entries if entry["kind"] == "hold"} or {""}
        spent = sum((e["amount"] for e in entries if _charged_in(e, currency)), Decimal(0))
        if kinds["release"] and _total(entries, "release") != max(holds - spent, Decimal(0)):
            why = f"held {holds}, charged {spent}, released {_total(entries, 'release')}"
            yield Violation("double_charge", key, why)
    ledger = _by(books.ledger, "job_id")
    for job in books.jobs:
        charges = [e for e in ledger.get(job["id"], ()) if e["kind"] == "charge"]
        usd = sum((entry["amount"] * entry["usd_rate"] for entry in charges), Decimal(0))
        # Each charge was rounded on its own when it was added.
        if abs(usd - job["cost"]) > _CENT_OF_A_CENT * max(len(charges), 1):
            why = f"the job costs {job['cost']} USD, its charges come to {usd}"
            yield Violation("double_charge", job["id"], why)
    for lease in books.leases:
        if lease["state"] == "released" and lease["cost"] is None:
            yield Violation("loss", lease["key"], "it was released and never settled")


def _commands_ran_once(books: Books, expected: Expected) -> Iterator[Violation]:
    if expected.runs is None:
        return
    leases = _by(books.leases, "job_id")
    for job_id, times in expected.runs.items():
        # A network without two phases begins at the reservation, and bills what is then given up.
        mine = leases.get(job_id, ())
        live = [lease for lease in mine if lease["committed_at"] or lease["cost"]]
        if times > len(live):
            why = f"its command ran {times} times on {len(live)} committed leases"
            yield Violation("double_charge", job_id, why)


def _history_is_legal(books: Books, _: Expected) -> Iterator[Violation]:
    history = _by(books.history, "job_id")
    for job in books.jobs:
        rows = history.get(job["id"], [])
        states = [JobState(row["state"]) for row in rows]
        if not states or states[0] != JobState.PENDING or states[-1] != job["state"]:
            told = ", ".join(states)
            yield Violation("loss", job["id"], f"the history of a {job['state']} job is: {told}")
        for before, after in pairwise(rows):
            if JobState(after["state"]) not in JOB_TRANSITIONS[JobState(before["state"])]:
                why = f"it went from {before['state']} to {after['state']}"
                yield Violation("loss", job["id"], why)
            if after["created_at"] < before["created_at"]:
                yield Violation("loss", job["id"], f"{after['state']} came before its time")


def _events_are_complete(books: Books, _: Expected) -> Iterator[Violation]:
    events = _by(books.events, "job_id")
    history = _by(books.history, "job_id")
    leases = _by(books.leases, "job_id")
    ledger = _by(books.ledger, "job_id")
    for job in books.jobs:
        rows = events.get(job["id"], [])
        states = [row["state"] for row in history.get(job["id"], [])]
        for why in (
            *_states_told(rows, states),
            *_leases_told(rows, leases.get(job["id"], []), ledger.get(job["id"], [])),
        ):
            yield Violation("loss", job["id"], why)


def _states_told(events: list[Row], states: list[str]) -> Iterator[str]:
    if not events or events[0]["type"] != "job.submitted":
        yield "its first event is not `job.submitted`"
        return
    moves = [row for row in events if row["type"] == "job.state.changed"]
    told = [row["data"]["state"] for row in moves]
    if told != states[1:]:
        yield f"its events tell {', '.join(told)}; its history is {', '.join(states[1:])}"
    if told and JobState(told[-1]) in TERMINAL_JOB_STATES:
        late = [row["type"] for row in events if row["tx"] > moves[-1]["tx"]]
        if late:
            yield f"after its end came {', '.join(late)}"


def _leases_told(events: list[Row], leases: list[Row], ledger: list[Row]) -> Iterator[str]:
    told = Counter((row["type"], row["subject"]) for row in events)
    for lease in leases:
        once = {"lease.intended": True, "lease.active": lease["committed_at"] is not None}
        once["lease.released"] = lease["state"] == "released"
        for kind, wanted in once.items():
            seen = told[kind, lease["key"]]
            if seen != int(wanted):
                yield f"`{kind}` of {lease['key']} was told {seen} times"
    charges = sum(1 for entry in ledger if entry["kind"] == "charge")
    booked = sum(1 for row in events if row["type"] == "charge.booked")
    if charges != booked:
        yield f"{charges} charges, and `charge.booked` was told {booked} times"


def _charged_in(entry: Row, currency: str) -> bool:
    return bool(entry["kind"] == "charge" and entry["currency"] == currency)


def _total(entries: Iterable[Row], kind: str) -> Decimal:
    return sum((entry["amount"] for entry in entries if entry["kind"] == kind), Decimal(0))


def _sum(amounts: list[Money]) -> Money:
    total = Money.zero(amounts[0].currency)
    for amount in amounts:
        total = total + amount
    return total


def _by(rows: Iterable[Row], name: str) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[name]].append(row)
    return dict(groups)
