"""People with addresses, links that are sent to them, and a worker that sends."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from cortex.db.engine import Database
from cortex.db.messages import CHANNEL
from cortex.db.notify import Notifier
from cortex.domain.accounts import UserKind
from cortex.domain.events import EventType
from cortex.domain.ids import new_id
from cortex.domain.messages import Channel
from cortex.domain.notices import Preferences
from cortex.domain.rights import Principal, Role
from cortex.notices.deliverer import MessageDeliverer
from cortex.notices.fanout import NoticeFanout
from cortex.notices.gathering import Gathering
from cortex.notices.host import Mailer, NoticeHost
from cortex.notices.people import People, PersonSecrets
from cortex.schemas.auth import Invitation, InvitationRequest
from cortex.security.keyring import KeyRing
from cortex.services.accounts.invitations import Invitations
from cortex.services.accounts.mails import AccountMails
from cortex.services.accounts.passwords import Passwords
from cortex.settings import NoticeSettings, Settings, SmtpSettings
from tests.support.mail import MailServer

ADMIN = Principal(name="local", role=Role.ADMIN)
QUICK = NoticeSettings(
    first_wait=timedelta(milliseconds=20),
    longest_wait=timedelta(milliseconds=40),
    gather=timedelta(0),
    gap=timedelta(0),
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


async def member(database: Database, project: str, name: str, role: str = "developer") -> None:
    """Somebody comes into a project."""
    async with database.transaction() as tx:
        for statement in (
            "INSERT INTO projects (name) VALUES (:project) ON CONFLICT DO NOTHING",
            "INSERT INTO project_members (project, member, role) VALUES (:project, :name, :role)",
        ):
            values = {"project": project, "name": name, "role": role}
            await tx.connection.execute(text(statement), values)


async def choose(
    database: Database, settings: Settings, name: str, chosen: Preferences, chat: str = ""
) -> PersonSecrets:
    """As the API does it; what is secret of it."""
    keyring = KeyRing.from_setting(settings.encryption_keys)
    made = PersonSecrets(PersonSecrets.make().token, chat)
    async with database.statement() as tx:
        await tx.preferences.put(name, chosen, made.sealed(keyring, name), made.hash)
    return made


async def job_of(
    database: Database,
    owner: str,
    *,
    project: str | None = None,
    notify: Mapping[str, Any] | None = None,
    name: str = "x",
) -> str:
    """A job's row; its id."""
    job_id = new_id("job")
    async with database.statement() as tx:
        await tx.connection.execute(
            text(
                "INSERT INTO jobs (id, name, owner, project, spec, state) "
                "VALUES (:id, :name, :owner, :project, CAST(:spec AS jsonb), 'running')"
            ),
            {
                "id": job_id,
                "name": name,
                "owner": owner,
                "project": project or owner,
                "spec": json.dumps({"notify": notify}),
            },
        )
    return job_id


async def group_of(
    database: Database,
    owner: str,
    size: int,
    *,
    failed: int = 0,
    notify: Mapping[str, Any] | None = None,
) -> tuple[str, list[str]]:
    """A group whose jobs have ended, the first of them failed; its id, and theirs."""
    group_id, ids = new_id("grp"), sorted(new_id("job") for _ in range(size))
    async with database.transaction() as tx:
        await tx.connection.execute(
            text(
                "INSERT INTO job_groups (id, name, owner, project, state, spec) "
                "VALUES (:id, 'sweep', :owner, :owner, 'running', CAST(:spec AS jsonb))"
            ),
            {"id": group_id, "owner": owner, "spec": json.dumps({"notify": notify})},
        )
        await tx.connection.execute(
            text(
                "INSERT INTO jobs (id, name, member, owner, project, spec, state, group_id) "
                "SELECT n.id, 'm' || n.number - 1, 'm' || n.number - 1, :owner, :owner, '{}', "
                "CASE WHEN n.number <= :failed THEN 'failed' ELSE 'completed' END, :group_id "
                "FROM unnest(CAST(:ids AS text[])) WITH ORDINALITY AS n(id, number)"
            ),
            {"ids": ids, "owner": owner, "failed": failed, "group_id": group_id},
        )
    return group_id, ids


async def happen(
    database: Database,
    job_id: str | None,
    data: Mapping[str, Any],
    event_type: EventType = EventType.JOB_STATE_CHANGED,
    *,
    subject: str = "",
) -> None:
    """One event."""
    async with database.transaction() as tx:
        await tx.events.add(event_type, subject or job_id or "", job_id=job_id, data=dict(data))


async def fan_out(database: Database, settings: Settings) -> None:
    """Until every event was looked at."""
    fanout = NoticeFanout(database, People(settings), settings.notices)
    while await fanout.round():
        pass


async def gather(database: Database, settings: Settings) -> int:
    """Make messages of what waits; how many."""
    return await Gathering(database, People(settings), settings).round()


async def waiting(database: Database) -> list[tuple[str, str, str]]:
    """Whom what is to be told: person, title and text, the oldest first."""
    query = "SELECT person, title, text FROM notices WHERE told_at IS NULL ORDER BY number"
    async with database.reading() as tx:
        rows = (await tx.connection.execute(text(query))).all()
    return [(row.person, row.title, row.text) for row in rows]
