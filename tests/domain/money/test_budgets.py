"""Periods and their borders, what a budget covers, what it refuses."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from cortex.domain.money import Money
from cortex.domain.money.budgets import (
    Budget,
    BudgetAction,
    BudgetPeriod,
    BudgetScope,
    BudgetState,
    Burden,
    Covered,
    Spending,
    first_refusal,
    period_of,
    to_stop,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def budget(scope: str = "system", value: str | None = None, **fields: object) -> Budget:
    given = {
        "id": "bud_1",
        "name": "team",
        "scope": BudgetScope(scope),
        "scope_value": value,
        "period": BudgetPeriod.MONTH,
        "action": BudgetAction.STOP,
        "amount": Money.model_validate("10 USD"),
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Budget.model_validate({**given, **fields})


def state(spent: str, **fields: object) -> BudgetState:
    spending = Spending(charged=Decimal(spent))
    stored = budget(**fields)  # type: ignore[arg-type]
    return BudgetState(budget=stored, period=period_of(stored.period, NOW), spending=spending)


class TestPeriods:
    @pytest.mark.parametrize(
        ("kind", "now", "start", "end"),
        [
            ("day", "2026-11-24T00:00:00+00:00", "2026-11-24", "2026-11-25"),
            ("day", "2026-11-24T23:59:59.999999+00:00", "2026-11-24", "2026-11-25"),
            # Still the day before, in UTC.
            ("day", "2026-11-25T00:30:00+01:00", "2026-11-24", "2026-11-25"),
            ("week", "2026-11-23T00:00:00+00:00", "2026-11-23", "2026-11-30"),
            ("week", "2026-11-29T23:59:59+00:00", "2026-11-23", "2026-11-30"),
            # ISO week 53 of 2026 reaches into 2027.
            ("week", "2027-01-03T12:00:00+00:00", "2026-12-28", "2027-01-04"),
            ("month", "2026-12-31T23:59:59+00:00", "2026-12-01", "2027-01-01"),
            ("month", "2027-01-01T00:00:00+00:00", "2027-01-01", "2027-02-01"),
            ("month", "2028-02-29T12:00:00+00:00", "2028-02-01", "2028-03-01"),
        ],
    )
    def test_borders(self, kind: str, now: str, start: str, end: str) -> None:
        period = period_of(BudgetPeriod(kind), datetime.fromisoformat(now))
        assert period.start == datetime.fromisoformat(start).replace(tzinfo=UTC)
        assert period.end == datetime.fromisoformat(end).replace(tzinfo=UTC)

    def test_without_one_it_is_all_of_time(self) -> None:
        ever = period_of(None, NOW)
        assert ever == period_of(None, NOW + timedelta(days=4000))
        assert ever.start < NOW < ever.end

    def test_each_moment_is_in_one_period(self) -> None:
        moment = datetime(2026, 12, 20, 7, tzinfo=timezone(timedelta(hours=5)))
        for kind in BudgetPeriod:
            for hours in range(0, 24 * 40, 7):
                now = moment + timedelta(hours=hours)
                period = period_of(kind, now)
                assert period.start <= now < period.end
                assert period_of(kind, period.end).start == period.end
                assert period_of(kind, period.end - timedelta(microseconds=1)) == period


class TestCovers:
    @pytest.mark.parametrize(
        ("scope", "value", "covered"),
        [
            ("system", None, True),
            ("user", "alice", True),
            ("user", "bob", False),
            ("project", "vision", True),
            ("project", "alice", False),
            ("label", "team=ml", True),
            ("label", "team=m", False),
            ("label", "query=a=b", True),
            ("label", "other=", False),
            ("key", "key_1", True),
            ("key", "key_2", False),
        ],
    )
    def test_by_owner_project_labels_and_key(
        self, scope: str, value: str | None, covered: bool
    ) -> None:
        labels = {"team": "ml", "query": "a=b"}
        job = Covered("alice", "vision", labels, "key_1")
        assert budget(scope, value).covers(job) is covered

    def test_nothing_that_came_without_a_key(self) -> None:
        assert not budget("key", "key_1").covers(Covered("alice", "vision", {}))


OF_B = Covered("b", "b", {})


class TestRefusal:
    def test_to_the_last_digit(self) -> None:
        now = state("9.999999999999999999")
        assert now.refusal(Decimal("0.000000000000000001")) is None
        assert now.refusal(Decimal("0.000000000000000002")) is not None

    def test_names_budget_rest_and_wish_in_its_own_currency(self) -> None:
        budget = state("15", amount=Money.model_validate("40 AKT"), usd_rate=Decimal("0.5"))
        why = budget.refusal(Decimal(6))
        assert why == (
            "budget `team` (40 AKT per month for all jobs) has 10 AKT left until "
            "2026-12-01 00:00 UTC, and 12 AKT is asked for"
        )

    def test_what_sets_nothing_aside_is_never_refused(self) -> None:
        assert state("11").refusal(Decimal(0)) is None
        assert state("11").refusal(Decimal(-1)) is None

    def test_a_batch_counts_against_those_that_cover_it(self) -> None:
        states = [state("8"), state("9", scope="label", value="team=ml")]
        fits = [(Covered("a", "a", {"team": "ml"}), Decimal(1)), (OF_B, Decimal(1))]
        assert first_refusal(states, fits) is None
        too_much = [*fits, (OF_B, Decimal("0.1"))]
        assert "10 USD per month for all jobs" in str(first_refusal(states, too_much))
        labelled = [(Covered("a", "a", {"team": "ml"}), Decimal("1.1"))]
        assert "jobs with team=ml" in str(first_refusal(states, labelled))


class TestThresholds:
    @pytest.mark.parametrize(
        ("spent", "marks"),
        [("4.99", []), ("5", [50]), ("7.99", [50]), ("8", [50, 80]), ("10", [50, 80, 100])],
    )
    def test_reached(self, spent: str, marks: list[int]) -> None:
        assert state(spent).reached() == marks


def burdens(*given: tuple[str, str] | tuple[str, str, str]) -> list[Burden]:
    """`(id, frees)`, with `ending` or `costs` as a third."""
    return [
        Burden(
            job_id=burden[0],
            frees=Decimal(burden[1]),
            ending="ending" in burden[2:],
            costs="costs" in burden[2:],
        )
        for burden in given
    ]


class TestStop:
    @pytest.mark.parametrize(
        ("over", "given", "stopped"),
        [
            ("10", [("new", "1"), ("old", "1")], []),
            ("10.5", [("new", "1"), ("old", "1")], ["new"]),
            ("11", [("new", "1"), ("old", "1")], ["new"]),
            ("11.1", [("new", "1"), ("old", "1")], ["new", "old"]),
            # What ends already frees its part: nobody else is stopped for it.
            ("11", [("new", "1"), ("old", "1", "ending")], []),
            ("11.5", [("new", "1"), ("old", "1", "ending")], ["new"]),
            # Jobs for which nothing is set aside and that cost nothing help nobody.
            ("11", [("free", "0"), ("old", "1")], ["old"]),
            # One that has cost more than its hold goes on to cost.
            ("11", [("beyond", "0", "costs"), ("old", "1")], ["beyond", "old"]),
            ("99", [("new", "1"), ("old", "1")], ["new", "old"]),
        ],
    )
    def test_no_more_than_needed_in_order(
        self, over: str, given: list[tuple[str, str]], stopped: list[str]
    ) -> None:
        assert to_stop(state(over), burdens(*given)) == stopped
