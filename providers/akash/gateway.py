"""A provider's gateway: logs, events and commands in containers, over WebSocket.

Each token is good for one provider and one purpose, for a few minutes.
"""

import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import websockets
from websockets.asyncio.client import ClientConnection, connect

from cortex.faultpoints import passed, path_form
from providers.akash import wire
from providers.akash.bids import Market
from providers.akash.config import AkashConfig
from providers.akash.console import Console
from providers.akash.names import SERVICE
from providers.akash.trust import ChainCertificates, public
from providers.calls import timed
from providers.errors import LeaseLost, ProviderError, Unavailable

Scope = Literal["logs", "events", "shell"]
_OPEN_TIMEOUT = 20
_MAX_MESSAGE = 8 * 2**20
_STDOUT, _STDERR, _RESULT, _FAILURE = 100, 101, 102, 103
_NOT_FOUND, _AWAY = 4001, 4002
_MARGIN = 30
_MAX_STDERR = 64 * 1024


@dataclass(frozen=True)
class Message:
    """One line of a log, and which copy of the container printed it."""

    pod: str
    text: str


@dataclass(frozen=True)
class Exit:
    """How a command in a container ended."""

    code: int
    stderr: str


class Gateway:
    """Talks to the gateways of all providers."""

    def __init__(self, console: Console, config: AkashConfig, market: Market) -> None:
        self._console = console
        self._config = config
        self._market = market
        self._chain = ChainCertificates(config)
        self._self_signed: set[str] = set()
        self._tokens: dict[tuple[str, Scope], tuple[str, float]] = {}

    async def aclose(self) -> None:
        await self._chain.aclose()

    async def logs(
        self, lease: wire.BidId, *, follow: bool = False, tail: int | None = None
    ) -> AsyncIterator[Message]:
        """What the container has printed since it was started; ends when there is no more.

        Raises:
            LeaseLost: the provider knows no such lease.
            Unavailable: the provider does not answer, or has nothing to show yet.
        """
        query: dict[str, Any] = {"follow": str(follow).lower(), "service": SERVICE}
        if tail is not None:
            query["tail"] = tail
        async with self._open(lease, "logs", "logs", query) as socket:
            async for raw in _frames(socket):
                item = _object(raw)
                yield Message(str(item.get("name", "")), str(item.get("message", "")))

    async def events(self, lease: wire.BidId) -> list[dict[str, Any]]:
        """What Kubernetes reports of the lease."""
        query = {"follow": "false", "service": SERVICE}
        async with self._open(lease, "kubeevents", "events", query) as socket:
            return [_object(raw) async for raw in _frames(socket)]

    async def execute(
        self, lease: wire.BidId, argv: Sequence[str], take: Callable[[bytes], None]
    ) -> Exit:
        """Run a command in the container; its output goes to `take` as it comes.

        Raises:
            LeaseLost, Unavailable: it did not run, or it is not known how it ended.
        """
        query = [(f"cmd{index}", word) for index, word in enumerate(argv)]
        query += [("tty", "0"), ("stdin", "0"), ("podIndex", "0"), ("service", SERVICE)]
        stderr = bytearray()
        async with self._open(lease, "shell", "shell", query) as socket:
            async for raw in _frames(socket):
                data = raw.encode() if isinstance(raw, str) else raw
                kind, body = (data[0], data[1:]) if data else (0, b"")
                if kind == _STDOUT:
                    take(body)
                elif kind == _STDERR and len(stderr) < _MAX_STDERR:
                    stderr += body
                elif kind == _RESULT:
                    code = int(_object(body).get("exit_code", 0))
                    return Exit(code, stderr.decode(errors="replace"))
                elif kind == _FAILURE:
                    raise Unavailable("the provider could not run a command in the container")
        raise Unavailable("the provider broke off a command in the container")

    @asynccontextmanager
    async def _open(
        self, lease: wire.BidId, path: str, scope: Scope, query: Any
    ) -> AsyncIterator[ClientConnection]:
        info = await self._provider(lease.provider)
        url = info.host_uri.rstrip("/").replace("http", "ws", 1)
        url += f"/lease/{lease.dseq}/{lease.gseq}/{lease.oseq}/{path}?{urlencode(query)}"
        token = await self._token(lease.provider, scope)
        try:
            socket = await self._connect(url, token, lease.provider)
        except websockets.InvalidStatus as error:
            self._tokens.pop((lease.provider, scope), None)
            raise _refused(info, error.response.status_code) from None
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            name = type(error).__name__
            raise Unavailable(f"provider {info.label} does not answer ({name})") from error
        try:
            yield socket
        except websockets.ConnectionClosed as closed:
            raise _closed(info, closed) from None
        finally:
            await socket.close()

    async def _connect(self, url: str, token: str, provider: str) -> ClientConnection:
        context: ssl.SSLContext | None = None
        if url.startswith("wss:"):
            own = provider in self._self_signed
            context = await self._chain.context(provider) if own else public()
        try:
            return await self._dial(url, token, context)
        except ssl.SSLCertVerificationError:
            if self._config.gateway_certificates == "public" or provider in self._self_signed:
                raise
        found = await self._dial(url, token, await self._chain.context(provider))
        self._self_signed.add(provider)
        return found

    async def _dial(self, url: str, token: str, context: ssl.SSLContext | None) -> ClientConnection:
        passed("socket", "before akash gateway")
        with timed("akash gateway", f"WS {path_form(urlsplit(url).path)}"):
            socket = await connect(
                url,
                ssl=context,
                additional_headers={"Authorization": f"Bearer {token}"},
                max_size=_MAX_MESSAGE,
                open_timeout=_OPEN_TIMEOUT,
                close_timeout=2,
            )
        passed("socket", "after akash gateway")
        return socket

    async def _provider(self, address: str) -> wire.ProviderInfo:
        info = (await self._market.known()).get(address)
        if info is None:
            info = await self._console.provider(address)
        if info is None:
            raise Unavailable(f"provider {address} is not known to the network any more")
        return info

    async def _token(self, provider: str, scope: Scope) -> str:
        token, until = self._tokens.get((provider, scope), ("", 0.0))
        if time.monotonic() >= until:
            ttl = self._config.token_ttl
            token = await self._console.token(provider, [scope], ttl)
            until = time.monotonic() + max(1.0, ttl.total_seconds() - _MARGIN)
            self._tokens[provider, scope] = (token, until)
        return token


async def _frames(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    """All that comes until the other side ends it in order."""
    while True:
        try:
            frame = await socket.recv()
        except websockets.ConnectionClosedOK:
            return
        passed("socket", "after akash gateway frame")
        yield frame


def _object(raw: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unavailable("a provider's gateway sent something that is not known")
    return found


def _refused(info: wire.ProviderInfo, status: int) -> ProviderError:
    if status == 404:
        return LeaseLost(f"provider {info.label} knows nothing of the lease")
    if status in (401, 403):
        return Unavailable(f"provider {info.label} refuses the token that the Console gave")
    return Unavailable(f"provider {info.label} answers with {status}")


def _closed(info: wire.ProviderInfo, closed: websockets.ConnectionClosed) -> ProviderError:
    code = closed.rcvd.code if closed.rcvd else None
    if code == _NOT_FOUND:
        return LeaseLost(f"provider {info.label} knows nothing of the lease")
    return Unavailable(f"provider {info.label} broke off (code {code or 'none'})")
