"""The rules can fail: books that are in order, and one thing after another made wrong in them."""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cortex.db.engine import Database
from tests.faults.books import Books, Entry, read_books
from tests.faults.invariants import Kind, counts, violations

JOB, KEY = "job_1", "job_1-1"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATES = ("pending", "placing", "deploying", "running", "settling", "completed")


def event(tx: int, kind: str, subject: str = JOB, **data: Any) -> dict[str, Any]:
    return {"tx": tx, "seq": tx, "type": kind, "subject": subject, "job_id": JOB, "data": data}


def entry(kind: str, amount: str) -> dict[str, Any]:
    return {
        "id": kind,
        "job_id": JOB,
        "lease_key": KEY,
        "kind": kind,
        "amount": Decimal(amount),
        "currency": "USD",
        "usd_rate": Decimal(1),
        "note": "",
    }


def good() -> Books:
    """A job that ran once and was billed once."""
    moves = [
        event(number, "job.state.changed", state=state)
        for number, state in enumerate(STATES[1:], start=10)
    ]
    leased = [
        event(2, "lease.intended", KEY),
        event(3, "lease.active", KEY),
        event(4, "charge.booked"),
        event(14, "lease.released", KEY),
    ]
    events = sorted([event(1, "job.submitted"), *moves, *leased], key=lambda row: row["tx"])
    return Books(
        jobs=[
            {
                "id": JOB,
                "state": "completed",
                "message": "",
                "finished_at": NOW,
                "cost": Decimal("0.3"),
            }
        ],
        history=[
            {"job_id": JOB, "state": state, "created_at": NOW + timedelta(seconds=number)}
            for number, state in enumerate(STATES)
        ],
        leases=[
            {
                "key": KEY,
                "job_id": JOB,
                "state": "released",
                "released_at": NOW,
                "committed_at": NOW,
                "cost": Decimal("0.3"),
            }
        ],
        ledger=[entry("hold", "1"), entry("charge", "0.3"), entry("release", "0.7")],
        events=events,
        networks=[Entry("net", "1", KEY, False, Decimal("0.3"), "USD", True)],
    )


def with_rows(books: Books, part: str, rows: list[Any]) -> Books:
    parts: dict[str, Any] = {part: rows}
    return replace(books, **parts)


def changed(part: str, index: int, **values: Any) -> Callable[[Books], Books]:
    def change(books: Books) -> Books:
        rows = copy.deepcopy(list(getattr(books, part)))
        rows[index] |= values
        return with_rows(books, part, rows)

    return change


def dropped(part: str, index: int) -> Callable[[Books], Books]:
    def change(books: Books) -> Books:
        rows = list(getattr(books, part))
        del rows[index]
        return with_rows(books, part, rows)

    return change


def doubled(part: str, index: int, **values: Any) -> Callable[[Books], Books]:
    def change(books: Books) -> Books:
        rows = list(getattr(books, part))
        return with_rows(books, part, [*rows, {**rows[index], **values}])

    return change


def networks(*entries: Entry) -> Callable[[Books], Books]:
    return lambda books: replace(books, networks=[*entries])


BILLED = good().networks[0]
BROKEN: list[tuple[Kind, Callable[[Books], Books]]] = [
    ("leak", networks(replace(BILLED, alive=True))),
    ("leak", networks(BILLED, Entry("net", "2", None, True))),
    ("leak", changed("leases", 0, state="releasing", released_at=None)),
    ("leak", dropped("ledger", 2)),
    ("leak", lambda books: replace(books, reserves=[{"job_id": JOB, "usd": Decimal(1)}])),
    ("loss", changed("jobs", 0, state="settling")),
    ("loss", changed("jobs", 0, finished_at=None)),
    ("loss", lambda books: replace(books, groups=[{"id": "grp_1", "state": "running"}])),
    ("loss", doubled("jobs", 0, id="job_2")),
    ("loss", networks(replace(BILLED, final=False))),
    ("loss", dropped("ledger", 1)),
    ("loss", changed("leases", 0, cost=None)),
    ("loss", dropped("history", 3)),
    ("loss", changed("history", 4, created_at=NOW)),
    ("loss", dropped("events", 0)),
    ("loss", dropped("events", 6)),
    ("loss", doubled("events", 1)),
    ("loss", doubled("events", 0, tx=99, seq=99, type="job.progress")),
    ("double_charge", doubled("ledger", 1)),
    ("double_charge", doubled("ledger", 2)),
    ("double_charge", networks(replace(BILLED, amount=Decimal("0.31")))),
    ("double_charge", networks(BILLED, replace(BILLED, id="2"))),
    ("double_charge", networks(BILLED, replace(BILLED, id="2", key="job_9-1"))),
    ("double_charge", changed("ledger", 2, amount=Decimal("0.5"))),
    ("double_charge", changed("jobs", 0, cost=Decimal("0.6"))),
]


class TestRules:
    def test_books_in_order_have_no_violation(self) -> None:
        assert violations(good(), accepted={JOB}, runs={JOB: 1}) == []

    @pytest.mark.parametrize(("kind", "change"), BROKEN)
    def test_each_is_noticed(self, kind: Kind, change: Callable[[Books], Books]) -> None:
        broken = violations(change(good()), accepted={JOB}, runs={JOB: 1})
        assert kind in {violation.kind for violation in broken}, broken

    def test_job_that_is_gone_and_command_that_ran_twice(self) -> None:
        broken = violations(good(), accepted={JOB, "job_0"}, runs={JOB: 2})
        assert counts(broken) == {"leaks": 0, "losses": 1, "double_charges": 1}

    def test_what_was_there_before_is_another_run(self) -> None:
        books = networks(BILLED, Entry("net", "2", "job_0-1", True))(good())
        assert violations(replace(books, ignored=frozenset({("net", "2")}))) == []

    async def test_the_queries_fit_the_schema(self, database: Database) -> None:
        books = await read_books(database.settings.url.get_secret_value())
        assert violations(books, accepted=(), runs={}) == []
