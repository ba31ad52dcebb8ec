"""What a deployment costs, from its escrow.

The chain settles lazily: between two settlements the escrow tells what was paid up to a height,
and everything since is rate times blocks.
"""

from datetime import timedelta
from decimal import ROUND_DOWN, Decimal

from cortex.domain.money import Money
from cortex.domain.offers import Usage
from providers.akash.config import AkashConfig
from providers.akash.console import wire

UACT = Decimal(1_000_000)
_ENDED = ("closed", "overdrawn")


def usage(detail: wire.Detail, height: int, config: AkashConfig) -> Usage:
    """The cost so far, USD (one ACT is one dollar), and whether it is final."""
    escrow = detail.escrow_account.state
    final = escrow.state in _ENDED
    spent = paid(escrow)
    if not final:
        spent = min(spent + _unsettled(detail, height), deposited(escrow))
    blocks = sum(_blocks(lease, height, final=final) for lease in detail.leases)
    return Usage(
        cost=Money(amount=spent / UACT, currency="USD"),
        final=final,
        seconds=blocks * config.block_seconds,
        detail={
            "deployment": detail.dseq,
            "uact": f"{spent:f}",
            "blocks": str(blocks),
            "escrow": escrow.state,
        },
    )


def paid(escrow: wire.EscrowState) -> Decimal:
    """What has gone to the provider at the last settlement, uact."""
    return _sum(escrow.transferred)


def deposited(escrow: wire.EscrowState) -> Decimal:
    """All that was ever put in, uact."""
    return paid(escrow) + max(_sum(escrow.funds), Decimal(0))


def remaining(detail: wire.Detail, height: int) -> Decimal:
    """What is left in the escrow, uact; below zero when it is overdrawn and nobody looked yet."""
    escrow = detail.escrow_account.state
    return _sum(escrow.funds) - _rate(detail) * _since(escrow, height)


def rate(detail: wire.Detail) -> Decimal:
    """What all live leases cost, uact per block."""
    return _rate(detail)


def per_hour(uact_per_block: Decimal, config: AkashConfig) -> Money:
    """A price of the chain as people read it."""
    amount = uact_per_block * config.blocks_per_hour / UACT
    return Money(amount=amount, currency="USD").rounded()


def per_block(usd_per_hour: Decimal, config: AkashConfig) -> Decimal:
    """A price as people say it, as the chain takes it."""
    return usd_per_hour * UACT / config.blocks_per_hour


def lasts(detail: wire.Detail, height: int, config: AkashConfig) -> timedelta | None:
    """How long the escrow lasts; None if nothing is paid from it."""
    cost = _rate(detail)
    if not cost:
        return None
    blocks = remaining(detail, height) / cost
    return timedelta(seconds=float(blocks * config.block_seconds))


def _unsettled(detail: wire.Detail, height: int) -> Decimal:
    due = _rate(detail) * _since(detail.escrow_account.state, height)
    return due.quantize(Decimal(1), rounding=ROUND_DOWN)


def _rate(detail: wire.Detail) -> Decimal:
    return sum((lease.price.amount for lease in detail.leases if lease.live), Decimal(0))


def _since(escrow: wire.EscrowState, height: int) -> int:
    return max(0, height - int(escrow.settled_at or 0))


def _blocks(lease: wire.Lease, height: int, *, final: bool) -> int:
    end = int(lease.closed_on or 0) or (0 if final else height)
    return max(0, end - int(lease.created_at or 0))


def _sum(coins: list[wire.Coin]) -> Decimal:
    """Only uact: uakt in an escrow is spent only if the network's mint is halted."""
    return sum((coin.amount for coin in coins if coin.denom == "uact"), Decimal(0))
