"""What the account can still pay for.

The newer Console gives a deployment half a dollar when it is made, and keeps each lease funded for
about 48 hours ahead, whatever the job needs. That credit is no cost and comes back when the
deployment is closed; until then nothing else can be started with it.
"""

from decimal import Decimal

from cortex.domain.money import Money
from cortex.domain.spec import JobSpec
from providers.akash.config import AkashConfig
from providers.akash.console.client import Console
from providers.errors import InsufficientFunds, ProviderError

_CENT = Decimal("0.01")


class Credit:
    """Reads the account's balance, and says what of it is free."""

    def __init__(self, console: Console, config: AkashConfig) -> None:
        self._console = console
        self._config = config

    async def notes(self, spec: JobSpec, price: Money) -> tuple[str, ...]:
        """What is to be said of the account beside an offer.

        Raises:
            InsufficientFunds: it cannot start a deployment now.
        """
        if not self._config.count_credit:
            return ()
        try:
            found = await self._console.balances()
        except ProviderError:
            return ()  # the creation will tell
        free, locked = found.free, found.locked
        least = self._config.min_deposit
        if free < least:
            raise InsufficientFunds(
                f"the Akash account has {_usd(free)} of free credit, and a deployment takes "
                f"{_usd(least)} at once{_held(locked)}"
            )
        lasts = free / price.amount if price.amount > 0 else None
        hours = Decimal(spec.duration.total_seconds()) / 3600
        if lasts is None or lasts >= hours:
            return ()
        return (
            f"the account's free credit, {_usd(free)}, lasts for {lasts:.1f} of the job's "
            f"{hours:.1f} hours{_held(locked)}",
        )

    async def explained(self, error: InsufficientFunds) -> InsufficientFunds:
        """The same error, with what is known of where the credit is."""
        try:
            found = await self._console.balances()
        except ProviderError:
            return error
        return InsufficientFunds(f"{error} ({_usd(found.free)} are free{_held(found.locked)})")


def _held(locked: Decimal) -> str:
    if locked <= 0:
        return ""
    return (
        f"; {_usd(locked)} are locked in deployments that run, which the Console keeps funded for "
        "about two days ahead, and come back when they end"
    )


def _usd(amount: Decimal) -> str:
    return f"{amount.quantize(_CENT)} USD"
