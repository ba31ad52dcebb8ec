"""The part of the blocking client that is about secrets."""
# Made from _async/secrets.py by `make format`; change that one.

from cortex.client._routes import secrets as routes
from cortex.client.transport import Transport
from cortex.schemas.secrets import RotationView


class SecretCalls:
    """What `Cortex` can do about secrets."""

    _transport: Transport

    def secret_rotation(self) -> RotationView:
        """With which keys secrets are encrypted, and how many are still under an older one."""
        return self._transport.call(routes.rotation())

    def rotate_secrets(self) -> RotationView:
        """Let the workers encrypt with the newest key what is under an older one."""
        return self._transport.call(routes.rotate())
