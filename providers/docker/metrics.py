"""What running containers take of the machine, as the engine reads it from their control groups.

Neither engine tells the most memory that was used: Docker does not on cgroup v2, and what Podman
names so is the limit.
"""

import asyncio
from collections.abc import Sequence

from cortex.domain.leases import LeaseRef
from cortex.domain.metrics import Sample
from providers.docker.containers import Containers
from providers.docker.wire import Stats
from providers.errors import Unavailable

_AT_ONCE = 4
_NANO = 1_000_000_000


class Metrics:
    """Asks for each container by itself, a few at once: Docker has no call for many."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def of(self, refs: Sequence[LeaseRef], *, network: bool) -> list[Sample]:
        """Of those that run.

        Args:
            refs: The leases.
            network: Whether what the engine says about networks can be relied on.

        Raises:
            Unavailable: the engine answers for none of them.
        """
        told = await asyncio.gather(
            *(self._one(ref, network=network) for ref in refs), return_exceptions=True
        )
        samples = [each for each in told if isinstance(each, Sample)]
        for error in told:
            if isinstance(error, BaseException) and not (
                samples and isinstance(error, Unavailable)
            ):
                raise error
        return samples

    async def _one(self, ref: LeaseRef, *, network: bool) -> Sample | None:
        async with self._at_once:
            stats = await self._containers.stats(ref.network_id)
        return None if stats is None else sample(ref.key, stats, network=network)


def sample(key: str, stats: Stats, *, network: bool) -> Sample | None:
    """None if the container has ended: nothing that runs has used no time and no memory."""
    used = stats.cpu_stats.cpu_usage.total_usage
    if not used and not stats.memory_stats.usage:
        return None
    links = (stats.networks or {}).values() if network else ()
    return Sample(
        key=key,
        cpu_seconds=used / _NANO,
        memory=stats.memory_stats.used,
        network_received=sum(link.rx_bytes for link in links) if links else None,
        network_sent=sum(link.tx_bytes for link in links) if links else None,
        disk_read=stats.blkio_stats.sum("read"),
        disk_written=stats.blkio_stats.sum("write"),
    )
