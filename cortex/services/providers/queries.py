"""The registered providers, read at most every two seconds."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cortex.db.engine import Database
from cortex.db.providers.repository import StoredProvider
from cortex.domain.errors import NotFound
from cortex.domain.money import Money
from cortex.domain.providers.circuit import Circuit
from cortex.schemas.providers import (
    CircuitView,
    PriceChange,
    ProviderPricing,
    ProviderStatusPage,
    ProviderStatusView,
    ProviderTypeView,
    ProviderView,
)
from cortex.services.pagination import decode_number

STALE_AFTER: Final = timedelta(minutes=2)
"""Workers say every 10 s what they have: whoever was not named for so long has no worker."""

_FRESH_SECONDS: Final = 2.0


class ProviderRegistry:
    """What is configured, and what the workers found of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cached: Sequence[StoredProvider] = ()
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def all(self) -> Sequence[StoredProvider]:
        """All providers, at most two seconds old. None at all is never cached."""
        if self._is_fresh():
            return self._cached
        async with self._lock:
            if not self._is_fresh():
                async with self._database.transaction() as tx:
                    self._cached = await tx.providers.all()
                self._read_at = time.monotonic()
        return self._cached

    def forget(self) -> None:
        """Read anew at the next use: something was changed here."""
        self._read_at = float("-inf")

    async def views(self) -> list[ProviderView]:
        """All providers as they are now, with the number of leases they hold."""
        async with self._database.transaction() as tx:
            stored = await tx.providers.all()
            counts = await tx.leases.open_counts()
            circuits = await tx.circuits.all()
        now = datetime.now(UTC)
        return [
            _view(provider, counts, circuits.get(provider.id, Circuit()), now)
            for provider in stored
        ]

    async def view(self, provider_id: str) -> ProviderView:
        """One provider as it is now.

        Raises:
            NotFound: there is none with this id.
        """
        for provider in await self.views():
            if provider.id == provider_id:
                return provider
        raise NotFound(f"there is no provider `{provider_id[:60]}`")

    async def types(self) -> list[ProviderTypeView]:
        """The types that the workers have installed."""
        async with self._database.transaction() as tx:
            types = await tx.managed.types()
        return [
            ProviderTypeView(
                name=kind.name, config_schema=kind.json_schema, secret_fields=kind.secret_fields
            )
            for kind in types
        ]

    async def history(
        self, provider_id: str, *, cursor: str | None, limit: int
    ) -> ProviderStatusPage:
        """The checks of a provider, newest first.

        Raises:
            NotFound: there is none with this id.
            InvalidRequest: `cursor` is none of ours.
        """
        async with self._database.transaction() as tx:
            await tx.providers.get(provider_id)
            checks = await tx.providers.history(
                provider_id, before=decode_number(cursor), limit=limit
            )
        items = tuple(
            ProviderStatusView(
                time=check.time,
                status=check.status,
                latency_ms=check.latency_ms,
                message=check.message,
                balance=check.balance,
            )
            for check in checks
        )
        more = str(checks[-1].id) if len(checks) == limit else None
        return ProviderStatusPage(items=items, next_cursor=more)

    async def pricing(self, provider_id: str, *, limit: int) -> ProviderPricing:
        """The price sheet of a provider, and those before it.

        Raises:
            NotFound: there is none with this id.
        """
        async with self._database.transaction() as tx:
            provider = await tx.providers.get(provider_id)
            changes = await tx.providers.price_history(provider_id, limit=limit)
        history = tuple(PriceChange(time=change.time, prices=change.prices) for change in changes)
        return ProviderPricing(current=provider.prices, history=history)

    def _is_fresh(self) -> bool:
        return bool(self._cached) and time.monotonic() - self._read_at < _FRESH_SECONDS


def _view(
    provider: StoredProvider, counts: Mapping[str, int], circuit: Circuit, now: datetime
) -> ProviderView:
    leases = counts.get(provider.id, 0)
    status, message = _condition(provider, leases, now)
    network: dict[str, Any] = provider.network or {}
    balance = network.get("balance")
    return ProviderView(
        id=provider.id,
        type=provider.type,
        enabled=provider.enabled,
        status=status,
        message=message,
        capabilities=provider.capabilities,
        prices=provider.prices,
        active_leases=leases,
        updated_at=provider.updated_at,
        source=provider.source,
        configured=provider.configured,
        version=provider.version,
        config=provider.config,
        secrets=provider.secret_fields,
        rate_limit=provider.rate_limit,
        circuit=CircuitView(
            state=circuit.state,
            since=circuit.since,
            probe_at=circuit.probe_at,
            failures=circuit.failures,
            reason=circuit.reason,
        ),
        latency_ms=network.get("latency_ms"),
        network_version=network.get("version", ""),
        balance=Money.model_validate(balance) if balance else None,
        checked_at=provider.checked_at,
        created_at=provider.created_at,
    )


def _condition(provider: StoredProvider, leases: int, now: datetime) -> tuple[str, str]:
    """Its status and what is to be said of it: as last checked, or why nothing is known."""
    waiting = f"; {leases} of its leases wait to be released" if leases else ""
    if not provider.configured:
        return "offline", f"it is no longer in the settings of the workers{waiting}"
    if not provider.enabled and not leases:
        return provider.status, "it is switched off"
    if now - provider.updated_at > STALE_AFTER:
        since = f"{provider.updated_at:%Y-%m-%d %H:%M:%S} UTC"
        return "offline", f"no worker has reported it since {since}{waiting}"
    return provider.status, provider.message
