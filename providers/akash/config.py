"""The configuration of one account at the Akash Console."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from cortex.domain.quantities import Bytes, Duration
from providers.base import ProviderConfig

_Url = Annotated[str, Field(pattern=r"^https?://[^\s/]+\S*$")]


class RegistryLogin(BaseModel):
    """Credentials for one image registry; they go to the network's provider with the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    server: str = Field(default="docker.io", min_length=1, description="Host, with port if any.")
    username: str = Field(min_length=1)
    password: SecretStr = Field(min_length=6, description="Akash wants six characters or more.")


class AkashConfig(ProviderConfig):
    """One Console account. What the fact sheet calls uncertain can be set here."""

    api_key: SecretStr = Field(description="A key of the Akash Console (`ac.sk. …`).")
    console_url: _Url = "https://console-api.akash.network"
    chain_url: _Url = Field(
        default="https://rpc.akt.dev/rest",
        description="REST address of a node; asked for the certificates of providers only.",
    )
    mark: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,11}$")] = Field(
        default="ctx",
        description="Begins the name of everything made here. Set another one where two "
        "installations of Cortex share an account: each cleans up what carries its mark.",
    )
    features: Literal["auto", "base", "extended"] = Field(
        default="auto",
        description="`extended`: the newer Console (it funds deployments, has names, limits, "
        "seals); `base`: that of 2026-08-22; `auto` asks it, and asks again when it changes.",
    )
    seal_secrets: Literal["auto", "never"] = Field(
        default="auto",
        description="`auto`: secrets are sealed where the Console offers it. `never`: they are in "
        "the SDL, readable at the Console.",
    )
    count_credit: bool = Field(
        default=True,
        description="Make no offer when the account's free credit cannot start a deployment.",
    )
    registries: tuple[RegistryLogin, ...] = ()
    gateway_certificates: Literal["chain", "public"] = Field(
        default="chain",
        description="`chain`: a provider's certificate must be the one on the chain, or be signed "
        "by a public authority. `public`: the latter only.",
    )

    block_seconds: Annotated[Decimal, Field(gt=0, le=60)] = Decimal(6)
    price_headroom: Annotated[Decimal, Field(ge=1, le=100)] = Field(
        default=Decimal("1.5"),
        description="Offers, and with them the cap on bids, are the estimate times this.",
    )
    min_deposit: Annotated[Decimal, Field(gt=0)] = Field(
        default=Decimal("0.5"),
        description="What a deployment takes of the account's credit when it is made, USD. The "
        "newer Console decides it itself; older ones are given at least this.",
    )
    deposit_for: Duration = Field(
        default=timedelta(hours=1),
        description="Older Consoles: how long the first deposit and a top-up last.",
    )
    top_up_below: Duration = Field(
        default=timedelta(minutes=30),
        description="Older Consoles: top up when the escrow lasts less than this.",
    )
    runtime_window: Annotated[Duration, Field(ge=timedelta(hours=1), le=timedelta(hours=48))] = (
        Field(
            default=timedelta(hours=6),
            description="Newer Consoles: a deployment is closed when nothing has been heard of "
            "Cortex for this long, 1 to 48 hours. A Console may be set to only note that.",
        )
    )
    upkeep_every: Duration = timedelta(minutes=2)

    bid_wait: Duration = Field(
        default=timedelta(seconds=45), description="How long bids are collected."
    )
    bid_deadline: Duration = Field(
        default=timedelta(seconds=120), description="How long the first bid is waited for."
    )
    bid_max_age: Duration = timedelta(minutes=4)
    bid_poll: Duration = timedelta(seconds=3)
    poll: Duration = Field(
        default=timedelta(seconds=20), description="Between two looks at a deployment."
    )
    search_window: Duration = Field(
        default=timedelta(minutes=3),
        description="How long a deployment is looked for whose creation was not confirmed.",
    )
    close_wait: Duration = timedelta(seconds=90)
    ready_within: Duration = Field(
        default=timedelta(minutes=7), description="A container that is not up by then is given up."
    )
    dark_after: Duration = Field(
        default=timedelta(minutes=10),
        description="A provider that does not answer for so long, and that the network holds for "
        "offline, is given up.",
    )
    audited_only: bool = True
    avoid_providers: tuple[str, ...] = Field(default=(), description="Addresses, never used.")
    storage_class: Literal["beta1", "beta2", "beta3"] = Field(
        default="beta3", description="Where volumes lie: disk, SSD, NVMe."
    )
    guard_restarts: bool = Field(
        default=True,
        description="Keep, across restarts of a container, that the command has run. Without it "
        "a job that was killed for its memory would run again.",
    )
    guard_storage: Literal["shm", "ram"] = Field(
        default="shm",
        description="Where that is kept: in the memory that the containers of a pod share "
        "(`/dev/shm`), or in storage of `class: ram`, which few providers offer.",
    )
    silence_kept: Duration = Field(
        default=timedelta(minutes=30),
        description="How long it is remembered that nobody has bid for such a job.",
    )
    max_output_bytes: Annotated[Bytes, Field(ge=0)] = 2**30
    token_ttl: Duration = timedelta(minutes=5)

    @field_validator("console_url", "chain_url")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @property
    def blocks_per_hour(self) -> Decimal:
        """Blocks of the chain in one hour."""
        return Decimal(3600) / self.block_seconds
