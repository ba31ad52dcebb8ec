"""What a worker runs for webhooks: the fan-out of events, and their delivery."""

import asyncio

from cortex.db.engine import Database
from cortex.db.notify import Notifier
from cortex.db.webhooks.repository import CHANNEL
from cortex.security.keyring import KeyRing
from cortex.settings import Settings
from cortex.tasks import end_tasks
from cortex.webhooks.addresses import Resolve, Rules, look_up
from cortex.webhooks.deliverer import Deliverer
from cortex.webhooks.fanout import Fanout
from cortex.webhooks.sending import Sender


class WebhookHost:
    """Begins and ends both. While there is no webhook it asks the database once a minute."""

    def __init__(
        self,
        database: Database,
        notifier: Notifier,
        settings: Settings,
        *,
        resolve: Resolve = look_up,
    ) -> None:
        """`notifier` must listen to `CHANNEL`."""
        limits = settings.webhooks
        keyring = KeyRing.from_setting(settings.encryption_keys)
        rules = Rules(limits.allowed_networks, limits.allow_http)
        sender = Sender(rules, limits.timeout, resolve=resolve)
        self._notifier = notifier
        self._deliverer = Deliverer(database, keyring, sender, limits)
        self._fanout = Fanout(database, notifier, CHANNEL, self._deliverer.wake)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; returns at once."""
        self._tasks = [
            asyncio.create_task(self._deliverer.run(self._notifier, CHANNEL), name="webhooks"),
            asyncio.create_task(self._fanout.run(), name="webhooks-fanout"),
        ]

    async def aclose(self) -> None:
        """End; what was being sent is sent again by whoever comes next."""
        await end_tasks(self._tasks)
