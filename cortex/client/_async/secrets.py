"""The part of the asynchronous client that is about secrets."""

from cortex.client._routes import secrets as routes
from cortex.client.transport import AsyncTransport
from cortex.schemas.secrets import RotationView


class AsyncSecretCalls:
    """What `AsyncCortex` can do about secrets."""

    _transport: AsyncTransport

    async def secret_rotation(self) -> RotationView:
        """With which keys secrets are encrypted, and how many are still under an older one."""
        return await self._transport.call(routes.rotation())

    async def rotate_secrets(self) -> RotationView:
        """Let the workers encrypt with the newest key what is under an older one."""
        return await self._transport.call(routes.rotate())
