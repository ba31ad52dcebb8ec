"""Providers as the workers last reported them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from cortex.db.base import Repository
from cortex.db.tables import NOW, ProviderRow, ProviderStatusRow
from cortex.domain.errors import NotFound
from cortex.domain.offers import Capabilities, PriceSheet

ProviderStatus = Literal["online", "degraded", "offline"]


@dataclass(frozen=True)
class StoredProvider:
    id: str
    type: str
    enabled: bool
    status: ProviderStatus
    message: str
    capabilities: Capabilities | None
    prices: PriceSheet | None
    updated_at: datetime


class ProviderRepository(Repository):
    async def register(
        self,
        provider_id: str,
        type_name: str,
        *,
        status: ProviderStatus,
        message: str = "",
        capabilities: Capabilities | None = None,
        prices: PriceSheet | None = None,
    ) -> bool:
        """Store what a worker found; True if the status is another than before.

        What is None keeps its last known value.
        """
        before = (
            await self.connection.execute(
                select(ProviderRow.status).where(ProviderRow.id == provider_id)
            )
        ).scalar_one_or_none()
        values = {
            "type": type_name,
            "enabled": True,
            "status": status,
            "message": message,
            "updated_at": NOW,
        }
        if capabilities is not None:
            values["capabilities"] = capabilities.model_dump(mode="json")
        if prices is not None:
            values["prices"] = prices.model_dump(mode="json")
        await self.connection.execute(
            insert(ProviderRow)
            .values(id=provider_id, **values)
            .on_conflict_do_update(index_elements=["id"], set_=values)
        )
        if before == status:
            return False
        await self.connection.execute(
            insert(ProviderStatusRow).values(
                provider_id=provider_id, status=status, data={"message": message}
            )
        )
        return True

    async def disable_others(self, configured: list[str]) -> None:
        """Providers that are no longer configured take no new jobs."""
        await self.connection.execute(
            update(ProviderRow)
            .where(ProviderRow.id.not_in(configured))
            .values(enabled=False, updated_at=NOW)
        )

    async def all(self) -> list[StoredProvider]:
        query = select(ProviderRow.__table__).order_by(ProviderRow.id)
        rows = (await self.connection.execute(query)).mappings()
        return [
            StoredProvider(
                id=row["id"],
                type=row["type"],
                enabled=row["enabled"],
                status=row["status"],
                message=row["message"],
                capabilities=_capabilities(row["capabilities"]),
                prices=PriceSheet.model_validate(row["prices"]) if row["prices"] else None,
                updated_at=row["updated_at"],
            )
            for row in rows
        ]

    async def get(self, provider_id: str) -> StoredProvider:
        """One provider.

        Raises:
            NotFound: there is none with this id.
        """
        for provider in await self.all():
            if provider.id == provider_id:
                return provider
        raise NotFound(f"there is no provider `{provider_id[:60]}`")


def _capabilities(stored: object) -> Capabilities | None:
    return Capabilities.model_validate(stored) if stored else None
