"""Providers in the database as a worker would have written them."""

from cortex.db.engine import Transaction
from cortex.db.providers.repository import Observation
from cortex.domain.offers import Capabilities, PriceSheet
from cortex.domain.providers.health import HealthRules


async def known_provider(
    tx: Transaction,
    provider_id: str,
    type_name: str,
    *,
    capabilities: Capabilities | None = None,
    prices: PriceSheet | None = None,
) -> None:
    """One of the settings that a worker opened just now and found good."""
    await tx.providers.declare(provider_id, type_name)
    observation = Observation("good", capabilities=capabilities, prices=prices)
    await tx.providers.observe(provider_id, observation, HealthRules(), first=True)
