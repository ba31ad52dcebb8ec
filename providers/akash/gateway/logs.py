"""Logs of jobs: what their containers have printed, with cursors.

The network gives lines without times, of the present container only, and nothing once the lease
has ended.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from cortex.domain.leases import LeaseRef
from providers.akash.config import AkashConfig
from providers.akash.console import wire
from providers.akash.console.client import Console
from providers.akash.deployment.snapshots import Run, is_batch
from providers.akash.gateway.client import Gateway
from providers.base import LogLine
from providers.errors import LeaseLost, Unavailable
from providers.runner import RunnerLog

_TAIL = 25
_HEAD = 50
_SOON = timedelta(seconds=2)
_TRIES = 2
_LOST = "[cortex: some output was lost here: the provider does not show it]"
_FRAMED = re.compile(r"[oe][0-9]+[ +]|c ")
_SOME_TIME = datetime(1970, 1, 1, tzinfo=UTC)  # the start is not asked for


class Logs:
    """Reads logs at the providers' gateways."""

    def __init__(self, console: Console, config: AkashConfig, gateway: Gateway) -> None:
        self._console = console
        self._config = config
        self._gateway = gateway

    async def lines(self, ref: LeaseRef, since: str | None, follow: bool) -> AsyncIterator[LogLine]:
        """Lines after the cursor; with `follow`, until the command or the lease has ended.

        A log that broke off looks like one that is over: only the runner's mark tells. Where that
        has not come it is read again, and at last what the log's end alone still shows is given.
        """
        batch = is_batch(ref, self._config.mark)
        place, idle = since, 0
        while True:
            lease = await self._lease(ref)
            if lease is None:
                return
            reader, before = RunnerLog(ref.key, keep=False, since=place), place
            try:
                async for line in self._read(lease, reader, follow):
                    place = place if line.partial else line.cursor
                    yield line
                if reader.result is not None or not (batch or follow):
                    return
                over = batch and await self._over(ref.key, lease)
                if not (over or follow):
                    return  # it runs on
                idle = idle + 1 if over and place == before else 0
                if idle >= _TRIES:
                    async for line in self._last(lease, reader, place):
                        yield line
                    return
            except LeaseLost:
                if not follow:
                    return
            except Unavailable:
                if not follow:
                    raise
            await asyncio.sleep(min(self._config.poll, _SOON).total_seconds())

    async def _read(
        self, lease: wire.BidId, reader: RunnerLog, follow: bool
    ) -> AsyncIterator[LogLine]:
        """What one log of the gateway has, up to the runner's last word."""
        async with aclosing(self._gateway.logs(lease, follow=follow)) as messages:
            async for message in messages:
                for line in reader.feed(message.text):
                    yield line
                if reader.result is not None:
                    return
                if follow:
                    for line in reader.partials():
                        yield line
        for line in reader.partials():
            yield line

    async def _over(self, key: str, lease: wire.BidId) -> bool:
        """Whether the command has ended: then its log ought to have the mark."""
        run = await self.run(key, lease, Run(started_at=_SOME_TIME))
        return run.result is not None

    async def _last(
        self, lease: wire.BidId, reader: RunnerLog, place: str | None
    ) -> AsyncIterator[LogLine]:
        """The end of a log of which the provider shows the beginning and the end, no more."""
        for line in reader.rest():
            place = line.cursor
            yield line
        gap = LogLine(time=datetime.now(UTC), stream="stderr", text=_LOST, cursor=place or "0.0.0")
        yield gap
        async for message in self._gateway.logs(lease, tail=_TAIL):
            if _FRAMED.match(message.text):  # lines without a frame are counted from the beginning
                for line in reader.feed(message.text):
                    yield line

    async def run(self, key: str, lease: wire.BidId, known: Run) -> Run:
        """How the runner does: from the last lines, and once from the first one.

        Raises:
            LeaseLost, Unavailable: nothing can be said now.
        """
        log = RunnerLog(key)
        count = await self._feed(log, lease, _TAIL)
        started = known.started_at or log.started_at
        if log.result is None and log.started_at is None and count < _TAIL:
            # More was printed than came: a line that is too long ended the reading.
            log = RunnerLog(key)
            await self._feed(log, lease, 1)
        if started is None and count >= _TAIL:
            started = await self._start(key, lease)
        return Run(started, log.result)

    async def _feed(self, log: RunnerLog, lease: wire.BidId, tail: int) -> int:
        count = 0
        async for message in self._gateway.logs(lease, tail=tail):
            log.feed(message.text)
            count += 1
        return count

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
