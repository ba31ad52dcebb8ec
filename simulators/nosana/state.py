"""What the simulated network knows: deployments, their runs, markets, credits. Kept in a folder."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

Status = Literal[
    "DRAFT",
    "STARTING",
    "RUNNING",
    "STOPPING",
    "STOPPED",
    "ERROR",
    "INSUFFICIENT_FUNDS",
    "ARCHIVED",
]
RunState = Literal["QUEUED", "RUNNING", "COMPLETED", "STOPPED"]
Stage = Literal["start", "pull", "container"]
"""How far a node is with a run: nothing begun, the image pulled, a container made."""
COSTLY: tuple[Status, ...] = ("STARTING", "RUNNING", "STOPPING", "INSUFFICIENT_FUNDS")
"""In these a job may still be posted, which costs."""
NOBODY = "1" * 32
"""How the chain writes "no node"."""

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_KEY = re.compile(r"job_[0-9a-z]{26}-\d+")
_DIGITS = Decimal("0.000000001")
_SECONDS_PER_HOUR = 3600


class Market(BaseModel):
    """A kind of node with a price. `busy` of its `nodes` run something."""

    address: str
    slug: str
    name: str
    type: Literal["PREMIUM", "COMMUNITY", "OTHER"]
    usd_reward_per_hour: Decimal
    network_fee_percentage: int
    gpu_types: list[str]
    lowest_vram: int
    nodes: int

    def hourly(self) -> Decimal:
        """What a client pays: the node's reward and the network's fee on top."""
        return self.usd_reward_per_hour * (100 + self.network_fee_percentage) / 100


class Run(BaseModel):
    """One job on the chain."""

    id: str
    deployment: str
    market: str
    state: RunState = "QUEUED"
    hourly: Decimal
    node: str = NOBODY
    listed_at: datetime
    time_start: int = 0
    time_end: int = 0
    has_result: bool = False
    fate: str = ""
    stage: Stage = "container"
    heard: int | None = None
    """How many lines the node had read when it ended the container: it reads none after that."""

    @property
    def final(self) -> bool:
        return self.state in ("COMPLETED", "STOPPED")

    def cost(self, now: int) -> Decimal:
        """What it costs, by whole seconds."""
        if not self.time_start:
            return Decimal(0)
        seconds = max(0, (self.time_end or now) - self.time_start)
        amount = self.hourly * seconds / _SECONDS_PER_HOUR
        return amount.quantize(_DIGITS, rounding=ROUND_HALF_UP)


class Deployment(BaseModel):
    """What an account has asked for."""

    id: str
    name: str
    market: str
    status: Status = "DRAFT"
    timeout: int | float
    strategy: str
    confidential: bool = True
    replicas: int | float = 1
    definition: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None = None
    """When its job is posted, or that is tried again; None: no job waits for it."""
    deleted: bool = False

    @property
    def key(self) -> str:
        """The lease key inside its name, for the control routes."""
        match = _KEY.search(self.name)
        return match[0] if match else self.name


class Books(BaseModel):
    """All of it, as it is written down."""

    deployments: dict[str, Deployment] = {}
    runs: dict[str, Run] = {}
    assigned: Decimal = Decimal(100)
    offline: bool = False
    held_at: Stage | None = None
    """Where every node stops and waits, if any."""

    def of(self, deployment_id: str) -> list[Run]:
        """The runs of a deployment, oldest first."""
        runs = [run for run in self.runs.values() if run.deployment == deployment_id]
        return sorted(runs, key=lambda run: run.listed_at)

    def live(self) -> Iterable[Deployment]:
        """Deployments that an account can still see."""
        return (deployment for deployment in self.deployments.values() if not deployment.deleted)

    def settled(self, now: int) -> Decimal:
        return sum((run.cost(now) for run in self.runs.values() if run.final), Decimal(0))

    def reserved(self) -> Decimal:
        """What active runs may cost until their time limit."""
        minutes = {deployment.id: deployment.timeout for deployment in self.deployments.values()}
        return sum(
            (
                run.hourly * Decimal(minutes[run.deployment]) / 60
                for run in self.runs.values()
                if not run.final
            ),
            Decimal(0),
        )

    def available(self, now: int) -> Decimal:
        return self.assigned - self.reserved() - self.settled(now)


class Store:
    """Writes the books and the results of runs into a folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "books.json"
        self._results = folder / "results"
        self._results.mkdir(parents=True, exist_ok=True)
        self._counter = itertools.count(1)

    def load(self) -> Books:
        if not self._file.exists():
            return Books()
        return Books.model_validate_json(self._file.read_text())

    def save(self, books: Books) -> None:
        new = self._file.with_suffix(".new")
        new.touch(mode=0o600)  # job definitions hold secrets
        new.write_text(books.model_dump_json())
        new.replace(self._file)

    def put_result(self, run_id: str, result: dict[str, Any]) -> None:
        path = self._results / f"{run_id}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(result))

    def result(self, run_id: str) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((self._results / f"{run_id}.json").read_text())
        return result


def moment(time: datetime) -> str:
    """As the service writes times: UTC, in milliseconds."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"


def address(*seed: object) -> str:
    """Something that looks like a public key, the same for the same seed."""
    number = int.from_bytes(hashlib.sha256(repr(seed).encode()).digest())
    letters: list[str] = []
    while number:
        number, digit = divmod(number, 58)
        letters.append(_BASE58[digit])
    return "".join(letters)[:44]


def standard_markets() -> list[Market]:
    """The markets of the simulated network: prices and models as the real one has them."""
    table: list[tuple[str, Literal["PREMIUM", "COMMUNITY"], str, int, list[str], int, int]] = [
        ("nvidia-3060", "COMMUNITY", "0.064", 10, ["NVIDIA GeForce RTX 3060"], 12, 24),
        ("nvidia-4090", "PREMIUM", "0.32", 10, ["NVIDIA GeForce RTX 4090"], 24, 8),
        ("nvidia-a100-80", "PREMIUM", "1.2", 10, ["NVIDIA A100 80GB"], 80, 2),
    ]
    return [
        Market(
            address=address("market", slug),
            slug=slug,
            name=slug.replace("-", " ").title(),
            type=kind,
            usd_reward_per_hour=Decimal(price),
            network_fee_percentage=fee,
            gpu_types=gpus,
            lowest_vram=vram,
            nodes=nodes,
        )
        for slug, kind, price, fee, gpus, vram, nodes in table
    ]
