"""How the simulated network is set up: its pace, its features, who is in it."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field

API_KEY = "ac.sk.simulated." + "5" * 64
OWNER = "akash1qqqsimulatedaccountqqqqqqqqqqqqqqqqqqq"

_Seconds = Annotated[float, Field(ge=0)]


class SimProvider(BaseModel):
    """Somebody with machines."""

    address: str
    name: str
    region: str
    price_factor: Decimal = Decimal(1)
    uptime: Decimal = Decimal("0.99")
    audited: bool = True
    gpus: dict[str, int] = Field(default_factory=dict)
    cpu_milli: int = 128_000
    memory: int = 512 * 2**30
    online: bool = True
    ram_storage: bool = Field(default=False, description="Offers `class: ram`, which is opt-in.")
    bids: bool = Field(default=True, description="Without it, it is listed and never bids.")
    gateway_port: int = Field(default=0, description="Kept over restarts where it can be.")
    clock_skew: float = 0.0


def usual_providers() -> list[SimProvider]:
    return [
        SimProvider(
            address="akash1providereuropeqqqqqqqqqqqqqqqqqqqqqqqq",
            name="provider.europe.example.org",
            region="eu-west",
            gpus={"a100": 8, "rtx4090": 4},
        ),
        SimProvider(
            address="akash1provideramericaqqqqqqqqqqqqqqqqqqqqqqq",
            name="provider.america.example.org",
            region="us-east",
            price_factor=Decimal("1.15"),
            uptime=Decimal("0.999"),
            gpus={"h100": 8, "a100": 2},
        ),
        SimProvider(
            address="akash1providerasiaqqqqqqqqqqqqqqqqqqqqqqqqqq",
            name="provider.asia.example.org",
            region="as-east",
            price_factor=Decimal("0.9"),
            uptime=Decimal("0.6"),
            ram_storage=True,
        ),
    ]


class AkashSettings(BaseModel):
    """Times are seconds. Blocks, bids and starts come sooner than on the real network, for people
    who try it out; how long it waits before it gives something up is as there.
    """

    extended: bool = Field(
        default=True,
        description="The newer Console: it funds deployments itself, has names, search, runtime "
        "limits, sealed secrets, closes in the background. Without it, that of 2026-08-22.",
    )
    block_seconds: Annotated[float, Field(gt=0)] = 0.5
    bid_delay: _Seconds = 0.5
    bid_spread: _Seconds = 0.2
    ready_delay: _Seconds = 0.5
    restart_delay: _Seconds = 10.0
    index_lag: _Seconds = 0.0
    manifest_timeout: _Seconds = 300.0
    unstable_after: _Seconds = 480.0
    bids_kept: _Seconds = 300.0
    withdraw_every: _Seconds = 600.0
    ping_every: Annotated[float, Field(gt=0)] = 10.0
    credits: Decimal = Decimal(100)
    min_deposit: Decimal = Field(
        default=Decimal("0.5"), description="The newer Console gives each deployment so much."
    )
    runway_hours: Decimal = Field(
        default=Decimal(48), description="How far ahead the newer Console funds a lease."
    )
    look_ahead_hours: Decimal = Field(
        default=Decimal(24), description="It adds to what lasts less than this."
    )
    fund_every: _Seconds = 3600.0
    headroom: Decimal = Field(
        default=Decimal(5), description="Credit that funding leaves alone while there is more."
    )
    trial: bool = Field(default=False, description="The account is on a free trial.")
    not_on_trial: list[str] = ["a100", "h100", "rtx4090"]
    seals: bool = Field(default=True, description="The newer Console can seal secrets now.")
    closes_in_background: bool = True
    close_delay: _Seconds = Field(default=0.1, description="Until a background close is done.")
    tick: _Seconds = 0.1
    providers: list[SimProvider] = Field(default_factory=usual_providers)
    gpu_hour: dict[str, Decimal] = Field(
        default_factory=lambda: {
            "a100": Decimal("1.1"),
            "h100": Decimal("2.4"),
            "rtx4090": Decimal("0.4"),
        }
    )
