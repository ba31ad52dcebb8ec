"""What a worker runs for persons: notices are made of events, gathered, and sent."""

import asyncio
from datetime import UTC, datetime
from typing import Final

import structlog

from cortex.db.engine import Database
from cortex.db.messages import CHANNEL, ClaimedMessage
from cortex.db.notify import Notifier
from cortex.domain.errors import DatabaseUnavailable
from cortex.domain.messages import Channel, Content
from cortex.notices.chats import Chats
from cortex.notices.deliverer import MessageDeliverer, TryAgain
from cortex.notices.fanout import NoticeFanout
from cortex.notices.gathering import Gathering
from cortex.notices.people import People
from cortex.notices.smtp import MailServer, ServerAway, new_mail, send_mail
from cortex.security.keyring import KeyRing
from cortex.settings import Settings, SmtpSettings
from cortex.tasks import end_tasks
from cortex.webhooks.addresses import Resolve, Rules, look_up

_EVERY: Final = 5.0
"""Seconds between two looks at what has happened: nobody waits for a mail by the second."""

_LEAST: Final = 0.05
_UNWANTED: Final = 60.0

_log = structlog.get_logger(__name__)


class NoticeHost:
    """Begins and ends it all."""

    def __init__(
        self,
        database: Database,
        notifier: Notifier,
        settings: Settings,
        *,
        resolve: Resolve = look_up,
    ) -> None:
        """`notifier` must listen to `CHANNEL`."""
        keyring = KeyRing.from_setting(settings.encryption_keys)
        rules = Rules(settings.webhooks.allowed_networks, settings.webhooks.allow_http)
        channels = {
            Channel.EMAIL: Mailer(settings.smtp).send,
            Channel.CHAT: Chats(rules, resolve=resolve).send,
        }
        people = People(settings)
        self._notifier = notifier
        self._deliverer = MessageDeliverer(database, keyring, channels, settings.notices)
        self._fanout = NoticeFanout(database, people, settings.notices)
        self._gathering = Gathering(database, people, settings)
        self._every = min(_EVERY, max(settings.notices.gather.total_seconds() / 2, _LEAST))
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; returns at once."""
        self._tasks = [
            asyncio.create_task(self._deliverer.run(self._notifier, CHANNEL), name="messages"),
            asyncio.create_task(self._look(), name="notices"),
        ]

    async def aclose(self) -> None:
        """End; what was being sent is sent again by whoever comes next."""
        await end_tasks(self._tasks)

    async def _look(self) -> None:
        while True:
            more: bool | None = False
            try:
                more = await self._fanout.round()
                if more is not None:
                    await self._gathering.round()
            except DatabaseUnavailable as error:
                _log.warning("notices.database_away", error=error.detail)
            except Exception:  # a bug of ours: no reason to be deaf for ever
                _log.exception("notices.fanout_bug")
            if not more:
                await asyncio.sleep(_UNWANTED if more is None else self._every)


class Mailer:
    """Sends messages as mails, by the server of `[smtp]`."""

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings

    async def send(self, message: ClaimedMessage, content: Content) -> None:
        """Hand it to the server.

        Raises:
            TryAgain: the server takes none now, or there is none.
            SMTPException: it refuses this mail for good.
        """
        smtp = self._settings
        if not smtp.host:
            raise TryAgain("the worker has no mail server: set `smtp.host`")
        mail = new_mail(
            subject=content.subject,
            sender=smtp.sender,
            to=(content.to,),
            text=content.text,
            mail_id=message.id,
            time=datetime.now(UTC),
        )
        if content.unsubscribe:
            # Many mail programs have a button for it (RFC 8058).
            mail["List-Unsubscribe"] = f"<{content.unsubscribe}>"
            mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        server = MailServer(
            host=smtp.host,
            port=smtp.port,
            tls=smtp.tls,
            ca=smtp.ca,
            username=smtp.username,
            password=smtp.password.get_secret_value(),
        )
        try:
            await send_mail(mail, server)
        except ServerAway as away:
            raise TryAgain(str(away)) from None
