"""What a provider charges: Golem's linear model, whatever the order of its counters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

_MODEL = "golem.com.pricing.model"
_COEFFS = "golem.com.pricing.model.linear.coeffs"
_VECTOR = "golem.com.usage.vector"
DURATION = "golem.usage.duration_sec"
CPU = "golem.usage.cpu_sec"
_HOUR = Decimal(3600)


@dataclass(frozen=True)
class Terms:
    """One offer's prices. `vector` is the order in which this provider counts."""

    vector: tuple[str, ...]
    coeffs: tuple[Decimal, ...]
    start: Decimal
    threads: Decimal

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> "Terms | None":
        """The terms of an offer; None where it cannot be reckoned what it would cost."""
        vector = properties.get(_VECTOR)
        coeffs = properties.get(_COEFFS)
        if properties.get(_MODEL) != "linear" or not isinstance(vector, list):
            return None
        if not isinstance(coeffs, list) or len(coeffs) != len(vector) + 1:
            return None
        try:
            numbers = [Decimal(str(value)) for value in coeffs]
            threads = Decimal(str(properties.get("golem.inf.cpu.threads", 1)))
        except InvalidOperation:
            return None
        if any(not value.is_finite() or value < 0 for value in [*numbers, threads]):
            return None
        names = tuple(str(name) for name in vector)
        strange = [
            name
            for name, price in zip(names, numbers[:-1], strict=True)
            if name not in (DURATION, CPU) and price
        ]
        if strange:
            return None
        return cls(names, tuple(numbers[:-1]), numbers[-1], max(threads, Decimal(1)))

    def _price(self, counter: str) -> Decimal:
        pairs = zip(self.vector, self.coeffs, strict=True)
        return sum((price for name, price in pairs if name == counter), Decimal(0))

    @property
    def hourly(self) -> Decimal:
        """The most for one hour: every thread busy all the time."""
        return (self._price(DURATION) + self._price(CPU) * self.threads) * _HOUR

    @property
    def env_hour(self) -> Decimal:
        return self._price(DURATION) * _HOUR

    @property
    def cpu_hour(self) -> Decimal:
        return self._price(CPU) * _HOUR

    def estimate(self, seconds: Decimal) -> Decimal:
        """The most for a run of this length."""
        return self.start + self.hourly / _HOUR * seconds

    def cost(self, usage: Sequence[Decimal]) -> Decimal:
        """What this usage costs, by the provider's own formula."""
        pairs = zip(self.coeffs, usage, strict=False)
        return sum((price * used for price, used in pairs), self.start)

    def counted(self, usage: Sequence[Decimal], counter: str) -> Decimal:
        """One counter of a usage vector; 0 where it is not counted."""
        pairs = zip(self.vector, usage, strict=False)
        return next((used for name, used in pairs if name == counter), Decimal(0))
