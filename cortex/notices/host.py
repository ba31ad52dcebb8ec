"""What a worker runs for notices to persons."""

import asyncio
from datetime import UTC, datetime

from cortex.db.engine import Database
from cortex.db.messages import CHANNEL, ClaimedMessage
from cortex.db.notify import Notifier
from cortex.domain.messages import Channel, Content
from cortex.notices.deliverer import MessageDeliverer, TryAgain
from cortex.notices.smtp import MailServer, ServerAway, new_mail, send_mail
from cortex.security.keyring import KeyRing
from cortex.settings import Settings, SmtpSettings
from cortex.tasks import end_tasks


class NoticeHost:
    """Begins and ends it. While there is nothing to send it asks the database once a minute."""

    def __init__(self, database: Database, notifier: Notifier, settings: Settings) -> None:
        """`notifier` must listen to `CHANNEL`."""
        keyring = KeyRing.from_setting(settings.encryption_keys)
        channels = {Channel.EMAIL: Mailer(settings.smtp).send}
        self._notifier = notifier
        self._deliverer = MessageDeliverer(database, keyring, channels, settings.notices)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; returns at once."""
        self._tasks = [
            asyncio.create_task(self._deliverer.run(self._notifier, CHANNEL), name="messages")
        ]

    async def aclose(self) -> None:
        """End; what was being sent is sent again by whoever comes next."""
        await end_tasks(self._tasks)


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
