"""What the API takes and answers about providers, beside `ProviderView`."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict, StrictBool

from cortex.domain.money import Money
from cortex.domain.offers import PriceSheet

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


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


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


class ProviderTestResult(_View):
    """What the network said. Nothing of it is stored."""

    ok: bool
    message: str = ""
    latency_ms: int | None = None
    network_version: str = ""
    balance: Money | None = None
    prices: PriceSheet | None = None


class ProviderTypeView(_View):
    """A type that is installed on the workers."""

    name: str
    config_schema: dict[str, Any] = Field(description="JSON Schema of `config`.")
    secret_fields: tuple[str, ...] = ()


class ProviderStatusView(_View):
    """One check of a provider."""

    time: datetime
    status: str
    latency_ms: int | None = None
    message: str = ""
    balance: Money | None = None


class ProviderStatusPage(_View):
    """Newest first."""

    items: tuple[ProviderStatusView, ...]
    next_cursor: str | None = None


class PriceChange(_View):
    """A price sheet, from the time it came into force."""

    time: datetime
    prices: PriceSheet


class ProviderPricing(_View):
    current: PriceSheet | None = None
    history: tuple[PriceChange, ...] = Field(default=(), description="Newest first.")
