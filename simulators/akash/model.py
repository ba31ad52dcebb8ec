"""The state of the simulated network, kept in one file of its folder."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from simulators.akash.sdl import Parsed
from simulators.akash.settings import SimProvider


@dataclass(frozen=True)
class Creation:
    """What a creation asks for; what follows the deposit on newer Consoles only."""

    parsed: Parsed
    deposit: Decimal
    name: str | None = None
    limit_hours: int | None = None
    stored: str = ""
    unresolved: str = ""


class SimBid(BaseModel):
    provider: str
    price: Decimal
    state: str = "open"
    at: float
    height: int


class SimLease(BaseModel):
    """One provider's contract for a deployment. `pod` counts restarts of its container."""

    provider: str
    oseq: int
    price: Decimal
    state: str = "active"
    created: int
    made_at: float
    closed_on: int = 0
    reason: str | None = None
    reclaim_at: int | None = None
    delivered_at: float | None = None
    pod: int = 0
    started: bool = False
    down_since: float | None = None
    exits: list[int] = Field(default_factory=list)
    kube: str = Field(default="", description="What is the matter in the cluster: an action's.")

    @property
    def live(self) -> bool:
        return self.state in ("active", "reclaiming")


class SimEscrow(BaseModel):
    state: str = "open"
    funds: Decimal = Decimal(0)
    transferred: Decimal = Decimal(0)
    settled_at: int = 0
    withdrawn_at: float = 0
    funded_at: float = 0


class SimDeployment(BaseModel):
    dseq: str
    state: str = "active"
    group: str
    group_state: str = "open"
    name: str | None = None
    sdl: dict[str, Any]
    stored: str = ""
    manifest: str
    hash: str
    created: int
    made_at: float
    oseq: int = 1
    closed_at: float | None = None
    bids: list[SimBid] = Field(default_factory=list)
    leases: list[SimLease] = Field(default_factory=list)
    escrow: SimEscrow = Field(default_factory=SimEscrow)
    limit_hours: int | None = None

    @property
    def lease(self) -> SimLease | None:
        """The newest lease."""
        return self.leases[-1] if self.leases else None

    @property
    def order_open(self) -> bool:
        """Whether providers may bid."""
        return (
            self.state == "active"
            and self.group_state == "open"
            and not any(lease.live for lease in self.leases)
        )


class SimActivity(BaseModel):
    """Something that the newer Console does in the background."""

    id: str
    dseq: str
    status: str = "pending"
    problem: str = ""
    made_at: float


class Book(BaseModel):
    """Everything."""

    genesis: datetime
    credits: Decimal
    deployments: dict[str, SimDeployment] = Field(default_factory=dict)
    activities: dict[str, SimActivity] = Field(default_factory=dict)
    providers: dict[str, SimProvider] = Field(default_factory=dict)

    def save(self, path: Path) -> None:
        part = path.with_suffix(".part")
        part.write_text(self.model_dump_json())
        part.replace(path)
