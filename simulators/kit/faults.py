"""Faults set over HTTP: what a network does to a call when it has a bad day.

A rule names the calls it is for and what happens to the next `times` of them:

| fault | what happens |
|---|---|
| `latency` | the answer comes `seconds` later |
| `rate_limit` | 429 with `Retry-After`, no effect |
| `error_before` | `status` (503), no effect |
| `error_after` | the effect takes place, then `status` (503) |
| `drop_before` | the connection breaks, no effect |
| `drop_after` | the effect takes place, then the connection breaks |
| `malformed` | the effect takes place, the answer is cut off in the middle |
| `stale` | an earlier answer of the same GET |
| `empty` | the answer to a GET has nothing in any of its lists |
| `web_page` | somebody on the way answers with a web page and `page_status` (200), no effect |
"""

import asyncio
import fnmatch
import json
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CONTROL = "/_sim/"
_CALLS_KEPT = 5000

Fault = Literal[
    "latency",
    "rate_limit",
    "error_before",
    "error_after",
    "drop_before",
    "drop_after",
    "malformed",
    "stale",
    "empty",
    "web_page",
]
# Those that may meet any call; `empty` is for lists, `web_page` has tests of its own.
FAULTS: tuple[Fault, ...] = (
    "latency",
    "rate_limit",
    "error_before",
    "error_after",
    "drop_before",
    "drop_after",
    "malformed",
    "stale",
)


class Rule(BaseModel):
    """One fault for some calls."""

    model_config = ConfigDict(extra="forbid")

    match: str = Field(default="* *", description="Method and path, both with `*`: `POST /v1/*`.")
    fault: Fault
    times: int = Field(default=1, ge=1, description="For how many calls.")
    skip: int = Field(default=0, ge=0, description="How many matching calls go through before.")
    status: int = Field(default=503, ge=400, le=599)
    page_status: int = Field(default=200, ge=200, le=599)
    seconds: float = Field(default=0.5, ge=0, le=600)
    retry_after: float = Field(default=1, ge=0)

    def fits(self, method: str, path: str) -> bool:
        """Whether the rule is for this call."""
        verb, _, pattern = self.match.partition(" ")
        if not pattern:
            verb, pattern = "*", verb
        return verb in ("*", method) and fnmatch.fnmatchcase(path, pattern)


class Call(BaseModel):
    """A call as the simulator saw it. `status` is None where no answer was sent."""

    method: str
    path: str
    status: int | None = None
    fault: Fault | None = None


class FaultPlan:
    """The rules in force, and the calls that came."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.calls: deque[Call] = deque(maxlen=_CALLS_KEPT)

    def take(self, method: str, path: str) -> Rule | None:
        """The rule for this call, counted as used."""
        for rule in self.rules:
            if not rule.fits(method, path):
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            rule.times -= 1
            if not rule.times:
                self.rules.remove(rule)
            return rule
        return None


@dataclass
class _Answer:
    start: Message
    body: bytes


class FaultMiddleware:
    """Applies the plan to every HTTP call but those that control the simulator itself."""

    def __init__(self, app: App, plan: FaultPlan) -> None:
        self._app = app
        self._plan = plan
        self._answers: dict[str, _Answer] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(CONTROL):
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        rule = self._plan.take(method, path)
        call = Call(method=method, path=path, fault=rule.fault if rule else None)
        self._plan.calls.append(call)
        if rule is None:
            await self._pass(scope, receive, _noting(send, call))
        else:
            await self._spoil(rule, call, (scope, receive, send))

    async def _spoil(self, rule: Rule, call: Call, asgi: tuple[Scope, Receive, Send]) -> None:
        scope, receive, send = asgi
        noting = _noting(send, call)
        if rule.fault == "latency":
            await asyncio.sleep(rule.seconds)
            await self._pass(scope, receive, noting)
        elif rule.fault == "rate_limit":
            await _error(noting, 429, [(b"retry-after", f"{rule.retry_after:g}".encode())])
        elif rule.fault == "error_before":
            await _error(noting, rule.status)
        elif rule.fault == "drop_before":
            await _break(send)
        elif rule.fault == "web_page":
            await _page(noting, rule.page_status)
        elif rule.fault == "stale" and _resource(scope) in self._answers:
            await _replay(noting, self._answers[_resource(scope)])
        else:
            await self._after(rule, (scope, receive, send), noting)

    async def _after(self, rule: Rule, asgi: tuple[Scope, Receive, Send], noting: Send) -> None:
        """The faults that come after the effect."""
        scope, receive, send = asgi
        answer = await self._hold(scope, receive)
        if rule.fault == "error_after":
            await _error(noting, rule.status)
        elif rule.fault == "drop_after":
            await _break(send)
        elif rule.fault == "malformed":
            await _replay(noting, _cut(answer))
        elif rule.fault == "empty" and scope["method"] == "GET":
            await _replay(noting, _emptied(answer))
        else:
            await _replay(noting, answer)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it through; remember answers to reads, for `stale`."""
        if scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        held = _Answer({}, b"")

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                held.start = message
            elif message["type"] == "http.response.body":
                held.body += message.get("body", b"")
                if not message.get("more_body") and held.start["status"] < 300:
                    self._answers[_resource(scope)] = held
            await send(message)

        await self._app(scope, receive, keep)

    async def _hold(self, scope: Scope, receive: Receive) -> _Answer:
        """Let the effect take place and keep the answer back."""
        answer = _Answer({}, b"")

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.start = message
            elif message["type"] == "http.response.body":
                answer.body += message.get("body", b"")

        await self._app(scope, receive, keep)
        return answer


def _resource(scope: Scope) -> str:
    return f"{scope['path']}?{scope.get('query_string', b'').decode('latin-1')}"


def _noting(send: Send, call: Call) -> Send:
    async def note(message: Message) -> None:
        if message["type"] == "http.response.start":
            call.status = message["status"]
        await send(message)

    return note


async def _break(send: Send) -> None:
    """Cut the connection. The transport is uvicorn's own: the method is bound to its cycle."""
    cycle = getattr(send, "__self__", None)
    transport = getattr(cycle, "transport", None)
    if transport is None:
        raise RuntimeError("a connection can be broken under uvicorn only")
    transport.abort()
    await asyncio.sleep(0.01)  # until uvicorn knows it, and does not report a missing answer


async def _error(send: Send, status: int, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    body = b'{"message":"injected fault"}'
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send(
        {"type": "http.response.start", "status": status, "headers": [*head, *(headers or [])]}
    )
    await send({"type": "http.response.body", "body": body})


_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Just a moment...</title><script>let secret = 1</script>"
    b"</head><body><h1>Checking your browser</h1></body></html>"
)


async def _page(send: Send, status: int) -> None:
    head = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"%d" % len(_PAGE))]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": _PAGE})


async def _replay(send: Send, answer: _Answer) -> None:
    await send(dict(answer.start))
    await send({"type": "http.response.body", "body": answer.body})


def _emptied(answer: _Answer) -> _Answer:
    """Its JSON with nothing in the lists; any other answer as it is."""
    try:
        body = json.dumps(_without_items(json.loads(answer.body))).encode()
    except ValueError:
        return answer
    return _Answer(_of_length(answer.start, len(body)), body)


def _without_items(value: Any) -> Any:
    if isinstance(value, list):
        return []
    if isinstance(value, dict):
        return {name: _without_items(part) for name, part in value.items()}
    return value


def _of_length(start: Message, length: int) -> Message:
    headers = [(k, v) for k, v in start["headers"] if k.lower() != b"content-length"]
    return {**start, "headers": [*headers, (b"content-length", b"%d" % length)]}


def _cut(answer: _Answer) -> _Answer:
    """The first half of the answer, with a length that says it is all; never valid JSON."""
    half = answer.body[: len(answer.body) // 2] + b'{"'
    start = dict(_of_length(answer.start, len(half)))
    if start["status"] in (204, 304):
        start["status"] = 200
    return _Answer(start, half)
