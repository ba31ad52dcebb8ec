"""An API that is not there, not ready, or something else; a Redis that is away."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from cortex.doctor import api
from cortex.doctor.api import check_api, check_redis
from cortex.doctor.findings import Verdict
from cortex.settings import ApiSettings, Settings


@asynccontextmanager
async def answering(status: str) -> AsyncIterator[int]:
    """The port of a server that answers everything with one status."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("status", "verdict", "said"),
    [
        ("200 OK", Verdict.OK, "ready at"),
        ("503 Service Unavailable", Verdict.FAULT, "is not ready"),
        ("404 Not Found", Verdict.FAULT, "something else answers"),
    ],
)
async def test_what_answers_there(status: str, verdict: Verdict, said: str) -> None:
    async with answering(status) as port:
        found = await check_api(Settings(api=ApiSettings(host="0.0.0.0", port=port)))
    assert (found.verdict, said in found.detail) == (verdict, True)


async def test_what_is_no_server_of_http() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        found = await check_api(Settings(api=ApiSettings(port=port)))
    assert (found.verdict, "something else answers" in found.detail) == (Verdict.FAULT, True)


async def test_one_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_CALL", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = await check_api(Settings(api=ApiSettings(port=silent.getsockname()[1])))
    assert (found.verdict, "does not answer within" in found.detail) == (Verdict.FAULT, True)


async def test_nobody_answers() -> None:
    found = await check_api(Settings(api=ApiSettings(port=1)))
    assert (found.verdict, "`cortex api`" in found.fix) == (Verdict.WARNING, True)


async def test_a_redis_that_is_away() -> None:
    assert await check_redis(Settings()) == []
    for malformed in ("foo", "redis://:hunter2@h:x/0"):
        settings = Settings(api=ApiSettings(redis_url=SecretStr(malformed)))
        (found,) = await check_redis(settings)
        assert (found.verdict, found.detail) == (Verdict.WARNING, "its URL is malformed")
    secret = "redis://:hunter2@127.0.0.1:1/0"
    (found,) = await check_redis(Settings(api=ApiSettings(redis_url=SecretStr(secret))))
    assert (found.verdict, "hunter2" in found.detail) == (Verdict.WARNING, False)
