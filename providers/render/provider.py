"""The render provider: one type, and a driver for the place where frames are really rendered."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.metrics import Sample
from cortex.domain.offers import Capabilities, Offer, PriceSheet, Usage
from cortex.domain.providers.inspection import Trial
from cortex.domain.spec import JobSpec
from providers.base import (
    Committed,
    Found,
    LogLine,
    NetworkStatus,
    Provider,
    ProviderConfig,
    Report,
    Reservation,
    no_report,
)
from providers.render.config import Driver, RenderConfig
from providers.render.dispersed import Dispersed
from providers.render.gateway import Gateway
from providers.render.local import LocalRender

_DRIVERS: dict[Driver, type[Provider[RenderConfig]]] = {
    "dispersed": Dispersed,
    "gateway": Gateway,
    "local": LocalRender,
}


class RenderProvider(Provider[RenderConfig]):
    """Hands every call to the driver that the configuration names."""

    type_name: ClassVar[str] = "render"
    Config: ClassVar[type[ProviderConfig]] = RenderConfig

    def __init__(self, provider_id: str, config: RenderConfig) -> None:
        super().__init__(provider_id, config)
        self._driver: Provider[Any] = _DRIVERS[config.driver](provider_id, config)

    async def initialize(self) -> None:
        self._driver.drop = self.drop
        await self._driver.initialize()

    async def aclose(self) -> None:
        await self._driver.aclose()

    def capabilities(self) -> Capabilities:
        return self._driver.capabilities()

    def trial(self) -> Trial:
        return self._driver.trial()

    async def pricing(self) -> PriceSheet:
        return await self._driver.pricing()

    async def quote(self, spec: JobSpec) -> list[Offer]:
        return await self._driver.quote(spec)

    async def prepare(
        self, spec: JobSpec, key: str, *, offer: Offer | None = None, report: Report = no_report
    ) -> Reservation:
        return await self._driver.prepare(spec, key, offer=offer, report=report)

    async def commit(self, reservation: Reservation) -> Committed:
        return await self._driver.commit(reservation)

    async def find(self, key: str) -> Found | None:
        return await self._driver.find(key)

    async def statuses(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        return await self._driver.statuses(refs)

    async def stop(self, ref: LeaseRef) -> None:
        await self._driver.stop(ref)

    async def cancel(self, ref: LeaseRef) -> None:
        await self._driver.cancel(ref)

    async def forget(self, ref: LeaseRef) -> None:
        await self._driver.forget(ref)

    async def usage(self, ref: LeaseRef) -> Usage:
        return await self._driver.usage(ref)

    async def metrics(self, refs: Sequence[LeaseRef]) -> list[Sample]:
        return await self._driver.metrics(refs)

    def logs(
        self, ref: LeaseRef, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        return self._driver.logs(ref, since=since, follow=follow)

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> list[Path]:
        return await self._driver.outputs(ref, paths, destination)

    async def owned(self) -> list[LeaseRef]:
        return await self._driver.owned()

    async def network_status(self) -> NetworkStatus:
        return await self._driver.network_status()

    async def tend(self, refs: Sequence[LeaseRef]) -> None:
        await self._driver.tend(refs)

    async def wait_for_change(self, timeout: timedelta) -> None:
        await self._driver.wait_for_change(timeout)
