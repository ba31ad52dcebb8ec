"""With which keys secrets are encrypted, and their rotation.

Workers do it in their housekeeping, every hour and when they are told to.
"""

from temporalio.client import Client
from temporalio.service import RPCError

from cortex.db.engine import Database
from cortex.domain.errors import InvalidRequest, TemporalUnavailable
from cortex.domain.rights import Principal
from cortex.schemas.secrets import RotationView, SealedView
from cortex.security.keyring import KeyRing
from cortex.settings import Settings
from cortex.temporal.schedules import maintain_now


class Secrets:
    """Shows and rotates."""

    def __init__(self, database: Database, client: Client, settings: Settings) -> None:
        self._database = database
        self._client = client
        self._keyring = KeyRing.from_setting(settings.encryption_keys)

    async def rotation(self) -> RotationView:
        """What is under which key."""
        async with self._database.reading() as tx:
            counts = await tx.secrets.counts()
        keys, newest = self._keyring.ids, self._keyring.newest
        return RotationView(
            newest=newest,
            keys=keys,
            sealed=tuple(
                SealedView(
                    what=each.what, key=each.key, count=each.count, readable=each.key in keys
                )
                for each in counts
            ),
            left=sum(each.count for each in counts if each.key in keys and each.key != newest),
            lost=sum(each.count for each in counts if each.key not in keys),
        )

    async def rotate(self, by: Principal) -> RotationView:
        """Let the workers encrypt anew what is under an older key; how it is just now.

        Raises:
            InvalidRequest: there is no encryption key.
            TemporalUnavailable: the workers cannot be told; they do it within the hour.
        """
        if self._keyring.newest is None:
            raise InvalidRequest("no `encryption_keys` are configured on the server")
        async with self._database.transaction() as tx:
            await tx.audit.add(by, "secrets.rotate", self._keyring.newest)
        try:
            await maintain_now(self._client)
        except (RPCError, RuntimeError) as error:  # RuntimeError: a lazy client's first connect
            raise TemporalUnavailable(
                "Temporal does not answer, so the workers cannot be told now; they do it by "
                "themselves within an hour of their start"
            ) from error
        return await self.rotation()
