"""Providers and their health."""

import strawberry

from api.graphql.access import shown
from api.graphql.scalars import Amount, Json, Long, Time
from api.graphql.types.money import Money
from cortex.domain.providers.circuit import CircuitState
from cortex.domain.rights import Action

strawberry.enum(CircuitState)


@shown(Action.PROVIDERS_READ)
@strawberry.type(description="Prices, in one currency.")
class PriceSheet:
    currency: str
    cpu_hour: Amount
    memory_gib_hour: Amount
    storage_gib_hour: Amount
    gpu_hour: Amount
    usd_rate: Amount
    rate_as_of: Time | None
    as_of: Time | None


@shown(Action.PROVIDERS_READ)
@strawberry.type(description="While it is not closed, no new job is placed there.")
class Circuit:
    state: CircuitState
    since: Time | None
    probe_at: Time | None
    failures: int
    reason: str


@shown(Action.PROVIDERS_READ)
@strawberry.type(description="One connection to a network, and how it is.")
class Provider:
    id: strawberry.ID
    type: str
    enabled: bool
    status: str
    message: str
    capabilities: Json | None
    prices: PriceSheet | None
    active_leases: int
    updated_at: Time
    source: str
    configured: bool
    version: int
    config: Json = strawberry.field(description="Without its secrets.")
    secrets: list[str] = strawberry.field(description="Which are set. They are never shown.")
    rate_limit: float | None
    circuit: Circuit
    latency_ms: Long | None
    network_version: str
    balance: Money | None
    checked_at: Time | None
    created_at: Time | None
