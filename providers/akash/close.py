"""Ends deployments, and makes sure of it.

Closing a lease is never enough: the deployment stays active, with its escrow locked, or is listed
for bids again. Only a closed deployment has ended.
"""

import asyncio
import time

from providers.akash.config import AkashConfig
from providers.akash.console import wire
from providers.akash.console.client import Console
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
        problem, activity = "", None
        while True:
            try:
                activity = activity or await self._console.close(dseq)
            except (OutcomeUnknown, Unavailable) as error:
                problem = str(error)
            detail = await self._console.detail(dseq)
            if detail is None or ended(detail):
                return
            failed = await self._failed(activity) if activity else ""
            if failed:
                activity, problem = None, failed
            if time.monotonic() > deadline:
                why = problem or "the network still calls it active"
                raise Unavailable(f"deployment {dseq} is not closed yet: {why}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _failed(self, activity: str) -> str:
        """Why a close in the background has failed; empty while it goes on, or is not known."""
        try:
            found = await self._console.activity(activity)
        except Unavailable:
            return ""
        return found.failed if found is not None else "the Console has forgotten that it closes it"


def ended(detail: wire.Detail) -> bool:
    """Whether nothing can be charged for it any more."""
    return not detail.active and detail.escrow_account.state.state in _ENDED
