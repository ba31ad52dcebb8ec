"""Ends a command so that its results can still be fetched: they go with the lease."""

import asyncio
import time

from cortex.domain.leases import LeaseRef
from providers.akash.config import AkashConfig
from providers.akash.console import Console
from providers.akash.gateway import Gateway
from providers.akash.snapshots import is_batch
from providers.akash.statuses import Statuses
from providers.errors import LeaseLost, Unavailable

# The first process of the container is the runner, which hands the signal on to the command.
_TERM = ("/bin/sh", "-c", "kill -TERM 1")
_PATIENCE = 30.0
_PAUSE = 0.3


class Stopper:
    """Asks commands to end."""

    def __init__(
        self, console: Console, config: AkashConfig, gateway: Gateway, statuses: Statuses
    ) -> None:
        self._console = console
        self._config = config
        self._gateway = gateway
        self._statuses = statuses

    async def stop(self, ref: LeaseRef) -> None:
        """Returns when the command has ended, or after half a minute.

        A service is left alone: its container would be started again, without its files.
        """
        if not ref.network_id.isdecimal() or not is_batch(ref, self._config.mark):
            return
        if await self._statuses.result(ref):
            return
        detail = await self._console.detail(ref.network_id)
        lease = detail.lease if detail is not None and detail.active else None
        if lease is None or not lease.live:
            return
        deadline = time.monotonic() + _PATIENCE
        try:
            await self._gateway.execute(lease.id, _TERM, lambda _data: None)
        except (LeaseLost, Unavailable):
            return
        pause = _PAUSE
        while time.monotonic() < deadline and not await self._statuses.result(ref):
            await asyncio.sleep(pause)
            pause = min(2 * pause, 3.0)
