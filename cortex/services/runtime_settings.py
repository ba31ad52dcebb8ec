"""Settings while Cortex runs: shown, changed, taken back. All processes follow within a moment."""

from collections.abc import Mapping

from cortex.db.engine import Database, Transaction
from cortex.domain.audit import changed_values
from cortex.domain.rights import Principal
from cortex.domain.runtime_settings import NAMES, Scalar, SettingsVersion
from cortex.domain.versions import ANY_VERSION, Expected
from cortex.runtime_settings import RuntimeSettings, written
from cortex.schemas.runtime_settings import (
    SettingsHistory,
    SettingsRollback,
    SettingsUpdate,
    SettingsView,
    SettingView,
)

_WHAT = "the settings"
_COMMENT_OF_ROLLBACK = "back to version {}"


class SettingsDesk:
    """Shows and changes what is set at run time."""

    def __init__(self, database: Database, runtime: RuntimeSettings) -> None:
        self._database = database
        self._runtime = runtime

    async def view(self) -> SettingsView:
        """What holds, as of the newest change (this process follows within a moment)."""
        async with self._database.reading() as tx:
            return self._view(await tx.runtime_settings.latest())

    async def history(self, before: int | None, limit: int) -> SettingsHistory:
        async with self._database.reading() as tx:
            versions = await tx.runtime_settings.page(before, limit + 1)
        rest = versions[limit:]
        kept = tuple(versions[:limit])
        return SettingsHistory(items=kept, next_before=kept[-1].version if rest else None)

    async def change(
        self, wanted: SettingsUpdate, by: Principal, expected: Expected = ANY_VERSION
    ) -> SettingsView:
        """Set some, take others back.

        Raises:
            InvalidRequest: names every setting that is not one or has no such value.
            PreconditionFailed: others have changed them meanwhile.
        """
        async with self._database.transaction() as tx:
            latest = await tx.runtime_settings.lock()
            expected.require(str(latest.version), _WHAT)
            self._runtime.require_known(wanted.values)
            values = {**latest.values, **wanted.values}
            kept = {name: value for name, value in values.items() if value is not None}
            return await self._store(tx, latest, kept, by, wanted.comment or "", "settings.change")

    async def roll_back(
        self, wanted: SettingsRollback, by: Principal, expected: Expected = ANY_VERSION
    ) -> SettingsView:
        """Set what was set at an earlier version; that makes a new one.

        Raises:
            NotFound: there was no such version.
            InvalidRequest: something of it can be set no longer.
            PreconditionFailed: others have changed them meanwhile.
        """
        async with self._database.transaction() as tx:
            latest = await tx.runtime_settings.lock()
            expected.require(str(latest.version), _WHAT)
            old = await tx.runtime_settings.get(wanted.version)
            comment = wanted.comment or _COMMENT_OF_ROLLBACK.format(old.version)
            return await self._store(tx, latest, old.values, by, comment, "settings.roll-back")

    async def _store(
        self,
        tx: Transaction,
        latest: SettingsVersion,
        values: Mapping[str, Scalar],
        by: Principal,
        comment: str,
        action: str,
    ) -> SettingsView:
        fields = self._runtime.checked(values)
        values = {name: written(value) for name, value in fields.items()}
        before, after = changed_values(latest.values, values)
        if not before and not after:
            return self._view(latest)
        version = latest.version + 1
        stored = await tx.runtime_settings.add(version, values, by=by.name, comment=comment)
        await tx.audit.add(by, action, str(version), before=before, after=after, comment=comment)
        return self._view(stored)

    def _view(self, latest: SettingsVersion) -> SettingsView:
        return SettingsView(
            version=latest.version, items=tuple(self._shown(name, latest) for name in NAMES)
        )

    def _shown(self, name: str, latest: SettingsVersion) -> SettingView:
        base = self._runtime.base(name)
        return SettingView(
            name=name,
            value=latest.values.get(name, base),
            origin="runtime" if name in latest.values else "start",
            at_start=base,
            description=self._runtime.description(name),
        )
