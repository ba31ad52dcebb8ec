"""What the Console answers, as far as it is used. Unknown fields are ignored.

Timestamps called `created_at`, `closed_on` and `settled_at` are heights of blocks, as text.
"""

from datetime import datetime
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from providers.errors import Unavailable


class Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Coin(Wire):
    denom: str
    amount: Decimal


class BidId(Wire):
    """Also the id of the lease that a bid becomes."""

    owner: str = ""
    dseq: str
    gseq: int
    oseq: int
    provider: str


class Bid(Wire):
    id: BidId
    state: str
    price: Coin
    created_at: str = "0"


class BidItem(Wire):
    bid: Bid


class ServiceStatus(Wire):
    name: str = ""
    available: int = 0
    total: int = 0
    ready_replicas: int | None = None
    uris: list[str] | None = None

    @property
    def ready(self) -> bool:
        """It has all that it should have. Of a service with volumes `available` counts replicas
        that are there, whether they are ready or not.
        """
        up = self.available if self.ready_replicas is None else self.ready_replicas
        return up >= self.total > 0


class ForwardedPort(Wire):
    port: int
    external_port: int = Field(alias="externalPort")
    host: str = ""


class LeaseStatus(Wire):
    """What the provider says of a lease."""

    services: dict[str, ServiceStatus] | None = None
    forwarded_ports: dict[str, list[ForwardedPort]] | None = None

    @property
    def ready(self) -> bool:
        """Every service has all that it should have."""
        services = list((self.services or {}).values())
        return bool(services) and all(service.ready for service in services)


class Reclamation(Wire):
    deadline: int | None = None


class Lease(Wire):
    id: BidId
    state: str
    price: Coin
    created_at: str
    closed_on: str = "0"
    reason: str | None = None
    status: LeaseStatus | None = None
    reclamation: Reclamation | None = None

    @property
    def live(self) -> bool:
        """It costs money. An active one may carry a reason of nought: the state counts."""
        return self.state in ("active", "reclaiming")


class DeploymentId(Wire):
    owner: str
    dseq: str


class Deployment(Wire):
    id: DeploymentId
    state: str
    hash: str = ""
    created_at: str = "0"


class Deposit(Wire):
    balance: Coin


class EscrowState(Wire):
    state: str
    transferred: list[Coin] = []
    settled_at: str = "0"
    funds: list[Coin] = []
    deposits: list[Deposit] = []


class Escrow(Wire):
    state: EscrowState


class GroupSpec(Wire):
    name: str


class Group(Wire):
    state: str = ""
    group_spec: GroupSpec


class Detail(Wire):
    """One deployment with its leases and its escrow. `name` and `groups` are not always told."""

    deployment: Deployment
    leases: list[Lease] = []
    escrow_account: Escrow
    name: str | None = None
    groups: list[Group] | None = None

    @property
    def dseq(self) -> str:
        return self.deployment.id.dseq

    @property
    def active(self) -> bool:
        return self.deployment.state == "active"

    @property
    def lease(self) -> Lease | None:
        """The lease that counts: a live one, else the newest."""
        if not self.leases:
            return None
        return max(self.leases, key=lambda lease: (lease.live, int(lease.created_at or 0)))


class Pagination(Wire):
    total: int | None = None
    has_more: bool = Field(default=False, alias="hasMore")


class DeploymentList(Wire):
    deployments: list[Detail]
    pagination: Pagination = Pagination()


class Created(Wire):
    dseq: str
    manifest: str = Field(repr=False)


class Me(Wire):
    id: str


class Wallet(Wire):
    address: str | None = None
    denom: str = "uact"
    is_trialing: bool = Field(default=False, alias="isTrialing")


class Balances(Wire):
    """The account's credits, in millionths of a dollar."""

    balance: Decimal
    deployments: Decimal = Decimal(0)

    @property
    def free(self) -> Decimal:
        """What can be spent, USD."""
        return self.balance / 1_000_000

    @property
    def locked(self) -> Decimal:
        """What is in the escrows of deployments, USD; what they do not use comes back."""
        return self.deployments / 1_000_000


class Closing(Wire):
    """The answer to a close: an activity where it is done in the background."""

    activity_id: str | None = Field(default=None, alias="activityId")


class ActivityError(Wire):
    message: str = ""


class ActivityMeta(Wire):
    error: ActivityError | None = None


class Activity(Wire):
    """Something that the newer Console does in the background."""

    status: str
    meta: ActivityMeta | None = None

    @property
    def failed(self) -> str:
        """Why it failed; empty where it has not."""
        if self.status != "failed":
            return ""
        error = self.meta.error if self.meta is not None else None
        return (error.message if error is not None else "") or "the Console does not say why"


class Jwk(Wire):
    kty: str
    n: str
    e: str


class SealContext(Wire):
    """What secrets are sealed with for the newer Console."""

    sub: str
    kid: str
    jwk: Jwk
    required_claims: list[str] = Field(default=[], alias="requiredClaims")


class Block(Wire):
    height: int
    datetime: datetime


class ProviderInfo(Wire):
    """A provider of the network: somebody's machines."""

    owner: str
    host_uri: str = Field(alias="hostUri")
    name: str | None = None
    is_online: bool = Field(default=False, alias="isOnline")
    is_audited: bool = Field(default=False, alias="isAudited")
    uptime7d: Decimal | None = None
    location_region: str | None = Field(default=None, alias="locationRegion")
    ip_country: str | None = Field(default=None, alias="ipCountry")
    akash_version: str = Field(default="", alias="akashVersion")

    @property
    def label(self) -> str:
        """How to name it to a user."""
        return self.name or self.host_uri.split("//")[-1].split(":")[0] or self.owner


class GpuPrice(Wire):
    currency: str = "USD"
    med: Decimal
    weighted_average: Decimal = Field(alias="weightedAverage")
    max: Decimal


class GpuAvailability(Wire):
    total: int = 0
    available: int = 0


class GpuModel(Wire):
    vendor: str
    model: str
    ram: str = ""
    availability: GpuAvailability = GpuAvailability()
    price: GpuPrice | None = None


class GpuPrices(Wire):
    models: list[GpuModel] = []


class Region(Wire):
    providers: list[str] = []
    key: str
    description: str = ""
    value: str | None = None


class PublicOther(Wire):
    groups: list[Group] = []


class PublicDetail(Wire):
    """What anybody may read of a deployment."""

    owner: str
    dseq: str
    status: str = ""
    other: PublicOther


class PublicItem(Wire):
    dseq: str
    status: str = ""


class PublicList(Wire):
    count: int = 0
    results: list[PublicItem] = []


class Screened(Wire):
    owner: str
    is_audited: bool = Field(default=False, alias="isAudited")
    location: str | None = None


class Screening(Wire):
    providers: list[Screened] = []


class Settings(Wire):
    """`runtimeLimitHours` is there only where the Console has runtime limits."""

    runtime_limit_hours: int | None = Field(default=None, alias="runtimeLimitHours")
    runtime_ends_at: datetime | None = Field(default=None, alias="runtimeEndsAt")


def damaged(error: ValidationError) -> Unavailable:
    """An answer that is none: which fields are wrong, never what stands in them."""
    where = ", ".join(
        ".".join(map(str, problem["loc"])) or "the whole" for problem in error.errors()[:3]
    )
    return Unavailable(f"the Akash Console answers in a way that is not known ({where})")
