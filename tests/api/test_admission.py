"""What bodies may take together, and how many live streams one user has."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from api.admission import MAX_PUBLIC_BODY, BodyMiddleware, LiveStreams
from api.middleware import PRINCIPAL
from api.problems import ServerBusy, TooManyStreams
from cortex.domain.errors import PayloadTooLarge
from cortex.domain.rights import Principal, Role
from cortex.settings import ApiSettings, Settings
from tests.api.support import AUTH, JOBS, serve
from tests.support import patience

LOGIN = "/api/v1/auth/login"


def request(path: str = JOBS, **headers: str) -> Scope:
    sent = {"transfer-encoding": "chunked", **headers}
    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    return {"type": "http", "method": "POST", "path": path, "headers": raw}


class Bodies:
    """A middleware, and requests whose bodies come as the test says."""

    def __init__(self, **settings: Any) -> None:
        self.middleware = BodyMiddleware(self._app, ApiSettings(**settings))
        self.seen: list[bytes] = []
        self.arrived = asyncio.Event()
        self.go_on = asyncio.Event()

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append((await receive())["body"])
        self.arrived.set()
        await self.go_on.wait()

    async def _send(self, message: Message) -> None:
        raise AssertionError(message)

    async def pass_on(self, *parts: bytes, path: str = JOBS) -> None:
        left = list(parts)

        async def receive() -> Message:
            part = left.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(left)}

        await self.middleware(request(path), receive, self._send)


class TestBodies:
    async def test_all_together_have_a_bound(self) -> None:
        bodies = Bodies(max_body=1000, body_memory=1500)
        first = asyncio.create_task(bodies.pass_on(b"a" * 500, b"a" * 500))
        await bodies.arrived.wait()
        with pytest.raises(ServerBusy, match="bodies of other requests"):
            await bodies.pass_on(b"b" * 400, b"b" * 200)
        bodies.go_on.set()
        await first
        # What was refused and what has ended holds nothing any more.
        await bodies.pass_on(b"c" * 1000)
        assert [len(body) for body in bodies.seen] == [1000, 1000]

    async def test_who_is_not_known_has_a_part_of_it(self) -> None:
        bodies = Bodies(max_body=1000, body_memory=8000)
        waiting = asyncio.create_task(bodies.pass_on(b"a" * 900, path=LOGIN))
        await bodies.arrived.wait()
        with pytest.raises(ServerBusy):
            await bodies.pass_on(b"b" * 200, path=LOGIN)
        bodies.go_on.set()
        await bodies.pass_on(b"c" * 1000)
        await waiting

    async def test_and_smaller_ones(self) -> None:
        bodies = Bodies()
        bodies.go_on.set()
        await bodies.pass_on(b"a" * MAX_PUBLIC_BODY, path=LOGIN)
        scope = request(LOGIN, **{"content-length": str(MAX_PUBLIC_BODY + 1)})
        more = bodies.pass_on(b"a" * MAX_PUBLIC_BODY, b"a", path=LOGIN)
        with pytest.raises(PayloadTooLarge, match="64"):
            await more
        with pytest.raises(PayloadTooLarge, match="64"):
            await bodies.middleware(scope, never, bodies._send)


async def never() -> Message:
    raise AssertionError("nothing is read")


def of(name: str) -> Scope:
    principal = Principal(name=name, role=Role.DEVELOPER, source="", request_id="")
    return {"state": {PRINCIPAL: principal}, "client": ("192.0.2.1", 5)}


class TestLiveStreams:
    def test_one_user_has_so_many_of_both_kinds(self) -> None:
        streams = LiveStreams(ApiSettings(max_streams_per_user=2))
        with streams.socket(of("ann")), streams.stream(of("ann")):
            for more in (streams.socket, streams.stream):
                with (
                    pytest.raises(TooManyStreams, match="`ann` has 2 live streams"),
                    more(of("ann")),
                ):
                    pass
            with streams.socket(of("bob")):
                pass
        with streams.socket(of("ann")), streams.socket(of("ann")):
            pass

    def test_who_has_no_name_is_known_by_the_address(self) -> None:
        streams = LiveStreams(ApiSettings(max_streams_per_user=1))
        with (
            streams.stream(of("")),
            pytest.raises(TooManyStreams, match="192.0.2.1"),
            streams.stream(of("")),
        ):
            pass

    def test_all_users_have_so_many_of_each(self) -> None:
        streams = LiveStreams(ApiSettings(max_streams=1, max_sockets=1, max_streams_per_user=0))
        with streams.socket(of("ann")), streams.stream(of("ann")):
            with pytest.raises(ServerBusy, match="1 WebSockets"), streams.socket(of("bob")):
                pass
            with pytest.raises(ServerBusy, match="1 streams"), streams.stream(of("bob")):
                pass
        with streams.socket(of("bob")), streams.stream(of("bob")):
            pass


@contextlib.asynccontextmanager
async def socket(url: str) -> AsyncIterator[None]:
    where = f"{url.replace('http', 'ws', 1)}/api/v1/ws"
    async with connect(where, additional_headers=AUTH) as connection:
        await connection.send('{"type":"ping"}')
        async with asyncio.timeout(patience(20)):
            await connection.recv()
        yield


async def test_a_socket_too_many_is_told_why(settings: Settings, providers: None) -> None:
    few = settings.api.model_copy(update={"max_streams_per_user": 1})
    async with serve(settings.model_copy(update={"api": few})) as (url, _), socket(url):
        with pytest.raises(InvalidStatus) as refused:
            async with socket(url):
                pass
    response = refused.value.response
    assert response.status_code == 429
    assert json.loads(response.body)["code"] == "too_many_streams"
