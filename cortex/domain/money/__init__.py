"""Amounts of money: a Decimal and a currency, never a float."""

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, field_serializer, field_validator, model_validator

USD = "USD"
_HOUR = Decimal(3600)
_MICROSECOND = timedelta(microseconds=1)
# Of what we reckon ourselves: prices for a duration, holds.
QUANTUM = Decimal("0.000000001")
# Of what a network bills: NUMERIC(38, 18), as fine as any of their currencies.
_FINEST = Decimal("1e-18")
_WIDE = Context(prec=60, rounding=ROUND_HALF_UP)
_TEXT = re.compile(r"(?P<amount>[-+]?[0-9]+(?:\.[0-9]+)?)\s*(?P<currency>[A-Za-z]{3,10})")
# A longer fraction than this is no amount, and one such as 1e-999999999 would be printed in full.
_MOST_PLACES = 100
_CURRENCY = "[A-Za-z]{3,10}"
_WHOLE = "[0-9]{1,15}"
_PLACES = f"(\\.[0-9]{{1,{_MOST_PLACES}}})?"
_COUNTED = rf"([1-9][0-9]{{0,14}}{_PLACES}|0\.[0-9]{{0,8}}[1-9][0-9]{{0,89}})"
_POSITIVE = rf"([1-9][0-9]{{0,14}}{_PLACES}|0\.[0-9]{{0,17}}[1-9][0-9]{{0,80}})"


def _schema(amount: str, **number: Any) -> dict[str, Any]:
    """An object with amount and currency, or both in one text."""
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "amount": {
                        "anyOf": [
                            {"type": "string", "pattern": f"^{amount}$"},
                            {"type": "number", "exclusiveMaximum": 10**15, **number},
                        ]
                    },
                    "currency": {"type": "string", "pattern": f"^{_CURRENCY}$"},
                },
                "required": ["amount", "currency"],
                "additionalProperties": False,
            },
            {"type": "string", "pattern": f"^{amount} *{_CURRENCY}$"},
        ],
        "examples": ["0.50 USD"],
    }


ANY = _schema(f"[-+]?{_WHOLE}{_PLACES}", exclusiveMinimum=-(10**15))
NOT_NEGATIVE = _schema(f"\\+?{_WHOLE}{_PLACES}", anyOf=[{"const": 0}, {"minimum": 1e-18}])
POSITIVE = _schema(rf"\+?{_POSITIVE}", minimum=1e-9)
COUNTED = _schema(rf"\+?{_COUNTED}", minimum=1e-9)
"""JSON Schemas of what is taken as money; `COUNTED` is at least the `QUANTUM`."""


class CurrencyMismatch(ValueError):
    """Two amounts of different currencies met without a rate."""


class Money(BaseModel):
    """An amount in one currency.

    Accepts `{"amount": "0.50", "currency": "USD"}` or the text `"0.50 USD"`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount: Decimal
    currency: str

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, bool | int | float | Decimal):
            raise ValueError(f"has no currency; write it as `{value} USD`")
        if not isinstance(value, str):
            return value
        match = _TEXT.fullmatch(value.strip())
        if match is None:
            raise ValueError("must be an amount with its currency, such as `0.50 USD`")
        return {"amount": match["amount"], "currency": match["currency"]}

    @field_validator("amount", mode="before")
    @classmethod
    def _exact(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("must be a number, or its digits as text")
        if isinstance(value, float):
            return str(value)
        if isinstance(value, str) and "_" in value:
            raise ValueError("must be a number without `_`")
        return value

    @field_validator("amount")
    @classmethod
    def _finite(cls, value: Decimal) -> Decimal:
        if not value.is_finite() or abs(value) >= Decimal(10) ** 15:
            raise ValueError("must be a finite amount below 10^15")
        return printable(value)

    @field_validator("currency")
    @classmethod
    def _code(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z]{3,10}", value):
            raise ValueError("must be a currency code such as `USD`")
        return value.upper()

    @field_serializer("amount")
    def _plain(self, value: Decimal) -> str:
        return format_amount(value)

    @classmethod
    def zero(cls, currency: str = "USD") -> Self:
        return cls(amount=Decimal(0), currency=currency)

    def billed(self) -> "Money":
        """The amount of a network's bill as the ledger books it: to the last digit."""
        amount = self.amount.quantize(_FINEST, context=_WIDE)
        return Money(amount=amount, currency=self.currency)

    def in_usd(self, rate: Decimal) -> Decimal:
        """USD at this rate, with as many digits as are kept."""
        return (self.amount * rate).quantize(_FINEST, context=_WIDE)

    def rounded(self) -> "Money":
        """The amount as we reckon it ourselves, in holds and estimates."""
        try:
            amount = self.amount.quantize(QUANTUM, rounding=ROUND_HALF_UP)
        except InvalidOperation:
            raise ValueError(f"{self.amount} is too large to book") from None
        return Money(amount=amount, currency=self.currency)

    def __add__(self, other: "Money") -> "Money":
        return Money(amount=self.amount + self._same(other), currency=self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(amount=self.amount - self._same(other), currency=self.currency)

    def __mul__(self, factor: Decimal | int) -> "Money":
        return Money(amount=self.amount * factor, currency=self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.amount < self._same(other)

    def __le__(self, other: "Money") -> bool:
        return self.amount <= self._same(other)

    def __gt__(self, other: "Money") -> bool:
        return self.amount > self._same(other)

    def __ge__(self, other: "Money") -> bool:
        return self.amount >= self._same(other)

    def __str__(self) -> str:
        return f"{format_amount(self.amount)} {self.currency}"

    def _same(self, other: "Money") -> Decimal:
        if other.currency != self.currency:
            raise CurrencyMismatch(
                f"cannot compare {self.currency} with {other.currency} without a rate"
            )
        return other.amount


def seconds_of(time: timedelta) -> Decimal:
    """The seconds of a time, exact."""
    return Decimal(time // _MICROSECOND) / 1_000_000


def cost_for(hourly: Money, time: timedelta | Decimal) -> Money:
    """What a time, or that many seconds, costs at a price per hour; rounded as we reckon it."""
    seconds = seconds_of(time) if isinstance(time, timedelta) else time
    return (hourly * (seconds / _HOUR)).rounded()


def usd_rate_of(currency: str, rates: Mapping[str, Decimal]) -> Decimal | None:
    """USD for one unit of a bill's currency; None if `rates` does not have it."""
    return Decimal(1) if currency == USD else rates.get(currency)


def printable(value: Decimal) -> Decimal:
    """The number, if it can be written in plain digits.

    Raises:
        ValueError: it has too many places.
    """
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -_MOST_PLACES:
        raise ValueError(f"must have at most {_MOST_PLACES} decimal places")
    return value


def format_amount(amount: Decimal) -> str:
    """Plain digits, no exponent, no needless zeros: `0.0042`, `12`, `0`."""
    text = f"{amount:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if text not in {"", "-0"} else "0"
