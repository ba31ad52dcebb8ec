"""Logs of jobs: what their containers have printed, with cursors.

The network gives lines without times, of the present container only, and nothing once the lease
has ended.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from cortex.domain.leases import LeaseRef
from providers.akash import wire
from providers.akash.config import AkashConfig
from providers.akash.console import Console
from providers.akash.gateway import Gateway
from providers.akash.snapshots import Run, is_batch
from providers.base import LogLine
from providers.errors import LeaseLost, Unavailable
from providers.runner import RunnerLog

_TAIL = 25
_HEAD = 50
_SOON = timedelta(seconds=2)


class Logs:
    """Reads logs at the providers' gateways."""

    def __init__(self, console: Console, config: AkashConfig, gateway: Gateway) -> None:
        self._console = console
        self._config = config
        self._gateway = gateway

    async def lines(self, ref: LeaseRef, since: str | None, follow: bool) -> AsyncIterator[LogLine]:
        """Lines after the cursor; with `follow`, until the command or the lease has ended."""
        batch = is_batch(ref, self._config.mark)
        place = since
        while True:
            lease = await self._lease(ref)
            if lease is None:
                return
            reader = Reader(ref.key, place)
            try:
                async for message in self._gateway.logs(lease, follow=follow):
                    line = reader.feed(message.text)
                    if line is not None:
                        place = line.cursor
                        yield line
                    if batch and reader.log.result is not None:
                        return
            except LeaseLost:
                if not follow:
                    return
            except Unavailable:
                if not follow:
                    raise
            if not follow:
                return
            await asyncio.sleep(min(self._config.poll, _SOON).total_seconds())

    async def run(self, key: str, lease: wire.BidId, known: Run) -> Run:
        """How the runner does: from the last lines, and once from the first one.

        Raises:
            LeaseLost, Unavailable: nothing can be said now.
        """
        log = RunnerLog(key)
        count = 0
        async for message in self._gateway.logs(lease, tail=_TAIL):
            log.feed(message.text)
            count += 1
        started = known.started_at or log.started_at
        if started is None and count >= _TAIL:
            started = await self._start(key, lease)
        return Run(started, log.result)

    async def _start(self, key: str, lease: wire.BidId) -> datetime | None:
        log = RunnerLog(key)
        count = 0
        async for message in self._gateway.logs(lease):
            log.feed(message.text)
            count += 1
            if log.started_at is not None or count >= _HEAD:
                break
        return log.started_at

    async def _lease(self, ref: LeaseRef) -> wire.BidId | None:
        """The lease whose provider can be asked; None if there is none any more."""
        if not ref.network_id.isdecimal():
            return None
        detail = await self._console.detail(ref.network_id)
        lease = detail.lease if detail is not None and detail.active else None
        return lease.id if lease is not None and lease.live else None


class Reader:
    """A runner's log from its beginning, of which only what follows a cursor is given."""

    def __init__(self, key: str, since: str | None) -> None:
        self.log = RunnerLog(key, keep=False)
        self._limits = _marks(since) or (0, 0, 0)
        self._before = (0, 0, 0)

    def feed(self, raw: str) -> LogLine | None:
        line = self.log.feed(raw)
        if line is None:
            return None
        mark = _marks(line.cursor) or self._before
        before, self._before = self._before, mark
        moved = next((i for i in range(3) if mark[i] != before[i]), 0)
        return line if mark[moved] > self._limits[moved] else None


def _marks(cursor: str | None) -> tuple[int, int, int] | None:
    parts = (cursor or "").split(".")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        return None
    return int(parts[0]), int(parts[1]), int(parts[2])
