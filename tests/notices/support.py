"""People with addresses, links that are sent to them, and a worker that sends."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from sqlalchemy import text

from cortex.db.engine import Database
from cortex.db.messages import CHANNEL
from cortex.db.notify import Notifier
from cortex.domain.accounts import UserKind
from cortex.domain.ids import new_id
from cortex.domain.messages import Channel
from cortex.domain.rights import Principal, Role
from cortex.notices.deliverer import MessageDeliverer
from cortex.notices.host import Mailer, NoticeHost
from cortex.schemas.auth import Invitation, InvitationRequest
from cortex.security.keyring import KeyRing
from cortex.services.accounts.invitations import Invitations
from cortex.services.accounts.mails import AccountMails
from cortex.services.accounts.passwords import Passwords
from cortex.settings import NoticeSettings, Settings, SmtpSettings
from tests.support.mail import MailServer

ADMIN = Principal(name="local", role=Role.ADMIN)
QUICK = NoticeSettings(
    first_wait=timedelta(milliseconds=20), longest_wait=timedelta(milliseconds=40)
)
TOKEN = re.compile(r"ctl_[A-Za-z0-9_-]{43}")


def smtp_of(server: MailServer, **more: object) -> SmtpSettings:
    wanted: dict[str, object] = {
        "sender": "cortex@example.com",
        "host": "localhost",
        "port": server.port,
        "ca": server.ca,
        "username": "cortex",
        "password": "hunter2",
    }
    return SmtpSettings.model_validate(wanted | more)


async def person(
    database: Database,
    name: str = "ann",
    *,
    email: str | None = None,
    role: Role = Role.DEVELOPER,
) -> None:
    """A user with an address, unless it is empty."""
    address = f"{name}@example.com" if email is None else email
    async with database.statement() as tx:
        await tx.accounts.add_user(new_id("usr"), name, UserKind.PERSON, role, email=address)


def invitations(database: Database, settings: Settings) -> Invitations:
    return Invitations(database, Passwords(settings.passwords), AccountMails(settings))


async def invite(
    database: Database, settings: Settings, name: str = "ann", **wanted: object
) -> Invitation:
    """As the API does it."""
    request = InvitationRequest.model_validate(wanted)
    return await invitations(database, settings).invite(name, request, ADMIN)


def deliverer(
    database: Database, settings: Settings, lease: timedelta = timedelta(minutes=5)
) -> MessageDeliverer:
    """The part of a worker that sends, step by step."""
    keyring = KeyRing.from_setting(settings.encryption_keys)
    channels = {Channel.EMAIL: Mailer(settings.smtp).send}
    return MessageDeliverer(database, keyring, channels, settings.notices, lease=lease)


async def send(sender: MessageDeliverer) -> None:
    """What is due now, and wait until it is done with."""
    await sender.round()
    await sender.idle()


@asynccontextmanager
async def hosting(database: Database, settings: Settings) -> AsyncIterator[None]:
    """As a worker does it."""
    notifier = Notifier(database.settings, (CHANNEL,))
    await notifier.start()
    host = NoticeHost(database, notifier, settings)
    await host.start()
    try:
        yield
    finally:
        await host.aclose()
        await notifier.aclose()


async def stored(database: Database) -> list[tuple[str, str, bool]]:
    """State, error, and whether the content is there, of each message, the oldest first."""
    query = "SELECT state, error, sealed IS NOT NULL AS kept FROM messages ORDER BY created_at, id"
    async with database.reading() as tx:
        rows = (await tx.connection.execute(text(query))).all()
    return [(row.state, row.error, row.kept) for row in rows]


async def everything(database: Database) -> str:
    """All that the database holds, as text."""
    async with database.reading() as tx:
        names = (
            await tx.connection.execute(
                text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            )
        ).scalars()
        parts = [
            str((await tx.connection.execute(text(f'SELECT t::text FROM "{name}" AS t'))).all())
            for name in list(names)
        ]
    return "".join(parts)
