"""Looks after leases that run: their runtime limit, doubles, at older Consoles their escrow.

No escrow bounds what a job costs: the Console adds to it as long as the account has credit. A job
is ended by Cortex, at its deadline or budget, and where Cortex is gone by the runtime limit.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal

import structlog

from cortex.domain.leases import LeaseRef
from providers.akash import money
from providers.akash.config import AkashConfig
from providers.akash.console import wire
from providers.akash.console.client import Console
from providers.akash.deployment.deployments import Deployments
from providers.errors import InsufficientFunds, ProviderError, RateLimited
from providers.http import Refused

_log = structlog.get_logger(__name__)
_MOST_HOURS = 8760
_STEP_HOURS = 48
_CENT = Decimal("0.01")


class Upkeep:
    """What the network wants done while a job runs."""

    def __init__(self, console: Console, config: AkashConfig, deployments: Deployments) -> None:
        self._console = console
        self._config = config
        self._deployments = deployments
        self._next = 0.0
        self._limits_next: dict[str, float] = {}

    async def tend(self, refs: Sequence[LeaseRef]) -> None:
        """Once in a while for all of them; one that fails does not keep the others waiting."""
        if not refs or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._config.upkeep_every.total_seconds()
        ours = {ref.network_id: ref for ref in refs}
        funded = await self._console.look()
        listed = await self._console.active()
        height = 0 if funded else (await self._console.height()).height
        await self._close_doubles(ours)
        for detail in listed:
            ref = ours.get(detail.dseq)
            if ref is None:
                continue
            try:
                if funded:
                    await self._name(ref, detail)
                    await self._extend(detail)
                else:
                    await self._top_up(ref, detail, height)
            except RateLimited:
                raise
            except (ProviderError, Refused) as error:
                _log.warning("akash.upkeep_failed", lease=ref.key, error=str(error))
        self._limits_next = {k: v for k, v in self._limits_next.items() if k in ours}

    async def _close_doubles(self, ours: dict[str, LeaseRef]) -> None:
        """A creation whose answer was lost may have been made late, beside the one in use."""
        keys = {ref.key for ref in ours.values()}
        for detail, marker in await self._deployments.doubles(keys):
            if detail.dseq not in ours:
                _log.warning("akash.double_closed", lease=marker.key, deployment=detail.dseq)
                await self._deployments.close(detail.dseq)

    async def _top_up(self, ref: LeaseRef, detail: wire.Detail, height: int) -> None:
        """Put more into an escrow that runs low, but no more than the job's budget."""
        lasts = money.lasts(detail, height, self._config)
        if lasts is None or lasts > self._config.top_up_below:
            return
        hours = Decimal(self._config.deposit_for.total_seconds()) / 3600
        wanted = money.rate(detail) * self._config.blocks_per_hour * hours
        wanted = max(wanted, self._config.min_deposit * money.UACT)
        most = ref.data.get("most")
        if most is not None:
            wanted = min(wanted, Decimal(most) - money.deposited(detail.escrow_account.state))
        usd = (wanted / money.UACT).quantize(_CENT, ROUND_DOWN)
        if usd <= 0:
            return  # the budget is in the escrow already
        try:
            await self._console.deposit(detail.dseq, usd)
        except InsufficientFunds as error:
            _log.warning("akash.no_credit_for_top_up", lease=ref.key, error=str(error))

    async def _name(self, ref: LeaseRef, detail: wire.Detail) -> None:
        """One that was made before the Console had names is found by its name, too, when closed."""
        marker = ref.data.get("marker")
        if detail.name is None and marker is not None:
            await self._console.rename(detail.dseq, marker)

    async def _extend(self, detail: wire.Detail) -> None:
        """Where the Console ends deployments by itself: later, as long as Cortex is there."""
        if time.monotonic() < self._limits_next.get(detail.dseq, 0):
            return
        settings = await self._console.settings(detail.dseq)
        window = self._config.runtime_window
        self._limits_next[detail.dseq] = time.monotonic() + window.total_seconds() / 6
        if settings is None or settings.runtime_limit_hours is None:
            return
        if settings.runtime_ends_at is None:
            return
        left = settings.runtime_ends_at - datetime.now(UTC)
        if left > window / 2:
            return
        more = min(_STEP_HOURS, max(1, round((window - left) / timedelta(hours=1))))
        total = min(_MOST_HOURS, settings.runtime_limit_hours + more)
        if total > settings.runtime_limit_hours:
            await self._console.limit_runtime(detail.dseq, total)
