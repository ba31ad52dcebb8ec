"""Amounts: what is reckoned is rounded, what is billed is kept to the last digit."""

from decimal import Decimal

import pytest

from cortex.domain.money import Money


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
