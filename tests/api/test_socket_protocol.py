"""What a client of a WebSocket does wrong is answered, and is no error of the server."""

import logging

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.api.sockets import server
from tests.api.support import AUTH

__all__ = ["server"]


def url_of(server: str) -> str:
    return f"{server.replace('http', 'ws', 1)}/api/v1/ws"


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


async def test_a_refusal(server: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url_of(server)):
            pass
    assert refused.value.response.status_code == 401
    assert b"not_authenticated" in refused.value.response.body
    assert errors(caplog) == []


@pytest.mark.parametrize("parts", [[b"\xff\xfe"], [b"{", b"\xff"], [b"\xc3", b"("]])
async def test_a_text_that_is_none(
    server: str, caplog: pytest.LogCaptureFixture, parts: list[bytes]
) -> None:
    async with connect(url_of(server), additional_headers=AUTH) as socket:
        await socket.send(iter(parts), text=True)
        with pytest.raises(ConnectionClosed) as over:
            await socket.recv()
        assert over.value.rcvd is not None
        assert over.value.rcvd.code == 1007
    assert errors(caplog) == []
