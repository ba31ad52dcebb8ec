"""Amounts: what is reckoned is rounded, what is billed is kept to the last digit."""

from datetime import timedelta
from decimal import Decimal

import pytest

from cortex.domain.money import Money, cost_for, seconds_of, usd_rate_of


class TestDigits:
    def test_a_bill_keeps_all_that_a_currency_has(self) -> None:
        bill = Money(amount=Decimal("1.000000000000000001"), currency="GLM")
        assert bill.billed() == bill
        assert str(bill.billed()) == "1.000000000000000001 GLM"

    def test_a_large_bill_too(self) -> None:
        amount = Decimal("123456789012345.123456789012345678")
        assert Money(amount=amount, currency="GLM").billed().amount == amount

    @pytest.mark.parametrize(
        ("amount", "rounded"), [("0.0000000015", "0.000000002"), ("0.0000000014", "0.000000001")]
    )
    def test_a_reckoning_is_rounded(self, amount: str, rounded: str) -> None:
        assert Money(amount=Decimal(amount), currency="USD").rounded().amount == Decimal(rounded)


class TestPriceTimesTime:
    @pytest.mark.parametrize(
        ("time", "cost"),
        [
            (timedelta(hours=1), "3.6"),
            (timedelta(seconds=1), "0.001"),
            (timedelta(microseconds=1), "0.000000001"),
            (Decimal("0.5"), "0.0005"),
            (timedelta(0), "0"),
        ],
    )
    def test_a_time_or_its_seconds(self, time: timedelta | Decimal, cost: str) -> None:
        assert str(cost_for(Money(amount=Decimal("3.6"), currency="AKT"), time)) == f"{cost} AKT"

    def test_it_is_rounded_once(self) -> None:
        third = cost_for(Money(amount=Decimal(1), currency="USD"), timedelta(minutes=20))
        assert str(third) == "0.333333333 USD"

    def test_seconds_are_exact(self) -> None:
        assert seconds_of(timedelta(days=1, microseconds=1)) == Decimal("86400.000001")


class TestRateOfABill:
    def test_usd_needs_none(self) -> None:
        assert usd_rate_of("USD", {}) == 1
        assert usd_rate_of("USD", {"USD": Decimal(2)}) == 1

    def test_else_it_must_be_known(self) -> None:
        assert usd_rate_of("AKT", {"AKT": Decimal("0.4")}) == Decimal("0.4")
        assert usd_rate_of("GLM", {"AKT": Decimal("0.4")}) is None
