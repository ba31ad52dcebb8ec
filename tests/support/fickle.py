"""A provider type for tests: runs nothing, has secrets, and fails as it is told.

All instances of one `account` share a switch, as all clients of one network meet its outage.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator

import providers.registry
from cortex.domain.money import Money
from cortex.domain.offers import Capabilities, Offer, PriceSheet
from cortex.domain.spec import JobSpec
from providers.base import NetworkStatus, ProviderConfig
from providers.errors import AuthenticationFailed, Unavailable
from providers.null import NullConfig, NullProvider

GOOD_KEY = "right-key-4711"


@dataclass
class Switch:
    """How one network does now."""

    down: str = ""
    latency: timedelta = timedelta(milliseconds=5)
    cpu_hour: Decimal = Decimal("0.02")
    asked: int = 0
    quotes: int = 0
    opened: int = 0
    closed: int = 0
    keys: list[str] = field(default_factory=list)


class Registry(BaseModel):
    server: str
    password: SecretStr


class FickleConfig(NullConfig):
    """Of a test."""

    account: str = "main"
    scenes_only: bool = False
    region: str = Field(default="eu", pattern="^[a-z]{2}$")
    api_key: SecretStr = Field(description="Any will do but a wrong one.")
    registries: tuple[Registry, ...] = ()

    @field_validator("api_key")
    @classmethod
    def _long(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < 6:
            raise ValueError(f"`{value.get_secret_value()}` is too short")  # as careless ones do
        return value


class FickleProvider(NullProvider):
    type_name: ClassVar[str] = "fickle"
    Config: ClassVar[type[ProviderConfig]] = FickleConfig
    switches: ClassVar[dict[str, Switch]] = {}

    def __init__(self, provider_id: str, config: Any) -> None:
        super().__init__(provider_id, config)
        self.switch = self.switches.setdefault(config.account, Switch())

    async def initialize(self) -> None:
        self.switch.opened += 1
        key: str = self.config.api_key.get_secret_value()  # type: ignore[attr-defined]
        self.switch.keys.append(key)
        self._check()
        if key.startswith("wrong"):
            raise AuthenticationFailed(f"the key {key} is not known")  # as careless ones do

    async def aclose(self) -> None:
        self.switch.closed += 1

    def capabilities(self) -> Capabilities:
        if self.config.scenes_only:  # type: ignore[attr-defined]
            return Capabilities(images=False, processes=False, render=True)
        return super().capabilities()

    async def pricing(self) -> PriceSheet:
        self._check()
        return PriceSheet(cpu_hour=self.switch.cpu_hour)

    async def quote(self, spec: JobSpec) -> list[Offer]:
        self.switch.quotes += 1
        self._check()
        return await super().quote(spec)

    async def network_status(self) -> NetworkStatus:
        self.switch.asked += 1
        return NetworkStatus(
            reachable=not self.switch.down,
            message=self.switch.down,
            latency=self.switch.latency,
            version="1.2",
            balance=Money.model_validate("7.50 USD"),
        )

    def _check(self) -> None:
        if self.switch.down:
            raise Unavailable(self.switch.down)


@pytest.fixture(scope="module")
def fickle_installed() -> Iterator[None]:
    """The type is there, in this process."""
    point = EntryPoint("fickle", f"{__name__}:FickleProvider", providers.registry.GROUP)

    def with_fickle(*, group: str, name: str | None = None) -> EntryPoints:
        points = EntryPoints([*entry_points(group=group), point])
        return points if name is None else points.select(name=name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(providers.registry, "entry_points", with_fickle)
        yield


@pytest.fixture
def fickle(fickle_installed: None) -> type[FickleProvider]:
    """The type, its switches as at the beginning."""
    FickleProvider.switches.clear()
    return FickleProvider
