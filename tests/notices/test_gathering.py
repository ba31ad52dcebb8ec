"""What waits for somebody comes as one message, never more often than that is bearable."""

import base64
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.notices import NoticeEvent, Preferences
from cortex.settings import Settings
from tests.notices.support import (
    QUICK,
    choose,
    deliverer,
    everything,
    fan_out,
    gather,
    happen,
    hosting,
    job_of,
    member,
    person,
    send,
    stored,
)
from tests.support import eventually
from tests.support.mail import MailServer

FAILED = {"state": "failed", "message": "exit code 3"}


def public(settings: Settings, **limits: Any) -> Settings:
    api = settings.api.model_copy(update={"public_url": "https://cortex.example.org"})
    notices = QUICK.model_copy(update=limits)
    return settings.model_copy(update={"api": api, "notices": notices})


async def fail(database: Database, settings: Settings, count: int = 1, **more: Any) -> None:
    for number in range(count):
        job = await job_of(database, "ann", name=f"train-{number}", **more)
        await happen(database, job, FAILED)
    await fan_out(database, settings)


class TestMail:
    async def test_what_it_says(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        settings = public(settings)
        await person(database)
        await fail(database, settings)
        assert await gather(database, settings) == 1
        await send(deliverer(database, settings))
        (mail,) = server.mails
        assert server.envelopes[0].rcpt_tos == ["ann@example.com"]
        assert mail["Subject"] == "[Cortex] job train-0 has failed"
        assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        link = mail["List-Unsubscribe"].strip("<>")
        assert link.startswith("https://cortex.example.org/api/v1/auth/unsubscribe?token=ctu_")
        (body,) = server.texts
        assert "Job train-0 has failed." in body
        assert "exit code 3" in body
        assert "cortex job job_" in body
        assert link in body
        # It is in clear nowhere, and what was sent is kept nowhere.
        assert link.rpartition("=")[2] not in await everything(database)
        assert await stored(database) == [("sent", "", False)]

    async def test_without_an_address_of_the_server(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        await person(database)
        await fail(database, settings)
        await gather(database, settings)
        await send(deliverer(database, settings))
        assert server.mails[0]["List-Unsubscribe"] is None
        assert "cortex notices off" in server.texts[0]

    async def test_no_header_comes_in_by_what_a_job_says(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        await person(database)
        job = await job_of(database, "ann", name="x\r\nBcc: eve@example.com")
        await happen(database, job, {**FAILED, "message": "a\r\n.\r\nRCPT TO:<eve@example.com>"})
        await fan_out(database, settings)
        await gather(database, settings)
        await send(deliverer(database, settings))
        (mail,) = server.mails
        assert mail["Bcc"] is None
        assert server.envelopes[0].rcpt_tos == ["ann@example.com"]


class TestFlood:
    async def test_many_are_one(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        await person(database)
        await fail(database, settings, 60)
        assert await gather(database, settings) == 1
        assert await gather(database, settings) == 0
        await send(deliverer(database, settings))
        (mail,) = server.mails
        assert mail["Subject"] == "[Cortex] 60 notices: 60 failed"
        assert "train-49" in server.texts[0]
        assert "train-50" not in server.texts[0]
        assert "And 10 more" in server.texts[0]

    async def test_the_next_one_comes_after_a_while(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        settings = public(settings, gap=timedelta(hours=1))
        await person(database)
        await fail(database, settings)
        await gather(database, settings)
        await send(deliverer(database, settings))
        await fail(database, settings, 3)
        assert await gather(database, settings) == 0
        async with database.statement() as tx:
            await tx.connection.execute(
                text("UPDATE messages SET created_at = now() - interval '2 h'")
            )
        assert await gather(database, settings) == 1
        await send(deliverer(database, settings))
        assert server.mails[1]["Subject"] == "[Cortex] 3 notices: 3 failed"

    async def test_the_first_waits_for_the_others(
        self, database: Database, settings: Settings
    ) -> None:
        settings = public(settings, gather=timedelta(hours=1))
        await person(database)
        await fail(database, settings)
        assert await gather(database, settings) == 0

    async def test_while_the_server_is_away_they_gather(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        await person(database)
        server.answer = "451 later"
        await fail(database, settings)
        await gather(database, settings)
        sender = deliverer(database, settings)
        await send(sender)
        for _ in range(5):
            await fail(database, settings)
            assert await gather(database, settings) == 0
        server.answer = "250 ok"

        async def told() -> bool:
            await send(sender)
            await gather(database, settings)
            return len(server.mails) == 2

        await eventually(told, what="two mails")
        assert server.mails[1]["Subject"] == "[Cortex] 5 notices: 5 failed"

    async def test_one_channel_that_is_away_holds_up_no_other(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        await person(database)
        await choose(database, settings, "ann", Preferences(chat="JSON"), "json://127.0.0.1:1/x")
        await fail(database, settings)
        assert await gather(database, settings) == 2
        await send(deliverer(database, settings))
        assert len(server.mails) == 1
        await fail(database, settings)
        assert await gather(database, settings) == 1
        await send(deliverer(database, settings))
        assert len(server.mails) == 2


class TestChanged:
    async def test_who_may_not_see_it_any_more_is_not_told(
        self, database: Database, settings: Settings
    ) -> None:
        await person(database)
        await member(database, "team", "ann")
        await fail(database, settings, project="team")
        await fail(database, settings)
        async with database.statement() as tx:
            await tx.connection.execute(text("DELETE FROM project_members"))
        assert await gather(database, settings) == 1
        await fail(database, settings)
        async with database.statement() as tx:
            await tx.connection.execute(text("UPDATE users SET active = false"))
        assert await gather(database, settings) == 0

    async def test_who_has_ended_it_is_not_told(
        self, database: Database, settings: Settings
    ) -> None:
        await person(database)
        await fail(database, settings)
        await choose(database, settings, "ann", Preferences(enabled=False))
        assert await gather(database, settings) == 0

    async def test_secrets_of_a_key_that_is_gone_hold_up_nobody_else(
        self, database: Database, settings: Settings
    ) -> None:
        await person(database)
        await person(database, "bob")
        await fail(database, settings)
        await happen(database, await job_of(database, "bob"), FAILED)
        await fan_out(database, settings)
        other = f"k9:{base64.b64encode(b'9' * 32).decode()}"
        foreign = settings.model_copy(
            update={"encryption_keys": type(settings.encryption_keys)(other)}  # type: ignore[misc]
        )
        await choose(database, foreign, "ann", Preferences())
        assert await gather(database, settings) == 1


async def test_a_whole_worker(database: Database, settings: Settings, server: MailServer) -> None:
    """What happened while none was there is told by the next."""
    await person(database)
    await choose(database, settings, "ann", Preferences(own=(NoticeEvent.COMPLETED,)))
    await happen(database, await job_of(database, "ann"), {"state": "completed"})
    async with hosting(database, settings):

        async def told() -> bool:
            return len(server.mails) == 1

        await eventually(told, what="the mail")
    assert server.mails[0]["Subject"] == "[Cortex] job x has completed"
