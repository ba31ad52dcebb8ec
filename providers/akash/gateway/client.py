"""A provider's gateway: logs, events and commands in containers, over WebSocket.

Each token is good for one provider and one purpose, for a few minutes.

How the real gateway ends things (provider afc4dd7c, `recordings/akash-gateway`): a log or a shell
that is over ends without a close frame, events with 1000; 4000, 4001 and 4002 are refusals. So the
end of a log says nothing of whether it was complete, and the result of a shell says nothing of
whether its command ran: what was run must prove both itself.
"""

import json
import re
import secrets
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import websockets
from websockets.asyncio.client import ClientConnection, connect

from cortex.faultpoints import passed, path_form
from providers.akash.config import AkashConfig
from providers.akash.console import wire
from providers.akash.console.client import Console
from providers.akash.gateway.trust import ChainCertificates, public
from providers.akash.market import Market
from providers.akash.names import SERVICE
from providers.calls import timed
from providers.errors import LeaseLost, ProviderError, Unavailable

Scope = Literal["logs", "events", "shell"]
_OPEN_TIMEOUT = 20
_MAX_MESSAGE = 8 * 2**20
_STDOUT, _STDERR, _RESULT, _FAILURE = 100, 101, 102, 103
_INTERNAL, _NOT_FOUND, _AWAY = 4000, 4001, 4002
_MARGIN = 30
_MAX_STDERR = 64 * 1024
_MAX_WHY = 200
# $1 is the mark, $2 the script, what follows is for the script. The marks go where no output of
# the script's goes that anybody keeps, on lines of their own.
_PROVEN = """
mark=$1 script=$2
shift 2
printf '%s begin\\n' "$mark" >&2
/bin/sh -c "$script" cortex "$@"
code=$?
printf '\\n%s end %s\\n' "$mark" "$code" >&2
exit "$code"
"""


@dataclass(frozen=True)
class Message:
    """One line of a log, and which copy of the container printed it."""

    pod: str
    text: str


@dataclass(frozen=True)
class Exit:
    """How a command in a container ended, as it proved itself."""

    code: int
    stderr: str


class NotProven(Unavailable):
    """A command of which it is not known that it ran to its end. `began`: it did begin."""

    def __init__(self, message: str, *, began: bool) -> None:
        super().__init__(message)
        self.began = began


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
    ) -> AsyncGenerator[Message, None]:
        """What the container has printed since it was started; ends when there is no more, and
        also where the provider lost the rest: the two look alike.

        Raises:
            LeaseLost: the provider knows no such lease.
            Unavailable: the provider does not answer, or has nothing to show yet.
        """
        query: dict[str, Any] = {"follow": str(follow).lower(), "service": SERVICE}
        if tail is not None:
            query["tail"] = tail
        async with self._open(lease, "logs", "logs", query) as talk:
            async for raw in talk.frames():
                line = talk.object(raw)
                yield Message(str(line.get("name") or ""), str(line.get("message") or ""))

    async def events(self, lease: wire.BidId) -> list[dict[str, Any]]:
        """What Kubernetes reports of the job's containers.

        All of the lease are asked for: with `service` the gateway looks for a label that events
        do not carry.
        """
        async with self._open(lease, "kubeevents", "events", {"follow": "false"}) as talk:
            events = [talk.object(raw) async for raw in talk.frames()]
        return [event for event in events if _concerns(event)]

    async def execute(
        self, lease: wire.BidId, script: str, args: Sequence[str], take: Callable[[bytes], None]
    ) -> Exit:
        """Run a shell script in the container; its output goes to `take` as it comes.

        Raises:
            LeaseLost: there is no such lease.
            NotProven: it did not run, or it is not known how it ended.
            Unavailable: nobody could be asked.
        """
        mark = f"cortex-{secrets.token_hex(8)}"
        words = ("/bin/sh", "-c", _PROVEN, "cortex", mark, script, *args)
        if not all(words):
            raise ValueError("an empty word would cut the command off at the gateway")
        query = [(f"cmd{index}", word) for index, word in enumerate(words)]
        query += [("tty", "0"), ("stdin", "0"), ("podIndex", "0"), ("service", SERVICE)]
        proof = _Proof(mark)
        async with self._open(lease, "shell", "shell", query) as talk:
            async for raw in talk.frames():
                data = raw.encode() if isinstance(raw, str) else raw
                kind, body = (data[0], data[1:]) if data else (0, b"")
                if kind == _STDOUT:
                    take(body)
                elif kind == _STDERR:
                    proof.hear(body)
                elif kind == _RESULT:
                    return proof.outcome(talk.label, str(talk.object(body).get("message") or ""))
                elif kind == _FAILURE:
                    break
        return proof.outcome(talk.label, "the provider could not start it, or lost sight of it")

    @asynccontextmanager
    async def _open(
        self, lease: wire.BidId, path: str, scope: Scope, query: Any
    ) -> AsyncIterator["_Talk"]:
        info = await self._provider(lease.provider)
        url = info.host_uri.rstrip("/").replace("http", "ws", 1)
        url += f"/lease/{lease.dseq}/{lease.gseq}/{lease.oseq}/{path}?{urlencode(query)}"
        socket = await self._admitted(info, url, lease.provider, scope)
        talk = _Talk(info.label, socket)
        try:
            yield talk
        finally:
            await socket.close()

    async def _admitted(
        self, info: wire.ProviderInfo, url: str, provider: str, scope: Scope
    ) -> ClientConnection:
        """An open connection; with a new token, if the one at hand is refused."""
        kept = (provider, scope) in self._tokens
        try:
            return await self._connect(url, await self._token(provider, scope), provider)
        except websockets.InvalidStatus as error:
            self._tokens.pop((provider, scope), None)
            if not kept or error.response.status_code not in (400, 401, 403):
                raise _refused(info.label, error) from None
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            raise _silent(info.label, error) from error
        return await self._admitted(info, url, provider, scope)

    async def _connect(self, url: str, token: str, provider: str) -> ClientConnection:
        context: ssl.SSLContext | None = None
        if url.startswith("wss:"):
            own = provider in self._self_signed
            context = await self._chain.context(provider) if own else public()
        try:
            return await self._dial(url, token, context)
        except ssl.SSLCertVerificationError:
            if self._config.gateway_certificates == "public":
                raise
        # Not a public authority's, or not the one that the chain had when it was last asked.
        fresh = provider in self._self_signed
        socket = await self._dial(url, token, await self._chain.context(provider, fresh=fresh))
        self._self_signed.add(provider)
        return socket

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
                compression=None,
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


class _Talk:
    """An open connection to a gateway."""

    def __init__(self, label: str, socket: ClientConnection) -> None:
        self.label = label
        self._socket = socket

    async def frames(self) -> AsyncIterator[str | bytes]:
        """All messages until the other side ends it, in whatever way that is its usual one.

        Raises:
            LeaseLost, Unavailable: it ends with a refusal, or breaks the protocol.
        """
        while True:
            try:
                frame = await self._socket.recv()
            except websockets.ConnectionClosed as closed:
                trouble = _trouble(self.label, closed)
                if trouble is not None:
                    raise trouble from None
                return
            passed("socket", "after akash gateway frame")
            yield frame

    def object(self, raw: str | bytes) -> dict[str, Any]:
        """The JSON object that a message is."""
        try:
            content = json.loads(raw)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise Unavailable(f"the gateway of provider {self.label} sent what is no JSON object")
        return content


@dataclass
class _Proof:
    """What a command says of itself on its stderr, between its own words."""

    mark: str
    _heard: bytearray = field(default_factory=bytearray)
    _begun: bool = False

    def hear(self, data: bytes) -> None:
        self._heard += data
        if not self._begun and f"{self.mark} begin\n".encode() in self._heard:
            self._begun = True
        del self._heard[:-_MAX_STDERR]

    def outcome(self, label: str, why: str) -> Exit:
        """Its end, as it told it: what the gateway says of it counts for nothing.

        Raises:
            NotProven: it did not tell any; `why` is what the gateway said instead.
        """
        end = re.search(rf"\n{self.mark} end (\d+)\n".encode(), self._heard)
        if not self._begun or end is None:
            what = "broke off" if self._begun else "did not run"
            said = f": {why[:_MAX_WHY]}" if why else ""
            raise NotProven(
                f"a command in the container {what} at provider {label}{said}", began=self._begun
            )
        text = bytes(self._heard[: end.start()]).decode(errors="replace")
        return Exit(int(end[1]), text.removeprefix(f"{self.mark} begin\n"))


def _concerns(event: dict[str, Any]) -> bool:
    """Whether it is about the job's service: its pods are named after it, as is what makes them."""
    about = event.get("object")
    name = str(about.get("name") or "") if isinstance(about, dict) else ""
    return name == SERVICE or name.startswith(f"{SERVICE}-")


def _refused(label: str, error: websockets.InvalidStatus) -> ProviderError:
    """Before the handshake: 400 is for claims of a token, as where the clocks differ."""
    status = error.response.status_code
    said = _said(error.response.body)
    if status == 404:
        return LeaseLost(f"provider {label} knows nothing of the lease")
    if status in (400, 401, 403) and ("JWT" in said or status != 400):
        clock = " (its clock may be wrong by minutes)" if status == 400 else ""
        return Unavailable(f"provider {label} refuses the Console's token: {said}{clock}")
    return Unavailable(f"provider {label} answers with {status}{f': {said}' if said else ''}")


def _said(body: bytes | bytearray | None) -> str:
    """The text of a refusal, whatever form it has."""
    text = bytes(body or b"").decode(errors="replace").strip()
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict) and isinstance(parsed.get("message"), str):
        text = parsed["message"]
    return " ".join(text.split())[:_MAX_WHY]


def _silent(label: str, error: BaseException) -> Unavailable:
    """Nobody answers, or somebody whose certificate is not the provider's."""
    name = type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        why = "its certificate is neither a public authority's nor the one on the chain"
        return Unavailable(f"provider {label} cannot be trusted: {why} ({name})")
    return Unavailable(f"provider {label} does not answer ({name})")


def _trouble(label: str, closed: websockets.ConnectionClosed) -> ProviderError | None:
    """What an end says; None where it is the usual one, which needs no close frame."""
    received = closed.rcvd
    if received is not None and received.code in (_INTERNAL, _NOT_FOUND, _AWAY):
        if received.code == _NOT_FOUND:
            return LeaseLost(f"provider {label} knows nothing of the lease")
        if received.code == _AWAY:
            return Unavailable(f"provider {label} cannot reach its cluster now")
        why = received.reason or "its container is not up"
        return Unavailable(f"provider {label} has nothing to show of the job: {why[:_MAX_WHY]}")
    if received is None and closed.sent is not None:  # this side hung up: it could not go on
        why = "a message that is too long" if closed.sent.code == 1009 else closed.sent.reason
        return Unavailable(
            f"the gateway of provider {label} does not keep to the protocol: {why[:_MAX_WHY]}"
        )
    return None
