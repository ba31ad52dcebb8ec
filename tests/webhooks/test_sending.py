"""One request: to the address that was checked, verified for the name, bounded in all."""

import asyncio
import ipaddress
import re
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cortex.webhooks.addresses import Resolve, Rules
from cortex.webhooks.sending import Answer, Message, Sender
from cortex.webhooks.signing import new_secret
from simulators.kit.certificates import self_signed
from simulators.kit.serve import serving
from tests.support import soon
from tests.webhooks.support import LOOPBACK, receiving

ALLOWED = Rules(allowed=(LOOPBACK,))


def message(url: str) -> Message:
    return Message("dlv_1", url, b"{}", (new_secret(),))


def answering(*addresses: str) -> Resolve:
    """A resolver that gives another answer each time, the last one for ever."""
    left = list(addresses)

    async def resolve(host: str, port: int) -> list[str]:
        return [left.pop(0) if len(left) > 1 else left[0]]

    return resolve


async def send(url: str, rules: Rules = ALLOWED, seconds: float = 5, **options: object) -> Answer:
    sender = Sender(rules, timedelta(seconds=seconds), **options)  # type: ignore[arg-type]
    return await sender.send(message(url))


@asynccontextmanager
async def talking(talk: bytes, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that says these bytes to whatever it hears, and then nothing; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(talk)
            await writer.drain()
            await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


class TestAddresses:
    async def test_a_name_whose_address_changes_after_the_check(self) -> None:
        """The second look-up, that a client of its own would make, never happens."""
        async with receiving() as receiver:
            port = receiver.url.split(":")[2]
            asked = []

            async def resolve(host: str, port: int) -> list[str]:
                asked.append(host)
                return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

            answer = await send(f"http://name.test:{port}", resolve=resolve)
        assert answer.taken
        assert asked == ["name.test"]
        (got,) = receiver.tried
        assert got.headers["host"] == f"name.test:{port.split('/')[0]}"

    async def test_checked_anew_at_each_attempt(self) -> None:
        async with receiving() as receiver:
            rules = Rules(allowed=(ipaddress.ip_network("127.0.0.2/32"),))
            sender = Sender(
                rules, timedelta(seconds=5), resolve=answering("127.0.0.2", "127.0.0.1")
            )
            port = receiver.url.rsplit(":", 1)[1]
            first = await sender.send(message(f"http://name.test:{port}"))
            second = await sender.send(message(f"http://name.test:{port}"))
        # Nobody listens at the first address, and nobody is asked at the second.
        assert first.error.startswith("no answer: ConnectError")
        assert "may not be sent to" in second.error
        assert receiver.tried == []

    async def test_the_next_address_where_one_does_not_answer(self) -> None:
        async with receiving() as receiver:
            port = receiver.url.rsplit(":", 1)[1]

            async def resolve(host: str, port: int) -> list[str]:
                return ["127.0.0.9", "127.0.0.1"]

            answer = await send(f"http://name.test:{port}", resolve=resolve)
        assert answer.taken
        assert len(receiver.tried) == 1

    async def test_no_proxy_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with receiving() as proxy, receiving() as receiver:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            monkeypatch.setenv("ALL_PROXY", proxy.url)
            assert (await send(receiver.url)).taken
        assert proxy.tried == []

    async def test_a_name_without_an_address(self) -> None:
        async def resolve(host: str, port: int) -> list[str]:
            raise OSError(None, "no such name")

        answer = await send("https://nowhere.test/", resolve=resolve)
        assert (answer.status, answer.error) == (None, "the host cannot be reached: no such name")


class TestTls:
    async def test_verified_for_the_name_and_not_for_the_address(self) -> None:
        with tempfile.TemporaryDirectory(prefix="cortex-hook-") as folder:
            key, pem = self_signed("name.test")
            path = Path(folder) / "both.pem"
            path.write_text(key + pem)
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.load_cert_chain(path)
        names: list[str | None] = []
        server.sni_callback = lambda _socket, name, _context: names.append(name)
        trusted = ssl.create_default_context(cadata=pem)

        def certificates() -> ssl.SSLContext:
            return trusted

        async with talking(b"HTTP/1.1 204 x\r\n\r\n", tls=server) as port:
            resolve = answering("127.0.0.1")
            good = await send(
                f"https://name.test:{port}/", resolve=resolve, certificates=certificates
            )
            bad = await send(
                f"https://other.test:{port}/", resolve=resolve, certificates=certificates
            )
            unknown = await send(f"https://name.test:{port}/", resolve=resolve)
        assert good.taken, good
        assert bad.error.startswith("no answer: ConnectError")
        assert "certificate" in bad.error
        assert not unknown.taken
        assert names[:2] == ["name.test", "other.test"]


class TestDocuments:
    async def test_the_receiver_of_the_documents_verifies(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = (Path(__file__).parents[2] / "docs/webhooks.md").read_text()
        (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        secret = new_secret()
        monkeypatch.setenv("CORTEX_WEBHOOK_SECRET", secret)
        names: dict[str, Any] = {}
        exec(compile(code, "docs/webhooks.md", "exec"), names)
        body = b'{"type": "cortex.job.progress", "subject": "job_1", "data": {}}'
        async with serving(names["app"]) as url:
            sender = Sender(ALLOWED, timedelta(seconds=5))
            for _ in range(2):
                answer = await sender.send(Message("dlv_1", f"{url}/hook", body, (secret,)))
                assert answer.status == 204, answer
            forged = await sender.send(Message("dlv_2", f"{url}/hook", body, (new_secret(),)))
        assert (forged.status, forged.taken) == (401, False)
        assert capsys.readouterr().out == "cortex.job.progress job_1 {}\n"


class TestAnswers:
    @pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
    async def test_any_2xx_is_taken(self, status: int) -> None:
        async with receiving() as receiver:
            receiver.status = lambda got: status
            answer = await send(receiver.url)
        assert (answer.status, answer.error) == (status, "")

    async def test_one_that_never_answers(self) -> None:
        async with talking(b"") as port:
            with soon(5):
                answer = await send(f"http://127.0.0.1:{port}/", seconds=0.2)
        assert (answer.status, answer.error) == (None, "no answer within 0.2 s")

    async def test_one_that_never_ends(self) -> None:
        """A slow answer of endless pieces is over with the time-out; a quick one, when enough came.

        What counts is its status, which is there: it is asked for no more.
        """
        endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        async with talking(endless) as port:
            answer = await send(f"http://127.0.0.1:{port}/", seconds=0.2)
            assert answer.error == "no answer within 0.2 s"
        async with talking(endless + b"400\r\n" + b"x" * 1024 + b"\r\n") as port:
            answer = await send(f"http://127.0.0.1:{port}/")
            assert (answer.taken, answer.body) == (True, "x" * 1024)

    @pytest.mark.parametrize("talk", [b"hello\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\0" * 300_000])
    async def test_one_that_speaks_something_else(self, talk: bytes) -> None:
        async with talking(talk) as port:
            answer = await send(f"http://127.0.0.1:{port}/")
        assert answer.status is None
        assert answer.error.startswith("no answer: ")

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("7", 7), ("99999999", 86400), ("soon", None), ("-1", None), ("", None),
         ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
    )  # fmt: skip
    async def test_how_long_to_wait(self, text: str, seconds: int | None) -> None:
        async with receiving() as receiver:
            receiver.status, receiver.headers = (lambda got: 503), {"retry-after": text}
            answer = await send(receiver.url)
        wanted = None if seconds is None else timedelta(seconds=seconds)
        assert answer.retry_after == wanted
