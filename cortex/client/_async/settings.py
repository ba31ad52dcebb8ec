"""The part of the asynchronous client that is about settings."""

from collections.abc import Mapping

from cortex.client._routes import settings as routes
from cortex.client.transport import AsyncTransport
from cortex.domain.runtime_settings import Scalar
from cortex.schemas.runtime_settings import SettingsHistory, SettingsView


class AsyncSettingsCalls:
    """What `AsyncCortex` can do with the settings that are changed while Cortex runs."""

    _transport: AsyncTransport

    async def settings(self) -> SettingsView:
        """What can be set while Cortex runs, what holds, and where that is from."""
        return await self._transport.call(routes.settings())

    async def change_settings(
        self,
        values: Mapping[str, Scalar | None],
        *,
        comment: str = "",
        version: int | None = None,
    ) -> SettingsView:
        """Set some, take others back with None.

        With `version` only if that is still the newest: else `PreconditionFailed`.
        """
        return await self._transport.call(routes.change(values, comment, version))

    async def settings_history(self, *, before: int | None = None) -> SettingsHistory:
        """What was set from each change on, the newest first."""
        return await self._transport.call(routes.history(before))

    async def roll_back_settings(
        self, to: int, *, comment: str = "", version: int | None = None
    ) -> SettingsView:
        """Set again what was set at an earlier version; 0: nothing."""
        return await self._transport.call(routes.roll_back(to, comment, version))
