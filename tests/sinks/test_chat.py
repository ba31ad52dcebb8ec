"""Notices reach chats through Apprise; what is away holds up no other, and URLs are secret."""

import pytest
from pydantic import ValidationError

from cortex.plugins import Away
from cortex.plugins.loading import load_plugins
from cortex.settings import PluginSettings
from cortex.sinks.chat import Chat, ChatConfig
from tests.sinks.test_email import note
from tests.webhooks.support import receiving


def chat(*urls: str, **more: object) -> Chat:
    return Chat(ChatConfig.model_validate({"urls": urls, **more}))


async def test_what_a_chat_is_told() -> None:
    async with receiving() as receiver:
        (channel,) = chat(receiver.url.replace("http://", "json://")).channels
        await channel.send(note())
        await channel.send(note(level="info"))
        (got,) = receiver.tried
    assert got.envelope["title"] == "Cortex: job job_1 has failed"
    assert got.envelope["type"] == "failure"
    assert got.envelope["message"].endswith("cortex job job_1")


async def test_one_that_is_away() -> None:
    async with receiving() as receiver:
        receiver.status = lambda got: 503
        url = receiver.url.replace("http://", "json://")
        near, far = chat(url, "json://127.0.0.1:1/token-hunter2").channels
        assert (near.name, far.name) == ("chat-1", "chat-2")
        with pytest.raises(Away, match="JSON was not told"):
            await near.send(note())
        with pytest.raises(Away) as told:
            await far.send(note())
    assert "hunter2" not in str(told.value)


def test_a_url_of_no_service_is_refused_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValidationError, match="number 2 is no URL that Apprise knows") as refused:
        chat("json://localhost/", "slackk://hunter2/b/c")
    assert "hunter2" not in str(refused.value)
    section = PluginSettings.model_validate({"urls": ["slack://hunter2"]})
    (loaded,) = load_plugins({"chat": section})
    assert "`urls`" in loaded.problem
    assert "hunter2" not in loaded.problem
    assert "hunter2" not in caplog.text
