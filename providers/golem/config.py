"""The configuration of one yagna daemon and of what is bought through it."""

import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import Field, SecretStr, field_validator, model_validator

from cortex.domain.quantities import Bytes, Duration
from providers.base import ProviderConfig

_WORD = re.compile(r"[A-Za-z0-9._!:/-]{1,64}")
_PACKAGE = re.compile(r"hash:sha3:[0-9a-f]{56}:https?://\S+")
Glm = Annotated[Decimal, Field(gt=0)]


class GolemConfig(ProviderConfig):
    """One daemon, one of its identities (an app-key belongs to one), one payment platform."""

    url: str = Field(default="http://127.0.0.1:7465", description="REST address of the daemon.")
    app_key: SecretStr
    payment_platform: str = Field(
        default="erc20-polygon-glm", description="Such as `erc20-hoodi-tglm` for tests."
    )
    subnet: str = "public"
    runtime: str = Field(default="vm", description="Golem runtime; GPU jobs use `gpu_runtime`.")
    gpu_runtime: str = "vm-nvidia"
    gpu_models: tuple[str, ...] = Field(default=(), description="Asked for by these names.")
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")] = Field(
        default="default", description="Tells apart two installations of Cortex at one daemon."
    )

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3,10}$")] = "GLM"
    usd_rate: Annotated[Decimal, Field(gt=0)] | None = Field(
        default=None, description="USD for one GLM, where `rate_url` gives none."
    )
    usd_rate_date: date | None = Field(default=None, description="The day of `usd_rate`.")
    rate_url: str = Field(default="", description="Answers JSON with the price of GLM in USD.")
    rate_field: str = Field(default="golem.usd", description="Dotted path of the price in it.")
    stats_url: str = Field(
        default="https://api.stats.golem.network",
        description="Prices of the network where our own scan sees no offers; empty: not asked.",
    )
    price_cache: Duration = timedelta(minutes=5)
    scan_for: Duration = Field(default=timedelta(seconds=4), description="Length of one scan.")

    max_glm: Glm = Field(default=Decimal(50), description="The most that one lease may cost.")
    headroom: Annotated[Decimal, Field(ge=1, le=2)] = Field(
        default=Decimal("1.05"), description="Allocation over the estimate of the whole duration."
    )
    overcharge: Annotated[Decimal, Field(ge=0, le=1)] = Field(
        default=Decimal("0.02"), description="How far a bill may be above our own reckoning."
    )

    negotiation_timeout: Duration = timedelta(seconds=60)
    negotiate_with: Annotated[int, Field(ge=1, le=20)] = Field(
        default=4, description="How many providers are negotiated with at once for one job."
    )
    collect_for: Duration = Field(
        default=timedelta(seconds=5), description="How long to compare proposals after the first."
    )
    approval_timeout: Duration = timedelta(seconds=60)
    activity_timeout: Duration = timedelta(seconds=60)
    deploy_timeout: Duration = timedelta(minutes=10)
    invoice_wait: Duration = Field(
        default=timedelta(seconds=60), description="How long one `cancel` waits for the invoice."
    )
    invoice_deadline: Duration = Field(
        default=timedelta(minutes=10),
        description="After this long without an invoice, what was accepted is the bill.",
    )
    poll_interval: Duration = timedelta(seconds=15)
    log_poll: Duration = Field(
        default=timedelta(seconds=10),
        description="How often a log is read while nobody looks at it.",
    )

    images: dict[str, str] = Field(
        default_factory=dict,
        description="Image reference to `hash:sha3:<hash>:<url>` or to a tag of the registry.",
    )
    registry_url: str = Field(
        default="https://registry.golem.network", description="Golem's registry; empty: not asked."
    )
    gvmkit_build: str = Field(default="", description="Path of `gvmkit-build`; empty: none.")
    push_to: str = Field(
        default="", description="`user/repository` for converted images in Golem's registry."
    )
    registry_token: SecretStr = SecretStr("")
    image_cache: str = Field(default="", description="Folder; empty: below the user's cache.")

    work_dir: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]+$")] = Field(
        default="/golem/work", description="A `VOLUME` of the images; jobs run in it."
    )
    declare_volume: bool = Field(
        default=False, description="Ask the runtime for the volume instead of the image."
    )
    max_output_bytes: Annotated[Bytes, Field(ge=0)] = Field(
        default=2**30, description="Most of a job's files that is copied at all."
    )
    max_inline_bytes: Annotated[Bytes, Field(ge=0)] = Field(
        default=64 * 2**20,
        description="Most of it that is read piece by piece where there is no drop box.",
    )
    max_log_bytes: Annotated[Bytes, Field(ge=65536)] = 32 * 2**20

    @field_validator("url", "stats_url", "rate_url", "registry_url")
    @classmethod
    def _http(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://\S+", value):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @field_validator("payment_platform", "subnet", "runtime", "gpu_runtime")
    @classmethod
    def _word(cls, value: str) -> str:
        # The daemon takes a constraint that it cannot read, and then matches nothing for ever.
        if not _WORD.fullmatch(value):
            raise ValueError("must be 1 to 64 letters, digits or `._!:/-`")
        return value

    @field_validator("gpu_models")
    @classmethod
    def _models(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9 ._-]{1,64}", name):
                raise ValueError(f"`{name[:60]}` must be letters, digits, blanks or `._-`")
        return tuple(name.lower() for name in value)

    @field_validator("app_key")
    @classmethod
    def _not_empty(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().strip():
            raise ValueError("must not be empty; `yagna app-key list` shows yours")
        return value

    @field_validator("images")
    @classmethod
    def _packages(cls, value: dict[str, str]) -> dict[str, str]:
        for image, package in value.items():
            if package.startswith("hash:") and not _PACKAGE.fullmatch(package):
                raise ValueError(f"`{image[:60]}` must be `hash:sha3:<56 hex digits>:<url>`")
        return value

    @model_validator(mode="after")
    def _has_a_rate(self) -> "GolemConfig":
        if self.usd_rate is None and not self.rate_url:
            raise ValueError(
                "needs `usd_rate` (with `usd_rate_date`) or `rate_url`: without the price of GLM "
                "its offers cannot be compared with others"
            )
        return self
