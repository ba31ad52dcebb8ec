"""What the simulated daemon and its providers know."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

LIVE = ("Approved", "Pending")


def new_id() -> str:
    """An id as the daemon makes them: 64 hex digits for what the market knows."""
    return secrets.token_hex(32)


def short_id() -> str:
    return secrets.token_hex(16)


def stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


@dataclass
class Node:
    """A provider on the market."""

    id: str
    name: str
    offer_id: str
    properties: dict[str, Any]
    online: bool = True
    rejects: str = ""
    silent: bool = False
    """Takes an agreement and never answers."""

    @property
    def coeffs(self) -> list[Decimal]:
        return [Decimal(str(v)) for v in self.properties["golem.com.pricing.model.linear.coeffs"]]

    @property
    def vector(self) -> list[str]:
        return list(self.properties["golem.com.usage.vector"])


@dataclass
class Demand:
    """A demand of ours, with what has come to it."""

    id: str
    properties: dict[str, Any]
    constraints: str
    timestamp: datetime
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Proposal:
    """One step of a negotiation, ours or a provider's."""

    id: str
    demand_id: str
    node: Node
    state: str
    ours: bool
    properties: dict[str, Any]
    constraints: str
    timestamp: datetime
    previous: str | None = None
    countered: bool = False
    agreed: bool = False
    answers: dict[str, Any] = field(default_factory=dict)
    """Our counter-proposal that this draft answers: its properties and constraints."""


@dataclass
class Agreement:
    id: str
    node: Node
    demand: dict[str, Any]
    offer: dict[str, Any]
    state: str
    valid_to: datetime
    timestamp: datetime
    approved: datetime | None = None
    session: str | None = None
    ended: dict[str, Any] | None = None
    rejection: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Batch:
    script: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False


@dataclass
class Activity:
    id: str
    agreement: Agreement
    created: datetime
    state: str = "New"
    pending: str | None = None
    reason: str | None = None
    ended: datetime | None = None
    alive: bool = True
    """Whether its exe-unit answers."""
    batches: dict[str, Batch] = field(default_factory=dict)

    def usage(self, now: datetime) -> dict[str, Decimal]:
        """Seconds up, and seconds of a busy core: a tenth of them."""
        seconds = Decimal(str(round(((self.ended or now) - self.created).total_seconds(), 2)))
        seconds = max(seconds, Decimal(0))
        return {"golem.usage.duration_sec": seconds, "golem.usage.cpu_sec": seconds / 10}

    def vector(self, now: datetime) -> list[Decimal]:
        used = self.usage(now)
        return [used[name] for name in self.agreement.node.vector]

    def cost(self, now: datetime) -> Decimal:
        coeffs = self.agreement.node.coeffs
        pairs = zip(coeffs, self.vector(now), strict=False)
        return sum((price * used for price, used in pairs), coeffs[-1])


@dataclass
class Allocation:
    id: str
    platform: str
    total: Decimal
    timestamp: datetime
    timeout: datetime | None
    spent: Decimal = Decimal(0)


@dataclass
class Bill:
    """A debit note or an invoice."""

    id: str
    agreement: Agreement
    amount: Decimal
    timestamp: datetime
    activities: list[str]
    status: str = "RECEIVED"
    due: datetime | None = None
    usage: list[Decimal] = field(default_factory=list)
    previous: str | None = None
