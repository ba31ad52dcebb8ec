"""What the API takes and answers about providers, beside `ProviderView`."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, StrictBool

from cortex.domain.money import Money
from cortex.domain.offers import Capabilities, PriceSheet
from cortex.domain.providers.circuit import CircuitState
from cortex.schemas._view import View

ProviderId = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="Lower-case letters, digits and dashes; your name for this account.",
    ),
]
RateLimit = Annotated[
    float,
    Strict(),
    Field(gt=0, le=10_000, description="Steps per second at most, all workers together."),
]


class ProviderCreate(BaseModel):
    """A new provider. `config` has the fields of its type, secrets in clear."""

    model_config = ConfigDict(extra="forbid")

    id: ProviderId
    type: str = Field(min_length=1, max_length=60)
    config: dict[str, Any] = Field(default_factory=dict)
    enabled: StrictBool = True
    rate_limit: RateLimit | None = None


class ProviderUpdate(BaseModel):
    """What to change. `config` is merged into the present one; null removes a field."""

    model_config = ConfigDict(extra="forbid")

    config: dict[str, Any] | None = None
    rate_limit: RateLimit | None = Field(default=None, description="Null: no limit.")


class ProviderTest(BaseModel):
    """What to try. Nothing: the provider as it is; with `type`, one that is not there yet."""

    model_config = ConfigDict(extra="forbid")

    type: str | None = Field(default=None, max_length=60)
    config: dict[str, Any] = Field(default_factory=dict)


class ProviderTestResult(View):
    """What the network said. Nothing of it is stored."""

    ok: bool
    message: str = ""
    latency_ms: int | None = None
    network_version: str = ""
    balance: Money | None = None
    prices: PriceSheet | None = None


class ProviderTypeView(View):
    """A type that is installed on the workers."""

    name: str
    config_schema: dict[str, Any] = Field(description="JSON Schema of `config`.")
    secret_fields: tuple[str, ...] = ()


class ProviderStatusView(View):
    """One check of a provider."""

    time: datetime
    status: str
    latency_ms: int | None = None
    message: str = ""
    balance: Money | None = None


class ProviderStatusPage(View):
    """Newest first."""

    items: tuple[ProviderStatusView, ...]
    next_cursor: str | None = None


class PriceChange(View):
    """A price sheet, from the time it came into force."""

    time: datetime
    prices: PriceSheet


class ProviderPricing(View):
    current: PriceSheet | None = None
    history: tuple[PriceChange, ...] = Field(default=(), description="Newest first.")


class CircuitView(View):
    """The circuit breaker of a provider; while it is not closed, no new job is placed there."""

    state: CircuitState = CircuitState.CLOSED
    since: datetime | None = None
    probe_at: datetime | None = Field(default=None, description="When it is tried again.")
    failures: int = Field(default=0, description="Failed calls in a row.")
    reason: str = Field(default="", description="What the last of them said.")


class ProviderView(View):
    id: str
    type: str
    enabled: bool
    status: str
    message: str = ""
    capabilities: Capabilities | None = None
    prices: PriceSheet | None = None
    active_leases: int = 0
    updated_at: datetime
    source: Literal["settings", "api"] = Field(
        default="settings", description="Where it comes from: the workers' settings, or this API."
    )
    configured: bool = Field(
        default=True, description="False: it has gone from the settings of the workers."
    )
    version: int = 1
    config: dict[str, Any] = Field(default_factory=dict, description="Without its secrets.")
    secrets: tuple[str, ...] = Field(
        default=(), description="Which secrets are set. They are never shown."
    )
    rate_limit: float | None = Field(default=None, description="Steps per second at most.")
    circuit: CircuitView = CircuitView()
    latency_ms: int | None = None
    network_version: str = ""
    balance: Money | None = None
    checked_at: datetime | None = None
    created_at: datetime | None = None
