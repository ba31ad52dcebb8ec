"""One network, which outlives the workers, and a fleet that knows no other."""

from pathlib import Path
from typing import Any

from activities.runtime.fleet import Fleet
from cortex.domain.leases import LeaseRef
from cortex.domain.offers import Capabilities
from providers.base import Committed, Reservation
from providers.null import NullProvider
from providers.registry import AnyProvider


class OneFleet(Fleet):
    """A fleet of this one provider, open."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    @property
    def ids(self) -> tuple[str, ...]:
        return (self._provider.id,)

    def get(self, provider_id: str) -> AnyProvider:
        assert provider_id == self._provider.id
        provider: AnyProvider = self._provider
        return provider

    async def for_placement(self, provider_id: str) -> AnyProvider:
        return self.get(provider_id)


class Network(NullProvider):
    """A network that outlives the workers and counts the starts of commands.

    It has result files until the lease is cancelled, as most networks do.
    """

    starts: dict[str, int]
    gone: set[str]

    async def commit(self, reservation: Reservation) -> Committed:
        before = await self.find(reservation.ref.key)
        done = await super().commit(reservation)
        self.starts = getattr(self, "starts", {})
        if before is None or not before.committed:
            key = reservation.ref.key
            self.starts[key] = self.starts.get(key, 0) + 1
        return done

    async def outputs(self, ref: LeaseRef, paths: Any, destination: Path) -> list[Path]:
        at_network = await self.find(ref.key)
        if at_network is None or not at_network.committed or ref.key in getattr(self, "gone", ()):
            return []
        (destination / "result").write_text(ref.key)
        return [Path("result")]

    def capabilities(self) -> Capabilities:
        return super().capabilities().model_copy(update={"keeps_results": False})

    async def cancel(self, ref: LeaseRef) -> None:
        await super().cancel(ref)
        self.gone = {*getattr(self, "gone", ()), ref.key}

    async def end(self, ref: LeaseRef) -> None:
        """End the command (143); what it wrote is still there."""
        await super().cancel(ref)

    async def lose(self, key: str) -> None:
        """Forget a lease that runs, as a network does that fails."""
        self._leases.pop(key, None)
        self._forgotten[key] = None

    async def exits(self, key: str, code: int) -> None:
        """The command of a lease that runs ends by itself."""
        lease = self._leases.get(key)
        if lease is not None and "started_at" in lease.ref.data and lease.cancelled_at is None:
            over = {"run_seconds": "0", "exit_code": str(code)}
            lease.ref = lease.ref.model_copy(update={"data": {**lease.ref.data, **over}})
