"""Ranks offers by strategy: the first is taken, the next ones are the fail-over."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from cortex.domain.offers import Offer
from cortex.domain.spec import JobSpec, Strategy

Key = Callable[[Offer], tuple[Any, ...]]


def rank(offers: Sequence[Offer], strategy: Strategy) -> list[Offer]:
    """The offers, best first. Equal ones stay in the order of their provider's id."""
    return sorted(offers, key=lambda offer: (*_KEYS[strategy](offer), offer.provider_id))


def price_objection(offer: Offer, spec: JobSpec, rates: dict[str, Decimal]) -> str | None:
    """Why the offer is above the spec's `max_price`, or None.

    `rates` gives the USD for one unit of a currency; a currency without one cannot be compared.
    """
    limit = spec.placement.max_price
    if limit is None:
        return None
    price = offer.price_per_hour
    if limit.currency == price.currency:
        over = price.amount > limit.amount
    elif limit.currency == "USD" or limit.currency in rates:
        rate = rates.get(limit.currency, Decimal(1))
        over = offer.usd_per_hour() > limit.amount * rate
    else:
        return f"its price in {price.currency} cannot be compared with {limit.currency}"
    return f"it costs {price} per hour, the limit is {limit}" if over else None


def _by_cost(offer: Offer) -> tuple[Any, ...]:
    return (offer.usd_per_hour(), offer.expected_wait, -offer.availability)


def _by_performance(offer: Offer) -> tuple[Any, ...]:
    return (-offer.performance, offer.expected_wait, offer.usd_per_hour())


def _by_availability(offer: Offer) -> tuple[Any, ...]:
    return (-offer.availability, offer.expected_wait, offer.usd_per_hour())


_KEYS: dict[Strategy, Key] = {
    Strategy.COST: _by_cost,
    Strategy.PERFORMANCE: _by_performance,
    Strategy.AVAILABILITY: _by_availability,
}
