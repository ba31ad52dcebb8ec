"""What a lease must have cost, where its network does not tell."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cortex.domain.leases import Lease
from cortex.domain.money import Money
from cortex.domain.offers import Offer
from cortex.domain.states import LeaseState

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOURLY = Money(amount=Decimal(6), currency="AKT")


@pytest.mark.parametrize(
    ("times", "cost"),
    [
        ({}, "0"),
        ({"committed_at": -30}, "3"),
        ({"committed_at": -30, "started_at": -20}, "2"),
        ({"committed_at": -30, "started_at": -20, "finished_at": -10}, "1"),
        ({"committed_at": -30, "finished_at": -40}, "0"),
        ({"committed_at": 5}, "0"),
    ],
)
def test_price_times_time(times: dict[str, int], cost: str) -> None:
    at: dict[str, Any] = {name: NOW + timedelta(minutes=value) for name, value in times.items()}
    lease = Lease(
        key="job-1",
        job_id="job",
        attempt=1,
        provider_id="p",
        state=LeaseState.ACTIVE,
        offer=Offer(provider_id="p", price_per_hour=HOURLY, usd_rate=Decimal("0.4")),
        created_at=NOW,
        **at,
    )
    assert str(lease.reckoned(NOW)) == f"{cost} AKT"
