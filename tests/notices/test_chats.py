"""Chats of persons: written to through Apprise, and never a way to what is inside."""

from datetime import UTC, datetime

import pytest

from cortex.db.messages import ClaimedMessage
from cortex.domain.messages import Channel, Content, MessageKind
from cortex.notices.chats import Chats
from cortex.notices.deliverer import TryAgain
from cortex.webhooks.addresses import Refused, Rules
from tests.webhooks.support import LOOPBACK, receiving

MESSAGE = ClaimedMessage(
    id="msg_1",
    claim="c",
    recipient="ann",
    channel=Channel.CHAT,
    kind=MessageKind.NOTICE,
    sealed=b"",
    attempts=0,
    created_at=datetime.now(UTC),
    late=False,
)
OPEN = Chats(Rules((LOOPBACK,)))


async def inside(host: str, port: int) -> list[str]:
    return ["10.0.0.7"]


async def outside(host: str, port: int) -> list[str]:
    return ["93.184.216.34"]


async def test_what_a_chat_is_told() -> None:
    async with receiving() as receiver:
        url = receiver.url.replace("http://", "json://")
        assert await OPEN.check(url) == "JSON"
        await OPEN.send(MESSAGE, Content(url, "Cortex: job x has failed", "exit code 3"))
        (got,) = receiver.tried
    assert got.envelope["title"] == "Cortex: job x has failed"
    assert got.envelope["message"] == "exit code 3"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("json://10.0.0.7/x", "without TLS"),
        ("jsons://10.0.0.7/x", "not public"),
        ("jsons://[::1]/x", "is no URL"),
        ("jsons://[::ffff:127.0.0.1]/x", "is no URL"),
        ("jsons://169.254.169.254/latest", "not public"),
        ("jsons://intern.example.org/x", "not public"),
        ("gotifys://intern.example.org/token", "not public"),
        ("ntfys://intern.example.org/topic", "not public"),
        ("json://public.example.org/x", "must begin with `jsons://`"),
        ("jsons://public.example.org:22/x", "ports"),
        ("mailto://user:hunter2@example.org", "must begin with one of"),
        ("dbus://", "must begin with one of"),
        ("file:///etc/passwd", "must begin with one of"),
        ("hunter2", "must begin with one of"),
        ("discord://hunter2", "no URL that Apprise knows"),
    ],
)
async def test_where_none_may_lead(url: str, why: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Refused, match=why) as refused:
        await Chats(Rules(), resolve=inside).check(url)
    assert "hunter2" not in str(refused.value) + caplog.text


async def test_where_one_may_lead() -> None:
    chats = Chats(Rules(), resolve=outside)
    assert await chats.check("jsons://public.example.org/x?verify=no&redirect=yes") == "JSON"
    assert await chats.check("discord://123456789012345678/" + "a" * 60) == "Discord"
    assert await chats.check("ntfy://a-topic-of-mine") == "ntfy"


async def test_a_name_is_looked_up_before_each_message() -> None:
    with pytest.raises(Refused, match="not public"):
        await Chats(Rules(), resolve=inside).send(
            MESSAGE, Content("jsons://public.example.org/x", "x", "y")
        )


async def test_redirects_are_not_followed_and_it_is_tried_again() -> None:
    async with receiving() as receiver, receiving() as other:
        receiver.status = lambda got: 307
        receiver.headers = {"location": other.url}
        url = receiver.url.replace("http://", "json://")
        with pytest.raises(TryAgain, match="JSON was not told"):
            await OPEN.send(MESSAGE, Content(url, "x", "y"))
        assert len(receiver.tried) == 1
        assert other.tried == []
