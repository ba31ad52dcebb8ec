"""Providers: what is configured, what the workers found of it, and its history."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from cortex.db.base import Access, Repository, Row, Transacts, Writes
from cortex.db.tables.base import NOW
from cortex.db.tables.providers import ProviderPriceRow, ProviderRow, ProviderStatusRow
from cortex.domain.errors import NotFound
from cortex.domain.money import Money
from cortex.domain.offers import Capabilities, PriceSheet
from cortex.domain.providers.health import CheckGrade, HealthRules, HealthState, ProviderStatus

CHANNEL = "cortex_providers"
Source = Literal["settings", "api"]
_MAX_MESSAGE = 1000


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
    source: Source = "settings"
    configured: bool = True
    version: int = 1
    config: dict[str, Any] = field(default_factory=dict)
    secret_fields: tuple[str, ...] = ()
    rate_limit: float | None = None
    network: dict[str, Any] | None = None
    checked_at: datetime | None = None
    created_at: datetime | None = None


@dataclass(frozen=True)
class Origin:
    """What a provider that the API manages was built from: its row as it was then."""

    config: dict[str, Any]
    credentials: bytes | None = field(repr=False)


@dataclass(frozen=True)
class Observation:
    """What one check of a provider found."""

    verdict: CheckGrade
    message: str = ""
    latency: timedelta | None = None
    network_version: str = ""
    balance: Money | None = None
    capabilities: Capabilities | None = None
    prices: PriceSheet | None = None
    origin: Origin | None = None
    """Of which configuration it tells; None: of whatever there is."""


@dataclass(frozen=True)
class Observed:
    """How a provider was before and after a check."""

    before: ProviderStatus | None
    after: ProviderStatus
    old_prices: PriceSheet | None = None
    new_prices: PriceSheet | None = None
    """Only if they are others than before."""


@dataclass(frozen=True)
class StatusPoint:
    id: int
    time: datetime
    status: str
    latency_ms: int | None
    message: str
    balance: Money | None


@dataclass(frozen=True)
class PricePoint:
    time: datetime
    prices: PriceSheet


class ProviderRepository(Repository[Access]):
    async def declare(
        self: "ProviderRepository[Writes]",
        provider_id: str,
        type_name: str,
        *,
        enabled: bool = True,
        config: dict[str, Any] | None = None,
        secret_fields: Sequence[str] = (),
        rate_limit: float | None = None,
    ) -> bool:
        """A worker has this provider in its settings. False: the API has one of this id.

        `config` is without secrets: those stay where the settings are.
        """
        values = {
            "type": type_name,
            "enabled": enabled,
            "configured": True,
            "config": config or {},
            "secret_fields": list(secret_fields),
            "rate_limit": rate_limit,
            "updated_at": NOW,
        }
        statement = (
            insert(ProviderRow)
            .values(id=provider_id, **values)
            .on_conflict_do_update(
                index_elements=["id"], set_=values, where=ProviderRow.source == "settings"
            )
            .returning(ProviderRow.id)
        )
        return (await self.connection.execute(statement)).scalar_one_or_none() is not None

    async def withdraw(self: "ProviderRepository[Writes]", declared: Sequence[str]) -> list[str]:
        """A worker starts without these in its settings; the ids that nobody has now.

        A worker that does have one says so again with `seen`.
        """
        statement = (
            update(ProviderRow)
            .where(
                ProviderRow.source == "settings",
                ProviderRow.configured,
                ProviderRow.id.not_in(declared),
            )
            .values(configured=False, updated_at=NOW)
            .returning(ProviderRow.id)
        )
        return list((await self.connection.execute(statement)).scalars())

    async def seen(self: "ProviderRepository[Transacts]", provider_ids: Sequence[str]) -> list[str]:
        """A worker has these; the ids that were said to be gone meanwhile."""
        back = (
            update(ProviderRow)
            .where(ProviderRow.id.in_(provider_ids), ~ProviderRow.configured)
            .values(configured=True)
            .returning(ProviderRow.id)
        )
        back_again = list((await self.connection.execute(back)).scalars())
        await self.connection.execute(
            update(ProviderRow).where(ProviderRow.id.in_(provider_ids)).values(updated_at=NOW)
        )
        return back_again

    async def observe(
        self: "ProviderRepository[Transacts]",
        provider_id: str,
        observation: Observation,
        rules: HealthRules,
        *,
        first: bool = False,
    ) -> Observed | None:
        """Write down a check; None if it tells of a provider that is not there (any more).

        What a check did not find out keeps its last known value.
        """
        query = select(ProviderRow.__table__).where(ProviderRow.id == provider_id)
        # No placement waits for this: it holds the key only.
        locked = query.with_for_update(key_share=True)
        row = (await self.connection.execute(locked)).mappings().first()
        if row is None:
            return None
        if observation.origin not in (None, Origin(row["config"], row["credentials"])):
            return None
        known = row["checked_at"] is not None
        before = HealthState.model_validate(row["standing"]) if row["standing"] else HealthState()
        after = before.after(observation.verdict, rules, first=first or not known)
        old = PriceSheet.model_validate(row["prices"]) if row["prices"] else None
        new = (
            observation.prices
            if observation.prices is not None and _differ(old, observation.prices)
            else None
        )
        await self._write(provider_id, observation, after)
        if new is not None:
            prices = new.model_dump(mode="json")
            await self.connection.execute(
                insert(ProviderPriceRow).values(provider_id=provider_id, prices=prices)
            )
        return Observed(before.status if known else None, after.status, old, new)

    async def _write(
        self: "ProviderRepository[Transacts]",
        provider_id: str,
        observation: Observation,
        standing: HealthState,
    ) -> None:
        latency = (
            None
            if observation.latency is None
            else observation.latency // timedelta(milliseconds=1)
        )
        network: dict[str, Any] = {"latency_ms": latency, "version": observation.network_version}
        if observation.balance is not None:
            network["balance"] = observation.balance.model_dump(mode="json")
        message = observation.message[:_MAX_MESSAGE]
        values: dict[str, Any] = {
            "status": standing.status,
            "message": message,
            "standing": standing.model_dump(),
            "checked_at": NOW,
            "updated_at": NOW,
        }
        if observation.verdict != "bad":
            values["network"] = network
        if observation.capabilities is not None:
            values["capabilities"] = observation.capabilities.model_dump(mode="json")
        if observation.prices is not None:
            values["prices"] = observation.prices.model_dump(mode="json")
        await self.connection.execute(
            update(ProviderRow).where(ProviderRow.id == provider_id).values(**values)
        )
        await self.connection.execute(
            insert(ProviderStatusRow).values(
                provider_id=provider_id,
                status=standing.status,
                latency_ms=latency,
                data={"message": message, "verdict": observation.verdict, **network},
            )
        )

    async def all(self) -> list[StoredProvider]:
        query = select(ProviderRow.__table__).order_by(ProviderRow.id)
        return [_stored(row) for row in (await self.connection.execute(query)).mappings()]

    async def hold_open(
        self: "ProviderRepository[Transacts]", provider_ids: Collection[str]
    ) -> set[str]:
        """Those of these that take new jobs; none of them is removed until the transaction ends."""
        query = (
            select(ProviderRow.id)
            .where(ProviderRow.id.in_(provider_ids), ProviderRow.enabled, ProviderRow.configured)
            .order_by(ProviderRow.id)
            .with_for_update(read=True, key_share=True)
        )
        return set((await self.connection.execute(query)).scalars())

    async def get(self, provider_id: str) -> StoredProvider:
        """One provider.

        Raises:
            NotFound: there is none with this id.
        """
        query = select(ProviderRow.__table__).where(ProviderRow.id == provider_id)
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            raise NotFound(f"there is no provider `{provider_id[:60]}`")
        return _stored(row)

    async def history(
        self, provider_id: str, *, before: int | None = None, limit: int = 100
    ) -> list[StatusPoint]:
        """Its checks, newest first; those below the position `before`."""
        query = select(ProviderStatusRow.__table__).where(
            ProviderStatusRow.provider_id == provider_id
        )
        if before is not None:
            query = query.where(ProviderStatusRow.id < before)
        query = query.order_by(ProviderStatusRow.id.desc()).limit(limit)
        return [
            StatusPoint(
                id=row["id"],
                time=row["created_at"],
                status=row["status"],
                latency_ms=row["latency_ms"],
                message=row["data"].get("message", ""),
                balance=_money(row["data"].get("balance")),
            )
            for row in (await self.connection.execute(query)).mappings()
        ]

    async def price_history(self, provider_id: str, *, limit: int = 100) -> list[PricePoint]:
        """Its price sheets, newest first, each from the time it came into force."""
        query = (
            select(ProviderPriceRow.created_at, ProviderPriceRow.prices)
            .where(ProviderPriceRow.provider_id == provider_id)
            .order_by(ProviderPriceRow.id.desc())
            .limit(limit)
        )
        rows = (await self.connection.execute(query)).all()
        return [PricePoint(row[0], PriceSheet.model_validate(row[1])) for row in rows]


def _stored(row: Row) -> StoredProvider:
    return StoredProvider(
        id=row["id"],
        type=row["type"],
        enabled=row["enabled"],
        status=row["status"],
        message=row["message"],
        capabilities=_capabilities(row["capabilities"]),
        prices=PriceSheet.model_validate(row["prices"]) if row["prices"] else None,
        updated_at=row["updated_at"],
        source=row["source"],
        configured=row["configured"],
        version=row["version"],
        config=row["config"],
        secret_fields=tuple(row["secret_fields"]),
        rate_limit=row["rate_limit"],
        network=row["network"],
        checked_at=row["checked_at"],
        created_at=row["created_at"],
    )


def _differ(old: PriceSheet | None, new: PriceSheet) -> bool:
    """Whether prices or rate changed; when they were told does not matter."""
    return old is None or _without_times(old) != _without_times(new)


def _without_times(sheet: PriceSheet) -> PriceSheet:
    return sheet.model_copy(update={"as_of": None, "rate_as_of": None})


def _money(stored: object) -> Money | None:
    return Money.model_validate(stored) if stored else None


def _capabilities(stored: object) -> Capabilities | None:
    return Capabilities.model_validate(stored) if stored else None
