"""The pace and the prices of the simulated network, and the credentials that it knows."""

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

PUBLIC_KEY = "pk_simulated_0001"
SECRET_KEY = "sk_simulated_0001"
TOKEN = "gateway-token-simulated"


class SimOffer(BaseModel):
    """Machines that can be had."""

    model_config = ConfigDict(frozen=True)

    offer_id: str
    gpu_name: str
    vram_gb: int
    region_code: str
    hourly: Decimal


_OFFERS = (
    SimOffer(
        offer_id="off-3090",
        gpu_name="RTX 3090",
        vram_gb=24,
        region_code="us-east-1",
        hourly=Decimal("0.31"),
    ),
    SimOffer(
        offer_id="off-4090",
        gpu_name="RTX 4090",
        vram_gb=24,
        region_code="eu-central-1",
        hourly=Decimal("0.35"),
    ),
    SimOffer(
        offer_id="off-5090",
        gpu_name="RTX 5090",
        vram_gb=32,
        region_code="us-west-2",
        hourly=Decimal("0.57"),
    ),
)


class RenderSettings(BaseModel):
    """How the network behaves."""

    model_config = ConfigDict(frozen=True)

    offers: tuple[SimOffer, ...] = _OFFERS
    dearer_every: int = Field(
        default=20,
        ge=0,
        description="Every so-manieth assignment is one to a far dearer node than was quoted, as "
        "the real network makes them: a creation names neither offer nor cap. 0: none is.",
    )
    dearer_hourly: Decimal = Field(
        default=Decimal("4.14"), description="What such a node costs: six GPUs where one is asked."
    )
    price_told: Literal["run", "job", "nowhere"] = Field(
        default="run",
        description="Where the assigned price stands. Not known of the true network: no source "
        "names the field, so it has the form of an offer's.",
    )
    assign_delay: float = Field(default=0.5, description="Seconds until a machine takes a job.")
    start_delay: float = Field(default=0.5, description="Seconds until its container runs.")
    stop_grace: float = Field(default=2.0, description="Seconds from SIGTERM to SIGKILL.")
    ledger_delay: float = Field(default=0.0, description="Seconds until a charge is booked.")
    tick: float = Field(default=0.1, description="Seconds between two looks at the machines.")
    stand_in: bool | None = Field(
        default=None, description="Render patterns; None: only where Blender is not installed."
    )
    obh_per_credit: Decimal = Decimal(200)
    credit_usd: Decimal = Decimal("1.00")
    usd_per_second: Decimal = Field(
        default=Decimal("0.0001"), description="What a second of rendering costs at the gateway."
    )
