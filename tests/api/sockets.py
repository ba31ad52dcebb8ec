"""What tests of WebSockets share: a server, a client of REST, one who keeps what it hears."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from cortex.settings import Settings
from tests.api.support import AUTH, JOBS, serve, spec
from tests.support import patience


@dataclass
class Listener:
    """A client that keeps what it hears."""

    socket: ClientConnection
    heard: list[dict[str, Any]] = field(default_factory=list)

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def hear(self, **wanted: Any) -> dict[str, Any]:
        """The next message with these values; what comes before is kept."""
        async with asyncio.timeout(patience(20)):
            while True:
                message: dict[str, Any] = json.loads(await self.socket.recv())
                self.heard.append(message)
                if all(message.get(name) == value for name, value in wanted.items()):
                    return message

    async def closed(self) -> tuple[int, str]:
        """How the server ends it."""
        with pytest.raises(ConnectionClosed) as over:
            await self.hear(type="nothing")
        assert over.value.rcvd is not None
        return over.value.rcvd.code, over.value.rcvd.reason


@pytest.fixture
async def server(settings: Settings, providers: None) -> AsyncIterator[str]:
    async with serve(settings) as (url, _):
        yield url


@pytest.fixture
async def client(server: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server, headers=AUTH, timeout=30) as http:
        yield http


async def submitted(client: httpx.AsyncClient, **options: Any) -> str:
    answer = await client.post(JOBS, json=spec(), **options)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])
