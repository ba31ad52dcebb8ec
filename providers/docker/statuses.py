"""The states of many leases in one call, plus one for each that has just changed."""

import asyncio
from collections.abc import Sequence

from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.states import RunState
from providers.docker import snapshots
from providers.docker.collect import Collector
from providers.docker.config import DockerConfig
from providers.docker.containers import Containers
from providers.docker.marks import End, Marks

_AT_ONCE = 8
_RUNNING = "running"
_ENDED = ("exited", "stopped")


class Statuses:
    """Remembers what cannot change any more; only to save calls, never to know something."""

    def __init__(
        self,
        containers: Containers,
        marks: Marks,
        collector: Collector,
        config: DockerConfig,
        label: str,
    ) -> None:
        self._containers = containers
        self._marks = marks
        self._collector = collector
        self._config = config
        self._label = label
        self._known: dict[str, LeaseSnapshot] = {}
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def of(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        """Snapshots, in the order of the refs."""
        listed = await self._containers.listed(self._label)
        states = {box.id: box.state for box in listed}
        self._known = {key: value for key, value in self._known.items() if key in states}
        waiting = any(states.get(ref.network_id, "") not in (_RUNNING, *_ENDED) for ref in refs)
        ends = await self._marks.ends() if waiting else {}
        return list(
            await asyncio.gather(
                *(self._one(ref, states.get(ref.network_id), ends.get(ref.key)) for ref in refs)
            )
        )

    def forget(self, container_id: str) -> None:
        self._known.pop(container_id, None)

    async def _one(self, ref: LeaseRef, listed: str | None, end: End | None) -> LeaseSnapshot:
        known = self._known.get(ref.network_id)
        if known is not None and listed is not None and _still(known, listed):
            return known
        async with self._at_once:
            # Also for one that is not in the list: only a direct answer proves that it is gone.
            box = await self._containers.inspect(ref.network_id)
            if box is None:
                return snapshots.lost(ref.key)
            if end is None and snapshots.needs_end(box):
                end = await self._marks.end(ref.key)
            line = await self._collector.first_line(box.id) if snapshots.needs_log(box) else ""
        snapshot = snapshots.snapshot(ref.key, box, end, self._config, line)
        if snapshot.state is RunState.RUNNING or box.state.status == "exited":
            self._known[ref.network_id] = snapshot
        return snapshot


def _still(known: LeaseSnapshot, listed: str) -> bool:
    """Whether the list says nothing new about it."""
    if known.state is RunState.RUNNING:
        return listed == _RUNNING
    return listed in _ENDED
