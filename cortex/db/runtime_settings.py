"""Settings that are changed while Cortex runs: every version of them."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import func, insert, select, text

from cortex.db.base import Access, Repository, Row, Transacts
from cortex.db.tables.settings import SettingsVersionRow
from cortex.domain.errors import NotFound
from cortex.domain.runtime_settings import Scalar, SettingsVersion

CHANNEL: Final = "cortex_settings"
"""Told at each change."""

_FIRST: Final = SettingsVersion(version=0)
_NEWEST: Final = select(SettingsVersionRow.__table__).order_by(SettingsVersionRow.version.desc())


class RuntimeSettingsRepository(Repository[Access]):
    async def latest(self) -> SettingsVersion:
        """What holds now."""
        row = (await self.connection.execute(_NEWEST.limit(1))).mappings().first()
        return _FIRST if row is None else _version(row)

    async def lock(self: "RuntimeSettingsRepository[Transacts]") -> SettingsVersion:
        """What holds now; nobody else changes it until the transaction ends."""
        await self.connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(CHANNEL))))
        return await self.latest()

    async def get(self, version: int) -> SettingsVersion:
        """One version; 0 is the one in which nothing was set.

        Raises:
            NotFound: there was none of this number.
        """
        if version == _FIRST.version:
            return _FIRST
        query = _NEWEST.where(SettingsVersionRow.version == version)
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            raise NotFound(f"there is no version {version} of the settings")
        return _version(row)

    async def page(self, before: int | None, limit: int) -> list[SettingsVersion]:
        """Versions, the newest first."""
        query = _NEWEST.limit(limit)
        if before is not None:
            query = query.where(SettingsVersionRow.version < before)
        return [_version(row) for row in (await self.connection.execute(query)).mappings()]

    async def add(
        self: "RuntimeSettingsRepository[Transacts]",
        version: int,
        values: Mapping[str, Scalar],
        *,
        by: str,
        comment: str,
    ) -> SettingsVersion:
        """Let these hold from now on, in every process."""
        row: dict[str, Any] = {
            "version": version,
            "values": dict(values),
            "changed_by": by,
            "comment": comment,
        }
        await self.connection.execute(insert(SettingsVersionRow).values(row))
        await self.connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})
        return await self.latest()


def _version(row: Row) -> SettingsVersion:
    return SettingsVersion.model_validate(dict(row))
