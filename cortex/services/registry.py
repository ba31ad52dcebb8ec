"""The registered providers, read at most every two seconds."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cortex.db.engine import Database
from cortex.db.providers import StoredProvider
from cortex.domain.errors import NotFound
from cortex.schemas import ProviderView

STALE_AFTER: Final = timedelta(minutes=2)
"""Workers refresh their providers every 30 s: whoever is older has no worker."""

_FRESH_SECONDS: Final = 2.0


class ProviderRegistry:
    """What the workers registered."""

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

    async def views(self) -> list[ProviderView]:
        """All providers as they are now, with the number of leases they hold."""
        async with self._database.transaction() as tx:
            stored = await tx.providers.all()
            counts = await tx.leases.open_counts()
        now = datetime.now(UTC)
        return [_view(provider, counts, now) for provider in stored]

    async def view(self, provider_id: str) -> ProviderView:
        """One provider as it is now.

        Raises:
            NotFound: there is none with this id.
        """
        for provider in await self.views():
            if provider.id == provider_id:
                return provider
        raise NotFound(f"there is no provider `{provider_id[:60]}`")

    def _is_fresh(self) -> bool:
        return bool(self._cached) and time.monotonic() - self._read_at < _FRESH_SECONDS


def _view(provider: StoredProvider, counts: Mapping[str, int], now: datetime) -> ProviderView:
    status: str = provider.status
    message = provider.message
    if now - provider.updated_at > STALE_AFTER:
        status = "offline"
        message = f"no worker has reported it since {provider.updated_at:%Y-%m-%d %H:%M:%S} UTC"
    return ProviderView(
        id=provider.id,
        type=provider.type,
        enabled=provider.enabled,
        status=status,
        message=message,
        capabilities=provider.capabilities,
        prices=provider.prices,
        active_leases=counts.get(provider.id, 0),
        updated_at=provider.updated_at,
    )
