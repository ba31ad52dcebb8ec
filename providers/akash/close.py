"""Ends deployments, and makes sure of it.

Closing a lease is never enough: the deployment stays active, with its escrow locked, or is listed
for bids again. Only a closed deployment has ended.
"""

import asyncio
import time

from providers.akash import wire
from providers.akash.config import AkashConfig
from providers.akash.console import Console
from providers.errors import OutcomeUnknown, Unavailable

_ENDED = ("closed", "overdrawn")
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0


class Closer:
    """Closes deployments."""

    def __init__(self, console: Console, config: AkashConfig) -> None:
        self._console = console
        self._config = config

    async def close(self, dseq: str) -> None:
        """Returns when the network says that it is closed and its escrow settled.

        Raises:
            Unavailable: it does not say so; to be tried again.
        """
        deadline = time.monotonic() + self._config.close_wait.total_seconds()
        pause = _FIRST_PAUSE
        problem = ""
        while True:
            try:
                asked = await self._console.close(dseq)
                problem = "" if asked else "its escrow cannot be settled yet"
            except (OutcomeUnknown, Unavailable) as error:
                problem = str(error)
            detail = await self._console.detail(dseq)
            if detail is None or ended(detail):
                return
            if time.monotonic() > deadline:
                why = problem or "the network still calls it active"
                raise Unavailable(f"deployment {dseq} is not closed yet: {why}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def ended(detail: wire.Detail) -> bool:
    """Whether nothing can be charged for it any more."""
    return not detail.active and detail.escrow_account.state.state in _ENDED
