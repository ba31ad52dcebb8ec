"""Notices come as mails over an encrypted line to a real mail server; an outage loses none."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from aiosmtpd.controller import Controller
from pydantic import ValidationError

from cortex.domain.events import Event, EventType
from cortex.embedded.config import free_ports
from cortex.plugins import Away, Notification
from cortex.plugins.loading import load_plugins
from cortex.settings import PluginSettings, Settings, SmtpSettings
from cortex.sinks.email import Email, EmailConfig
from tests.support.mail import MailServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MailServer]:
    server = MailServer(tmp_path)
    server.start()
    yield server
    server.stop()


def config(server: MailServer, **more: object) -> EmailConfig:
    wanted: dict[str, object] = {
        "to": ["ops@example.com", "ann@example.com"],
        "sender": "cortex@example.com",
        "host": "localhost",
        "port": server.port,
        "ca": server.ca,
        "username": "cortex",
        "password": "hunter2",
    }
    return EmailConfig.model_validate(wanted | more)


async def send(config: EmailConfig, **more: Any) -> None:
    (channel,) = Email(config).channels
    await channel.send(note(**more))


def note(**more: Any) -> Notification:
    now = datetime.now(UTC)
    event = Event(
        id="evt_1", position="1-1", type=EventType.JOB_STATE_CHANGED, subject="job_1", time=now
    )
    wanted = {
        "level": "error",
        "title": "job job_1 has failed",
        "text": "exit code 3\nits last words",
        "job_id": "job_1",
        "time": now,
        "event": event,
    }
    return Notification.model_validate(wanted | more)


async def test_what_a_mail_says(server: MailServer) -> None:
    await send(config(server))
    (mail,) = server.mails
    (envelope,) = server.envelopes
    assert envelope.mail_from == "cortex@example.com"
    assert envelope.rcpt_tos == ["ops@example.com", "ann@example.com"]
    assert mail["Subject"] == "[Cortex] job job_1 has failed"
    assert mail["Message-ID"] == "<evt_1@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    body = str(mail.get_payload())
    assert body.startswith("Job job_1 has failed.")
    assert "its last words" in body
    assert "cortex job job_1" in body


async def test_no_header_comes_in_by_a_name(server: MailServer) -> None:
    await send(config(server), title="provider x\r\nBcc: eve@example.com is offline")
    (mail,) = server.mails
    assert mail["Bcc"] is None
    assert server.envelopes[0].rcpt_tos == ["ops@example.com", "ann@example.com"]


async def test_what_is_not_worth_a_mail(server: MailServer) -> None:
    await send(config(server), level="info")
    await send(config(server), time=datetime.now(UTC) - timedelta(days=2))
    assert server.mails == []
    await send(config(server, level="info"), level="info")
    assert len(server.mails) == 1


class TestTrouble:
    @pytest.mark.parametrize("answer", ["451 try later", "421 going down"])
    async def test_what_passes_is_an_outage(self, server: MailServer, answer: str) -> None:
        server.answer = answer
        with pytest.raises(Away, match="takes none"):
            await send(config(server))

    async def test_what_does_not_pass_is_not(self, server: MailServer) -> None:
        server.answer = "554 spam"
        with pytest.raises(aiosmtplib.SMTPResponseException, match="spam"):
            await send(config(server))
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
            await send(config(server, to=["nobody@example.com"]))

    async def test_one_that_is_not_there(self, server: MailServer) -> None:
        with pytest.raises(Away, match="cannot be used"):
            await send(config(server, port=free_ports(1)[0]))

    async def test_a_wrong_password(self, server: MailServer) -> None:
        with pytest.raises(Away, match="does not let Cortex in") as told:
            await send(config(server, password="hunter3"))
        assert "hunter3" not in str(told.value)

    async def test_a_server_that_nobody_vouches_for(self, server: MailServer) -> None:
        with pytest.raises(Away, match="certificate"):
            await send(config(server, ca=None))
        assert server.mails == []

    async def test_no_line_in_clear_where_tls_is_asked_for(self, server: MailServer) -> None:
        plain = Controller(server, hostname="127.0.0.1", port=free_ports(1)[0])
        plain.start()
        try:
            with pytest.raises(Away, match="STARTTLS"):
                await send(config(server, port=plain.port))
        finally:
            plain.stop()
        assert server.mails == []


class TestConfiguration:
    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"to": []}, "to"),
            ({"to": ["ops"]}, "to[0]"),
            ({"sender": "a@b\r\nBcc: c@d"}, "sender"),
            ({"port": 0}, "port"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_what_is_wrong_is_named(self, wrong: dict[str, object], field: str) -> None:
        right: dict[str, object] = {
            "to": ["ops@example.com"],
            "sender": "c@example.com",
            "host": "mail",
        }
        section = PluginSettings.model_validate(right | wrong)
        (loaded,) = load_plugins({"email": section})
        assert f"`{field}`" in loaded.problem
        (loaded,) = load_plugins({"email": PluginSettings.model_validate(right)})
        assert not loaded.problem
        assert [each.name for each in loaded.channels] == ["email"]

    def test_no_password_in_clear(self, server: MailServer) -> None:
        with pytest.raises(ValidationError, match="not sent in clear") as told:
            config(server, tls="none")
        assert "hunter2" not in str(told.value)

    def test_server_and_sender_of_the_section_smtp(self) -> None:
        smtp = SmtpSettings(host="mail", port=2525, sender="c@example.com", username="cortex")
        own: dict[str, object] = {"to": ["ops@example.com"]}
        given = Settings(smtp=smtp, plugins={"email": PluginSettings.model_validate(own)})
        (loaded,) = load_plugins(given.plugin_sections())
        assert isinstance(loaded.plugin, Email)
        used = loaded.plugin.config
        assert (used.host, used.port, used.sender) == ("mail", 2525, "c@example.com")
        # One that names its server is left as it is.
        own |= {"host": "other", "sender": "d@example.com"}
        given = Settings(smtp=smtp, plugins={"email": PluginSettings.model_validate(own)})
        (loaded,) = load_plugins(given.plugin_sections())
        assert isinstance(loaded.plugin, Email)
        used = loaded.plugin.config
        assert (used.host, used.port, used.username) == ("other", 587, "")
