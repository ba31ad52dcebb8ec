"""The player plays what was recorded, and the raw client writes down what was played."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import replace

import httpx
import pytest
import websockets
from websockets.asyncio.client import connect
from websockets.frames import Opcode

from simulators.kit.sockets import End
from tests.support.recordings import Answer, Frame, Recording, Request, ask, load, needs, playing
from tests.support.recordings.files import read

_AT_ONCE = 16
_SCALE = 0.02


def made(**answer: object) -> Recording:
    """A recording that nobody made, in the form of the files."""
    closed = {"by": "server", "code": None, "t": 0.0}
    closed["how"] = "no close frame; TLS close_notify, then TCP FIN"
    headers = [["Upgrade", "websocket"], ["Connection", "Upgrade"]]
    headers += [["Sec-WebSocket-Accept", "<depends on the key>"]]
    usual = {"status_line": "HTTP/1.1 101 Switching Protocols", "headers": headers, "frames": []}
    return read(
        {
            "case": "made",
            "truth": "",
            "world": "",
            "request": {"method": "GET", "path": "/x", "upgrade": "websocket"},
            "response": {**usual, "closed": closed, **answer},
        }
    )


async def differences(recordings: Mapping[str, Recording], *, tls: bool) -> list[str]:
    """Cases of which the client saw something else than what was recorded."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(recording: Recording) -> str | None:
        async with slots, playing(recording, tls=tls, scale=_SCALE) as player:
            seen = await ask(player.url, recording.request, scale=_SCALE)
        return None if same(seen, recording.answer) else f"{recording.case}: {seen}"

    unlike = await asyncio.gather(*(one(recording) for recording in recordings.values()))
    return [difference for difference in unlike if difference is not None]


def same(seen: Answer, wanted: Answer) -> bool:
    """Alike but for what differs each time: dates, the accepted key, lengths of edited texts."""
    names = [name for name, _ in wanted.headers]
    return (
        (seen.status_line, seen.body, seen.frames, seen.ending)
        == (wanted.status_line, wanted.body, wanted.frames, wanted.ending)
    ) and [name for name, _ in seen.headers] == names


class TestPlayed:
    @needs("akash-gateway")
    async def test_all_of_the_akash_gateway(self) -> None:
        documents = load("akash-gateway")
        assert len(documents) == 103  # the 104th file has views of a client, no answer
        assert await differences(documents, tls=True) == []

    @needs("nosana")
    async def test_all_of_nosana(self) -> None:
        documents = load("nosana")
        assert len(documents) == 121  # the 122nd file is an OpenAPI document
        assert await differences(documents, tls=False) == []

    @needs("akash-gateway")
    async def test_a_real_client_sees_what_it_saw_of_the_real_thing(self) -> None:
        """As `client-views.json` has it of the same library."""
        recordings = load("akash-gateway")
        finished = await seen_by_websockets(recordings["logs-finished"])
        assert finished == (3, "ConnectionClosedError", "no close frame received or sent")
        events = await seen_by_websockets(recordings["events-all"])
        assert events == (4, "ConnectionClosedOK", "received 1000 (OK); then sent 1000 (OK)")
        long = await seen_by_websockets(recordings["logs-lines-fragmented"])
        assert long == (4, "ConnectionClosedError", "no close frame received or sent")
        count, _, text = await seen_by_websockets(recordings["logs-no-pods"])
        assert (count, text.split(";")[0]) == (0, "received 4000 (private use) no running pods")

    @needs("akash-gateway")
    async def test_tls_1_2_is_refused(self) -> None:
        async with playing(load("akash-gateway")["address"]) as player:
            context = trusting(player.pem)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises(httpx.ConnectError, match="protocol version"):
                async with httpx.AsyncClient(verify=context) as client:
                    await client.get(f"{player.url}/address")


def trusting(pem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=pem)
    return context


async def seen_by_websockets(recording: Recording) -> tuple[int, str, str]:
    """How many messages the library `websockets` got, and how it ended for it."""
    count = 0
    async with playing(recording) as player:
        url = player.url.replace("https", "wss") + recording.request.path
        socket = await connect(url, ssl=trusting(player.pem))
        try:
            while True:
                await socket.recv()
                count += 1
        except websockets.ConnectionClosed as closed:
            return count, type(closed).__name__, str(closed)
        finally:
            await socket.close()


class TestEnds:
    @pytest.mark.parametrize(
        "end", [End(True, "fin"), End(False, "fin"), End(True, "rst"), End(False, "rst")]
    )
    @pytest.mark.parametrize("code", [None, 1000, 4000])
    async def test_each_is_seen_as_it_was_played(self, end: End, code: int | None) -> None:
        frames = [{"t": 0, "opcode": "text", "text": "a"}]
        recording = made(frames=frames).ending(code=code, wire=end)
        async with playing(recording) as player:
            seen = await ask(player.url, recording.request)
        assert seen.ending == recording.answer.ending
        assert seen.frames == recording.answer.frames

    async def test_what_cannot_be_played_is_said(self) -> None:
        closed = {"by": "server", "code": None, "t": 0.0, "how": "no close frame; and then what"}
        with pytest.raises(ValueError, match="and then what"):
            made(closed=closed)


class TestFrames:
    async def test_fragments_times_and_the_frames_of_the_client(self) -> None:
        frames = [
            {"t": 0.0, "opcode": "text", "text": "x" * 70000, "fin": False},
            {"t": 0.3, "opcode": "continuation", "base64": ""},
            {"t": 0.6, "opcode": "ping", "base64": ""},
        ]
        closed = {"by": "server", "code": None, "t": 1.2}
        closed["how"] = "no close frame; TLS close_notify, then TCP FIN"
        recording = made(frames=frames, closed=closed)
        hello = Frame(Opcode.BINARY, b"hello", t=0.1)
        request = replace(recording.request, sends=(hello,))
        async with playing(recording) as player:
            seen = await ask(player.url, request)
            (asked,) = player.requests
        assert seen.frames == recording.answer.frames
        assert [round(frame.t, 1) for frame in seen.frames] == [0.0, 0.3, 0.6]
        assert seen.messages == [b"x" * 70000]
        assert [frame.opcode for frame in asked.frames] == [Opcode.BINARY, Opcode.PONG]
        assert asked.headers["upgrade"] == "websocket"


class TestHttp:
    async def test_several_on_one_connection_and_what_was_asked(self) -> None:
        first = http("/jobs/<id>", '{"id":"<id>"}').filled({"<id>": "4711"})
        second = http("/other", "more")
        async with playing(first, second, tls=False) as player, httpx.AsyncClient() as client:
            url = player.url
            answers = [await client.post(f"{url}/jobs/4711", content=b"body")]
            answers += [await client.get(f"{url}/other") for _ in range(2)]
        assert [answer.text for answer in answers] == ['{"id":"4711"}', "more", "more"]
        assert [request.path for request in player.requests] == ["/jobs/4711", "/other", "/other"]
        assert player.requests[0].body == b"body"

    async def test_by_what_was_asked(self) -> None:
        known = {"/a": http("/a", "A"), "/b": http("/b", "B")}
        async with playing(choose=lambda asked: known[asked.path], tls=False) as player:
            seen = await ask(player.url, Request("GET", "/b"))
        assert seen.body == b"B"


def http(path: str, body: str) -> Recording:
    return read(
        {
            "case": path,
            "truth": "",
            "world": "",
            "request": {"method": "GET", "path": path},
            "response": {
                "status_line": "HTTP/1.1 200 OK",
                "headers": [["Content-Length", "0"], ["Date", "<date>"]],
                "body": body,
            },
        }
    )
