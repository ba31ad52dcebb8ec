"""A link reaches whom it is for: through outages and dead workers, once, and nobody else."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.errors import Conflict
from cortex.domain.links import LinkToken
from cortex.settings import Settings
from tests.notices.support import (
    QUICK,
    TOKEN,
    deliverer,
    everything,
    hosting,
    invite,
    person,
    send,
    smtp_of,
    stored,
)
from tests.support import eventually
from tests.support.mail import MailServer


async def set_rows(database: Database, statement: str) -> None:
    async with database.statement() as tx:
        await tx.connection.execute(text(statement))


class TestLink:
    async def test_it_is_sent_and_kept_nowhere(
        self,
        database: Database,
        settings: Settings,
        server: MailServer,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        await person(database)
        made = await invite(database, settings)
        assert (made.token, made.sent_to) == ("", "ann@example.com")
        assert await stored(database) == [("pending", "", True)]
        before = await everything(database)
        await send(deliverer(database, settings))
        (mail,) = server.mails
        assert server.envelopes[0].rcpt_tos == ["ann@example.com"]
        assert mail["Subject"] == "[Cortex] your invitation"
        assert mail["Auto-Submitted"] == "auto-generated"
        assert mail["List-Unsubscribe"] is None
        (token,) = TOKEN.findall(server.texts[0])
        assert f"cortex redeem {token}" in server.texts[0]
        async with database.reading() as tx:
            link = await tx.links.find(LinkToken(token).hash)
        assert link is not None
        assert (link.name, link.expired) == ("ann", False)
        assert await stored(database) == [("sent", "", False)]
        assert token not in before + await everything(database) + caplog.text

    async def test_it_says_where_the_server_is(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        api = settings.api.model_copy(update={"public_url": "https://cortex.example.org"})
        await person(database)
        await invite(database, settings.model_copy(update={"api": api}))
        await send(deliverer(database, settings))
        assert "cortex --url https://cortex.example.org redeem ctl_" in server.texts[0]

    async def test_a_newer_one_takes_its_place(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        await person(database)
        await invite(database, settings)
        await invite(database, settings)
        await send(deliverer(database, settings))
        assert len(server.mails) == 1
        assert await stored(database) == [
            ("dead", "a newer link took its place", False),
            ("sent", "", False),
        ]
        # Also one that is handed over by hand.
        await invite(database, settings)
        shown = await invite(database, settings, by_email=False)
        assert TOKEN.fullmatch(shown.token)
        await send(deliverer(database, settings))
        assert len(server.mails) == 1

    async def test_one_that_opens_nothing_any_more_is_not_sent(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        await person(database)
        await invite(database, settings)
        await set_rows(database, "UPDATE messages SET give_up_at = now()")
        await send(deliverer(database, settings))
        assert server.mails == []
        assert await stored(database) == [("dead", "nobody took it in time", False)]

    @pytest.mark.parametrize(
        ("email", "missing", "why"),
        [
            ("", {}, "has no address"),
            (None, {"smtp": {"host": ""}}, "sends no mail"),
            (None, {"encryption_keys": None}, "no encryption key"),
        ],
    )
    async def test_where_none_can_be_sent_it_is_shown(
        self,
        database: Database,
        settings: Settings,
        server: MailServer,
        email: str | None,
        missing: dict[str, object],
        why: str,
    ) -> None:
        changed = {**missing, **({"smtp": smtp_of(server, host="")} if "smtp" in missing else {})}
        without = settings.model_copy(update=changed)
        await person(database, email=email)
        shown = await invite(database, without)
        assert (TOKEN.fullmatch(shown.token) is not None, shown.sent_to) == (True, "")
        with pytest.raises(Conflict, match=why):
            await invite(database, without, by_email=True)
        assert await stored(database) == []


class TestTrouble:
    async def test_a_server_that_is_away_for_a_time(
        self, database: Database, settings: Settings, server: MailServer, tmp_path: Path
    ) -> None:
        await person(database)
        server.stop()
        async with hosting(database, settings):
            await invite(database, settings)

            async def tried() -> bool:
                query = text("SELECT attempts FROM messages")
                async with database.reading() as tx:
                    return int((await tx.connection.execute(query)).scalar_one()) >= 2

            await eventually(tried, what="two attempts")
            (tmp_path / "again").mkdir()
            later = MailServer(tmp_path / "again", server.port)
            settings.smtp.ca.write_text(later.ca.read_text())  # type: ignore[union-attr]
            later.start()
            try:

                async def sent() -> bool:
                    return [state for state, _, _ in await stored(database)] == ["sent"]

                await eventually(sent, what="the mail")
            finally:
                later.stop()
        assert len(later.mails) == 1

    async def test_a_process_that_dies_before_it_sends(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        """The request was answered; whoever comes next sends what it left."""
        await person(database)
        await invite(database, settings)
        async with hosting(database, settings):

            async def sent() -> bool:
                return [state for state, _, _ in await stored(database)] == ["sent"]

            await eventually(sent, what="the mail")
        assert len(server.mails) == 1

    async def test_a_worker_that_dies_while_it_sends(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        await person(database)
        await invite(database, settings)
        dying = deliverer(database, settings, lease=timedelta(0))
        async with database.transaction() as tx:
            assert len(await tx.messages.claim("dead", timedelta(hours=1), limit=5)) == 1
        await send(dying)
        assert server.mails == []
        await set_rows(database, "UPDATE messages SET due_at = now()")
        await send(deliverer(database, settings))
        assert len(server.mails) == 1
        assert await stored(database) == [("sent", "", False)]

    async def test_a_claim_that_was_lost_writes_nothing(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        await person(database)
        await invite(database, settings)
        async with database.transaction() as tx:
            (mine,) = await tx.messages.claim("one", timedelta(0), limit=5)
        async with database.transaction() as tx:
            await tx.messages.claim("other", timedelta(hours=1), limit=5)
            assert not await tx.messages.again(mine, timedelta(0), "late")
        assert await stored(database) == [("pending", "", True)]

    @pytest.mark.parametrize("answer", ["554 spam: {token}", "550 no"])
    async def test_what_is_refused_for_good_is_told(
        self,
        database: Database,
        settings: Settings,
        server: MailServer,
        answer: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        token = "ctl_" + "x" * 43
        server.answer = answer.format(token=token)
        await person(database)
        await invite(database, settings)
        await send(deliverer(database, settings))
        ((state, error, kept),) = await stored(database)
        assert (state, kept) == ("dead", False)
        assert error
        assert token not in error + caplog.text
        query = text("SELECT data FROM audit_log WHERE actor = 'cortex' AND subject = 'ann'")
        async with database.reading() as tx:
            data = (await tx.connection.execute(query)).scalar_one()
        assert data["after"]["undelivered"] == error

    async def test_an_address_that_there_is_not(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        await person(database, email="nobody@example.com")
        await invite(database, settings)
        await send(deliverer(database, settings))
        ((state, error, _),) = await stored(database)
        assert (state, "no such mailbox" in error) == ("dead", True)

    async def test_a_worker_without_a_server_leaves_it_to_another(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        await person(database)
        await invite(database, settings)
        without = settings.model_copy(update={"smtp": smtp_of(server, host="")})
        await send(deliverer(database, without))
        ((state, error, kept),) = await stored(database)
        assert (state, "smtp.host" in error, kept) == ("pending", True, True)
        patient = settings.model_copy(update={"notices": QUICK})
        async with hosting(database, patient):

            async def sent() -> bool:
                return bool(server.envelopes)

            await eventually(sent, what="the mail")

    async def test_two_workers_send_each_once(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        for number in range(6):
            await person(database, f"p{number}")
            await invite(database, settings, f"p{number}")
        one, other = deliverer(database, settings), deliverer(database, settings)
        await asyncio.gather(send(one), send(other))
        await send(one)
        told = sorted(envelope.rcpt_tos[0] for envelope in server.envelopes)
        assert told == [f"p{number}@example.com" for number in range(6)]
