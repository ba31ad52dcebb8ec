"""The part of the asynchronous client that is about secrets."""

from cortex.client._routes import secrets as routes
from cortex.client._routes.call import IfMatch, only_if
from cortex.client.transport import AsyncTransport
from cortex.domain.named_secrets import NamedSecret
from cortex.schemas.secrets import RotationView


class AsyncSecretCalls:
    """What `AsyncCortex` can do about secrets."""

    _transport: AsyncTransport
    _project: str | None

    async def secret_rotation(self) -> RotationView:
        """With which keys secrets are encrypted, and how many are still under an older one."""
        return await self._transport.call(routes.rotation())

    async def rotate_secrets(self) -> RotationView:
        """Let the workers encrypt with the newest key what is under an older one."""
        return await self._transport.call(routes.rotate())

    async def secrets(self, project: str | None = None) -> tuple[NamedSecret, ...]:
        """The secrets of a project, by name, without their values.

        Args:
            project: Which; None: where this client's submissions go.
        """
        page = await self._transport.call(routes.secrets(project or self._project))
        return page.items

    async def secret(self, name: str, project: str | None = None) -> NamedSecret:
        """One secret, without its value."""
        return await self._transport.call(routes.secret(name, project or self._project))

    async def set_secret(
        self, name: str, value: str, project: str | None = None, *, if_match: IfMatch = None
    ) -> NamedSecret:
        """Set a secret of a project, whether it is there already or not.

        Args:
            name: Jobs refer to it by that: `secret_env: {TOKEN: {secret: NAME}}`.
            value: At most 16,384 characters.
            project: Which; None: where this client's submissions go.
            if_match: Only at this version; `LAST_SEEN`: as this client read it last.

        Raises:
            PreconditionFailed: others have set it meanwhile.
        """
        call = routes.set_secret(name, value, project or self._project)
        return await self._transport.call(only_if(call, if_match))

    async def delete_secret(
        self, name: str, project: str | None = None, *, if_match: IfMatch = None
    ) -> None:
        """Take a secret away; jobs that were accepted with it keep their copy.

        With `if_match` only at that version (`PreconditionFailed`).
        """
        call = routes.delete_secret(name, project or self._project)
        await self._transport.call(only_if(call, if_match))
