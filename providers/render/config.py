"""What can be configured about a render provider: a driver, and what that driver needs."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from cortex.domain.rendering import Engine
from cortex.settings import Bytes, Duration
from providers.base import ComputePrices, ProviderConfig

DISPERSED_URL = "https://api.dispersed.com"
Driver = Literal["dispersed", "gateway", "local"]


class RenderConfig(ProviderConfig):
    driver: Driver = Field(
        default="dispersed",
        description="`dispersed`: the network's container API. `gateway`: a render API at `url`. "
        "`local`: Blender on this machine.",
    )
    url: str | None = Field(
        default=None,
        description="Of the API. `dispersed` has a default; `gateway` is off without one.",
    )
    timeout: Duration = Field(default=timedelta(seconds=30), description="Of one call.")
    scene_limit: Bytes = Field(default=4 * 2**30, ge=1, description="Largest scene file.")

    # dispersed
    public_key: str | None = Field(default=None, description="`pk_…`, made in the console.")
    secret_key: SecretStr | None = Field(default=None, description="`sk_…`, made with it.")
    runner_image: str | None = Field(
        default=None,
        description="Image that runs the command in its variable CORTEX_COMMAND; "
        "none: every job's own image must do so. See docs/providers/render.md.",
    )
    images: dict[str, str] = Field(
        default_factory=dict,
        description="For an image that jobs name: one of the same content that is a runner image.",
    )
    blender_image: str | None = Field(
        default=None, description="The same with Blender in it; none: no render jobs."
    )
    assign_within: Duration = Field(
        default=timedelta(minutes=10), description="A job that no machine has taken by then fails."
    )
    poll_interval: Duration = Field(default=timedelta(seconds=15), gt=timedelta(0))
    region_codes: tuple[str, ...] = Field(
        default=(), description="Regions that offers are asked in; empty: all."
    )

    # gateway
    token: SecretStr | None = Field(default=None, description="Bearer token of the gateway.")
    tier: str = Field(default="economy", description="Tier that jobs are rendered in.")
    obh_per_frame: Decimal = Field(
        default=Decimal("0.05"), gt=0, description="Guess of a frame's size, in OctaneBench hours."
    )

    # local
    state_dir: Path | None = Field(
        default=None, description="Folder of the leases; default: in Cortex's data folder."
    )
    python: Path | None = Field(
        default=None, description="Python that has `bpy`; default: the one that Cortex runs in."
    )
    engines: tuple[Engine, ...] = Field(
        default=("cycles",), description="What Blender can use here; others need OpenGL."
    )
    scene_folders: tuple[Path, ...] = Field(
        default=(), description="Where scenes may lie on this machine; empty: anywhere."
    )
    private_scene_urls: bool = Field(
        default=False, description="Scenes may be fetched from private and loopback addresses."
    )
    isolation: Literal["auto", "bubblewrap", "none"] = "auto"
    network: Literal["host", "none"] = "host"
    prices: ComputePrices = Field(default_factory=ComputePrices)
    max_jobs: int = Field(default=4, ge=1, description="Render jobs at once.")
    stop_grace: Duration = Field(default=timedelta(seconds=5))

    @field_validator("url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with `https://` or `http://`")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.driver == "dispersed" and not (self.public_key and self.secret_key):
            raise ValueError(
                "needs `public_key` and `secret_key` for the driver `dispersed`; "
                "for the others set `driver`"
            )
        if self.driver == "gateway" and not (self.url and self.token):
            raise ValueError("needs `url` and `token` for the driver `gateway`")
        return self
