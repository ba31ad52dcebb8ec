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
            reader = RunnerLog(ref.key, keep=False, since=place)
            try:
                async for line in self._read(lease, reader, follow):
                    place = place if line.partial else line.cursor
                    yield line
            except LeaseLost:
                if not follow:
                    return
            except Unavailable:
                if not follow:
                    raise
            if not follow or (batch and reader.result is not None):
                return
            await asyncio.sleep(min(self._config.poll, _SOON).total_seconds())

    async def _read(
        self, lease: wire.BidId, reader: RunnerLog, follow: bool
    ) -> AsyncIterator[LogLine]:
        """What one log of the gateway has, up to the runner's last word."""
        async for message in self._gateway.logs(lease, follow=follow):
            for line in reader.feed(message.text):
                yield line
            if reader.result is not None:
                return
            if follow:
                for line in reader.partials():
                    yield line
        for line in reader.partials():
            yield line

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
