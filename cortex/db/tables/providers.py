"""The tables of providers: their configuration, health, prices and circuits."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    Identity,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from cortex.db.tables.base import NOW, Base


class ProviderRow(Base):
    __tablename__ = "providers"

    id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    config: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    credentials: Mapped[bytes | None]
    capabilities: Mapped[dict[str, Any] | None]
    prices: Mapped[dict[str, Any] | None]
    status: Mapped[str] = mapped_column(server_default="offline")
    message: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)
    source: Mapped[str] = mapped_column(server_default="settings")
    configured: Mapped[bool] = mapped_column(server_default=text("true"))
    version: Mapped[int] = mapped_column(server_default="1")
    secret_fields: Mapped[list[str]] = mapped_column(server_default="{}")
    rate_limit: Mapped[float | None] = mapped_column(Double)
    standing: Mapped[dict[str, Any] | None]
    network: Mapped[dict[str, Any] | None]
    checked_at: Mapped[datetime | None]

    __table_args__ = (CheckConstraint("source IN ('settings', 'api')", name="providers_source"),)


class ProviderTypeRow(Base):
    """A provider type that workers have installed, for clients that ask for its fields."""

    __tablename__ = "provider_types"

    name: Mapped[str] = mapped_column(primary_key=True)
    json_schema: Mapped[dict[str, Any]]
    secret_fields: Mapped[list[str]] = mapped_column(server_default="{}")
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ProviderDraftRow(Base):
    """A configuration that a worker is asked to check: encrypted, and soon deleted."""

    __tablename__ = "provider_drafts"

    id: Mapped[str] = mapped_column(primary_key=True)
    provider_id: Mapped[str]
    type: Mapped[str]
    sealed: Mapped[bytes]
    config: Mapped[dict[str, Any] | None]
    credentials: Mapped[bytes | None]
    secret_fields: Mapped[list[str]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ProviderCircuitRow(Base):
    """The breaker of a provider, shared by all workers; no row: closed."""

    __tablename__ = "provider_circuits"

    provider_id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(server_default="closed")
    failures: Mapped[int] = mapped_column(server_default="0")
    trips: Mapped[int] = mapped_column(server_default="0")
    since: Mapped[datetime | None]
    probe_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(server_default="")


class ProviderPriceRow(Base):
    """The history of a provider's price sheets: one row for every change."""

    __tablename__ = "provider_prices"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    provider_id: Mapped[str]
    prices: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (Index("provider_prices_provider", "provider_id", "id"),)


class ProviderStatusRow(Base):
    """The history of a provider's health."""

    __tablename__ = "provider_status"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW, primary_key=True)
    provider_id: Mapped[str]
    status: Mapped[str]
    latency_ms: Mapped[int | None]
    data: Mapped[dict[str, Any]] = mapped_column(server_default="{}")

    __table_args__ = (
        Index("provider_status_provider", "provider_id", "id"),
        {"postgresql_partition_by": "RANGE (created_at)"},
    )
