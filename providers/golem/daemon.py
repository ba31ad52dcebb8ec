"""REST calls to one yagna daemon, and what its refusals mean.

The daemon's own statuses differ from its published specification (a success is 200, 201 or 204 by
its whim), so every success is taken; a status that a caller can use is named in `expect`.
"""

import json
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from cortex.faultpoints import http_hooks
from providers.errors import (
    AuthenticationFailed,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    Unavailable,
)
from providers.golem.config import GolemConfig
from providers.http import is_page, message_of, retry_after
from providers.noted_client import NotedClient

T = TypeVar("T")
_CONNECT = 5.0
_SLACK = 10.0
_PLAIN = 15.0
_QUICK = 4.0
_LONGEST_TEXT = 300


class Answer(NamedTuple):
    """A status and what came with it."""

    status: int
    body: Any

    @property
    def message(self) -> str:
        """What the daemon says is wrong, shortened."""
        body = self.body
        if isinstance(body, dict):
            body = body.get("message") or body.get("detail") or body.get("internalError") or ""
        return str(body)[:_LONGEST_TEXT]

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Daemon:
    """One HTTP client for one daemon and one app-key."""

    def __init__(self, config: GolemConfig) -> None:
        self._config = config
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        if self._client is None:
            key = self._config.app_key.get_secret_value()
            self._client = NotedClient(
                "yagna",
                base_url=self._config.url,
                headers={"authorization": f"Bearer {key}"},
                timeout=httpx.Timeout(_PLAIN, connect=_CONNECT),
                limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
                event_hooks=http_hooks("yagna"),
            )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def read(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        expect: Collection[int] = (),
        wait: float = 0,
    ) -> Answer:
        """Ask for something; `wait` is how long the daemon itself may take to answer.

        Raises:
            Unavailable: no answer, or one that cannot be used.
        """
        return await self._call("GET", path, None, params, expect, wait, effect=False)

    async def effect(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        expect: Collection[int] = (),
        wait: float = 0,
    ) -> Answer:
        """Do something.

        Raises:
            OutcomeUnknown: it may have been done.
            Unavailable: it was not done.
        """
        return await self._call(method, path, body, params, expect, wait, effect=True)

    async def get(
        self, kind: type[T], path: str, *, params: Mapping[str, Any] | None = None, wait: float = 0
    ) -> T:
        """Read one thing or a list of things of this kind."""
        return parse(kind, (await self.read(path, params=params, wait=wait)).body, path)

    async def find(self, kind: type[T], path: str, *, gone: Collection[int] = (404,)) -> T | None:
        """Read one thing; None where the daemon says that there is no such thing."""
        answer = await self.read(path, expect=gone)
        return parse(kind, answer.body, path) if answer.ok else None

    async def _call(
        self,
        method: str,
        path: str,
        body: Any,
        params: Mapping[str, Any] | None,
        expect: Collection[int],
        wait: float,
        *,
        effect: bool,
    ) -> Answer:
        if self._client is None:
            raise Unavailable("the connection to the yagna daemon is not open")
        lost: type[ProviderError] = OutcomeUnknown if effect else Unavailable
        # Reasons are optional by the specification, yet a body that is JSON is demanded.
        content = json.dumps(body, default=_plain).encode() if method in ("POST", "PUT") else None
        request = self._client.build_request(
            method,
            path,
            content=content,
            params=dict(params) if params else None,
            headers={"content-type": "application/json"} if content else None,
        )
        try:
            if effect or wait:
                response = await self._sent(request, max(_PLAIN, wait + _SLACK))
            else:
                response = await self._read_twice(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise Unavailable(f"the yagna daemon at {self._config.url} cannot be reached") from None
        except httpx.HTTPError as error:
            what = type(error).__name__
            raise lost(f"the yagna daemon gave no whole answer to {_shown(path)}: {what}") from None
        if is_page(response):  # of a proxy: its 404 or 403 is not the daemon's word
            what = f"{response.status_code} and {message_of(response)} instead of data"
            raise lost(f"at the yagna daemon's address somebody answers with {what}")
        answer = Answer(response.status_code, _body(response))
        if answer.status in expect:
            return answer
        if answer.ok:
            if answer.body is _BROKEN:
                what = message_of(response) if is_page(response) else "what is no JSON"
                raise lost(f"the yagna daemon answered {_shown(path)} with {what}")
            return answer
        raise _refusal(answer, path, response, lost)

    async def _read_twice(self, request: httpx.Request) -> httpx.Response:
        """Seen with 0.17.6: an agreement read at the very moment of its approval is never told,
        and told at once when it is asked for again.
        """
        try:
            return await self._sent(request, _QUICK)
        except httpx.ReadTimeout:
            return await self._sent(request, _PLAIN)

    async def _sent(self, request: httpx.Request, seconds: float) -> httpx.Response:
        if self._client is None:
            raise httpx.ConnectError("closed")
        patience = httpx.Timeout(seconds, connect=_CONNECT)
        request.extensions = {**request.extensions, "timeout": patience.as_dict()}
        return await self._client.send(request)


def parse(kind: type[T], body: Any, path: str) -> T:
    """The body as this kind of thing.

    Raises:
        Unavailable: it is none.
    """
    try:
        return TypeAdapter(kind).validate_python(body)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Unavailable(
            f"the yagna daemon answered {_shown(path)} in a way not known (at `{where}`)"
        ) from None


_BROKEN = object()


def _body(response: httpx.Response) -> Any:
    if not response.content:
        return None
    try:
        return json.loads(response.content, parse_float=Decimal)
    except ValueError:
        if response.is_success:
            return _BROKEN
        return message_of(response) if is_page(response) else response.text[:_LONGEST_TEXT]


def _refusal(
    answer: Answer, path: str, response: httpx.Response, lost: type[ProviderError]
) -> ProviderError:
    if answer.status in (401, 403):
        return AuthenticationFailed(
            "the yagna daemon refuses the app-key; `yagna app-key list` shows the valid ones"
        )
    if answer.status == 429:
        return RateLimited("the yagna daemon is asked too often", retry_after(response))
    text = f"the yagna daemon refused {_shown(path)} with {answer.status}: {answer.message}"
    if answer.status >= 500 or answer.status == 408:
        return lost(text)
    return Unavailable(text)


def _shown(path: str) -> str:
    """The path as it may be shown: without the long ids."""
    return "/".join(part if len(part) < 24 else f"{part[:8]}…" for part in path.split("/"))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} is not sent to the daemon")
