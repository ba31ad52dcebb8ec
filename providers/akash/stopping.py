"""Ends a command so that its results can still be fetched: they go with the lease."""

import asyncio
import time

from cortex.domain.leases import LeaseRef
from providers.akash.config import AkashConfig
from providers.akash.console import wire
from providers.akash.console.client import Console
from providers.akash.deployment.snapshots import is_batch
from providers.akash.deployment.statuses import Statuses
from providers.akash.gateway.client import Gateway, NotProven
from providers.errors import LeaseLost, Unavailable

# The first process of the container is the runner, which hands the signal on to the command.
_TERM = "kill -TERM 1"
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
        pause, told = _PAUSE, False
        try:
            async with asyncio.timeout(_PATIENCE):
                while time.monotonic() < deadline:
                    told = told or await self._tell(lease.id)
                    if await self._statuses.result(ref):
                        return
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, 3.0)
        except (LeaseLost, TimeoutError):
            return

    async def _tell(self, lease: wire.BidId) -> bool:
        """Send the signal; whether it has gone out, or may have: a second one could cut short
        what the command does at the first.

        Raises:
            LeaseLost: nobody is there any more.
        """
        try:
            done = await self._gateway.execute(lease, _TERM, (), lambda _data: None)
        except NotProven as error:
            return error.began
        except Unavailable:
            return False
        return done.code == 0
