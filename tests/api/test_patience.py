"""A request that waits for a silent database is answered, and the others are left alone."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from starlette.types import Message, Receive, Scope, Send

from api import patience
from api.patience import PatienceMiddleware


class Stage:
    """The middleware around an application that answers when it is told to."""

    def __init__(self) -> None:
        self.away: str | None = None
        self.may_answer = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.may_end = asyncio.Event()
        self.asked = asyncio.Event()
        self.sent: list[Message] = []
        self._app = PatienceMiddleware(self._answer)

    async def request(self) -> None:
        state = SimpleNamespace(services=SimpleNamespace(probe=self))
        scope: dict[str, Any] = {
            "type": "http",
            "path": "/api/v1/jobs",
            "app": SimpleNamespace(state=state),
        }
        structlog.contextvars.bind_contextvars(correlation_id="c-1")
        await self._app(scope, self._receive, self._send)

    @property
    def database_away(self) -> str | None:
        self.asked.set()
        return self.away

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            await self.may_end.wait()  # as psycopg waits for the silent server
            raise
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"well"})

    async def _receive(self) -> Message:
        return {"type": "http.request", "body": b""}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_PATIENCE", 0.05)
    monkeypatch.setattr(patience, "_AGAIN", 0.01)


async def test_the_answer_does_not_wait_for_the_cancelled_work() -> None:
    stage = Stage()
    stage.away = "the database is silent"
    request = asyncio.create_task(stage.request())

    await asyncio.wait_for(stage.cancelled.wait(), 30)

    assert stage.sent[0]["status"] == 503
    assert b"the database is silent" in stage.sent[1]["body"]
    assert b'"correlation_id":"c-1"' in stage.sent[1]["body"]
    assert not request.done()
    stage.may_end.set()
    await request  # it does not end with the cancelling
    assert len(stage.sent) == 2


async def test_a_slow_answer_is_waited_for_while_the_database_is_there() -> None:
    stage = Stage()
    request = asyncio.create_task(stage.request())
    await asyncio.wait_for(stage.asked.wait(), 30)

    stage.may_answer.set()
    await request

    assert [message.get("status") for message in stage.sent] == [200, None]


async def test_a_cancel_from_outside_goes_through() -> None:
    stage = Stage()
    stage.may_end.set()
    request = asyncio.create_task(stage.request())
    await asyncio.sleep(0)

    request.cancel()

    with pytest.raises(asyncio.CancelledError):
        await request
    assert stage.sent == []
