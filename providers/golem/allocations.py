"""Allocations: the money that is set aside for one lease, and given back with it."""

import hashlib
from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal
from typing import Any

from providers.errors import InsufficientFunds, OutcomeUnknown, Unavailable
from providers.golem.config import GolemConfig
from providers.golem.daemon import Answer, Daemon
from providers.golem.wire import Allocation, Decorations

PAYMENT = "/payment-api/v1"
_AFTER_THE_END = timedelta(hours=1)
_CENT = Decimal("0.000001")


class Allocations:
    """One allocation per lease.

    The daemon gives an allocation no name. Its time-out keeps microseconds, though, and its amount
    more digits than matter: the lease's mark stands there, so that after a crash the allocation is
    found again instead of made twice.
    """

    def __init__(self, daemon: Daemon, config: GolemConfig) -> None:
        self._daemon = daemon
        self._config = config

    async def hold(self, key: str, amount: Decimal, until: datetime) -> Allocation:
        """Set money aside under this lease, or find what is set aside already.

        Raises:
            InsufficientFunds: the wallet has not that much left.
        """
        there = await self.under(key)
        if there is not None:
            return there
        timeout = (until + _AFTER_THE_END).replace(microsecond=_mark(key))
        body = {
            "totalAmount": f"{amount.quantize(_CENT, ROUND_UP) + _small(key):f}",
            "paymentPlatform": self._config.payment_platform,
            "timeout": timeout.isoformat().replace("+00:00", "Z"),
            "makeDeposit": False,
        }
        try:
            answer = await self._daemon.effect(
                "POST", f"{PAYMENT}/allocations", body, expect=(400, 402, 500), wait=30
            )
        except OutcomeUnknown:
            there = await self.under(key)
            if there is None:
                raise Unavailable("the yagna daemon did not set the money aside") from None
            return there
        if not answer.ok:
            raise self._refused(answer, amount)
        return Allocation.model_validate(answer.body)

    async def under(self, key: str) -> Allocation | None:
        """The allocation of this lease."""
        for allocation in await self.all():
            marked = allocation.timeout is not None and allocation.timeout.microsecond == _mark(key)
            if marked and allocation.total_amount % _CENT == _small(key):
                return allocation
        return None

    async def all(self) -> list[Allocation]:
        """What is set aside on our platform."""
        allocations = await self._daemon.get(list[Allocation], f"{PAYMENT}/allocations")
        return [
            allocation
            for allocation in allocations
            if allocation.payment_platform == self._config.payment_platform
        ]

    async def get(self, allocation_id: str) -> Allocation | None:
        if not allocation_id:
            return None
        return await self._daemon.find(
            Allocation, f"{PAYMENT}/allocations/{allocation_id}", gone=(400, 404, 410)
        )

    async def release(self, allocation_id: str) -> None:
        """Give back what was not spent. Afterwards nothing more can be paid for the lease."""
        if allocation_id:
            await self._daemon.effect(
                "DELETE", f"{PAYMENT}/allocations/{allocation_id}", expect=(400, 404, 410)
            )

    async def decorations(self, allocation_id: str) -> Decorations:
        """What a demand must say about payment."""
        return await self._daemon.get(
            Decorations,
            f"{PAYMENT}/demandDecorations",
            params={"allocationIds": allocation_id},
        )

    def _refused(self, answer: Answer, amount: Decimal) -> Exception:
        body: dict[str, Any] = answer.body if isinstance(answer.body, dict) else {}
        kind = str(body.get("type", ""))
        if "insufficient" in kind or "insufficient" in answer.message.lower():
            free = body.get("availableFunds")
            has = f"; {free} are free" if free is not None else ""
            return InsufficientFunds(
                f"the wallet cannot set {amount:f} {self._config.currency} aside on "
                f"`{self._config.payment_platform}`{has}: fund it, or release allocations "
                "(`yagna payment status`)"
            )
        if answer.status == 400:
            return InsufficientFunds(
                f"the yagna daemon sets no money aside on `{self._config.payment_platform}`: "
                f"{answer.message}"
            )
        return Unavailable(f"the payment driver of the yagna daemon fails: {answer.message}")


def _mark(key: str, part: str = "time") -> int:
    return int.from_bytes(hashlib.sha256(f"{part} {key}".encode()).digest()[:8]) % 1_000_000


def _small(key: str) -> Decimal:
    """The mark in the amount: less than a millionth of a GLM."""
    return Decimal(_mark(key, "amount")).scaleb(-12)
