"""HTTP for adapters: one client per provider, and one place that turns answers into typed errors.

Whether a call may have had an effect decides what a lost answer means: of a read, `Unavailable`;
of an effect, `OutcomeUnknown`, unless the connection was never made.
"""

import email.utils
import html
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from cortex import faultpoints
from providers.errors import (
    AuthenticationFailed,
    InsufficientFunds,
    InvalidSpec,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    Unavailable,
)
from providers.noted_client import NotedClient

_MAX_TEXT = 300
_MAX_PAGE = 4000
_MAX_RETRY_AFTER = timedelta(minutes=10)
# With these nothing has reached the network's application: sending again is safe.
_TITLE = re.compile(r"<title[^>]*>(?P<text>[^<]*)", re.IGNORECASE)
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class Refused(ProviderError):
    """An answer without a general meaning: the adapter says what it means there.

    A 4xx, or a 5xx with one of the `codes` that the adapter has asked for.
    """

    def __init__(self, status: int, message: str, body: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class HttpClient:
    """Calls one network's API and raises what the contract knows.

    `who` is named in messages ("Akash Console"). Nothing of a request is ever put into an error:
    bodies hold secrets.
    """

    def __init__(
        self,
        base_url: str,
        *,
        who: str,
        headers: Mapping[str, str] | None = None,
        timeout: timedelta = timedelta(seconds=30),
        transport: httpx.AsyncBaseTransport | None = None,
        auth: httpx.Auth | None = None,
    ) -> None:
        self.who = who
        self.raw = NotedClient(
            who,
            base_url=base_url,
            headers=dict(headers or {}),
            timeout=httpx.Timeout(timeout.total_seconds(), connect=10),
            limits=httpx.Limits(max_connections=50, max_keepalive_connections=10),
            transport=transport,
            auth=auth,
            event_hooks=faultpoints.http_hooks(who),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self.raw.aclose()

    async def get(self, path: str, **options: Any) -> Any:
        """The JSON of a read."""
        return self.json(await self.call("GET", path, **options))

    async def send(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of a call with an effect."""
        response = await self.call(method, path, effect=True, **options)
        return self.json(response, effect=True)

    async def call(
        self,
        method: str,
        path: str,
        *,
        effect: bool = False,
        timeout: timedelta | None = None,
        codes: Collection[str] = (),
        **options: Any,
    ) -> httpx.Response:
        """An answer with a 2xx status.

        `codes`: values of the field `code` with which a 5xx is the adapter's to explain, too.

        Raises:
            Refused: an answer that is the adapter's to explain.
            AuthenticationFailed, InsufficientFunds, RateLimited: 401 and 403, 402, 429.
            Unavailable: nothing came of it; it can be sent again.
            OutcomeUnknown: it may have had its effect.
        """
        if timeout is not None:
            options["timeout"] = httpx.Timeout(timeout.total_seconds(), connect=10)
        try:
            response = await self.raw.request(method, path, **options)
        except _NOT_SENT as error:
            raise Unavailable(f"{self.who} cannot be reached ({_name(error)})") from error
        except httpx.HTTPError as error:
            raise self._lost(
                f"the answer of {self.who} was lost ({_name(error)})", effect
            ) from error
        if not response.is_success and is_page(response) and response.status_code != 429:
            # Somebody on the way: its 404 or 403 says nothing of a lease, nor of the credentials.
            what = f"{response.status_code} and {message_of(response)} instead of data"
            raise self._lost(f"{self.who} answers with {what}", effect)
        if codes and not response.is_success and code_of(body := _body(response)) in codes:
            message = f"{self.who}: {message_of(response)}"
            raise Refused(response.status_code, message, body)
        self.check(response, effect=effect)
        return response

    def check(self, response: httpx.Response, *, effect: bool = False) -> None:
        """Raise what a status means, as `call` does."""
        if response.is_success:
            return
        status, message = response.status_code, f"{self.who}: {message_of(response)}"
        if status in (401, 403):
            raise AuthenticationFailed(
                f"{self.who} refuses the credentials: {message_of(response)}"
            )
        if status == 402:
            raise InsufficientFunds(message)
        if status == 429:
            raise RateLimited(f"{self.who} asks for fewer calls", retry_after(response))
        if status >= 500 or response.is_redirect:
            raise self._lost(f"{self.who} answers with {status}: {message_of(response)}", effect)
        raise Refused(status, message, _body(response))

    def json(self, response: httpx.Response, *, effect: bool = False) -> Any:
        """The body of an answer; None where it is empty."""
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            text = f"the answer of {self.who} is damaged"
            if is_page(response):
                text = f"{self.who} answers with {message_of(response)} instead of data"
            raise self._lost(text, effect) from error

    def _lost(self, message: str, effect: bool) -> ProviderError:
        return OutcomeUnknown(message) if effect else Unavailable(message)


def invalid(error: Refused) -> InvalidSpec:
    """For adapters: this refusal says that the job can never run there."""
    return InvalidSpec(str(error))


def code_of(body: Any) -> str:
    """The field `code` of a refusal's body; empty where there is none."""
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, str) else ""


def message_of(response: httpx.Response) -> str:
    """What the network says about its refusal, cut to a sentence."""
    body = _body(response)
    text = ""
    if is_page(response):
        match = _TITLE.search(response.text[:_MAX_PAGE])
        title = html.unescape(match["text"]).strip() if match else ""
        text = f"a web page (`{title[:80]}`)" if title else "a web page"
    elif isinstance(body, dict):
        for name in ("message", "detail", "error", "title"):
            message = body.get(name)
            if isinstance(message, dict):
                message = message.get("message") or message.get("code")
            if isinstance(message, str) and message:
                text = message
                break
    elif isinstance(body, str):
        text = body
    text = " ".join(text.split()) or response.reason_phrase or f"status {response.status_code}"
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def retry_after(response: httpx.Response) -> timedelta:
    """How long the network wants to be left alone: seconds or a date, at most ten minutes."""
    text = response.headers.get("retry-after", "")
    try:
        wait = timedelta(seconds=float(text))
    except ValueError:
        moment = email.utils.parsedate_to_datetime(text) if _is_date(text) else None
        wait = moment - datetime.now(UTC) if moment else timedelta(seconds=5)
    return min(max(wait, timedelta(0)), _MAX_RETRY_AFTER)


def _is_date(text: str) -> bool:
    return email.utils.parsedate(text) is not None


def _body(response: httpx.Response) -> Any:
    if "json" not in response.headers.get("content-type", ""):
        return response.text[:_MAX_TEXT]
    try:
        return response.json()
    except ValueError:
        return response.text[:_MAX_TEXT]


def is_page(response: httpx.Response) -> bool:
    """Whether it is a web page: somebody else has answered than the network's API."""
    if "html" in response.headers.get("content-type", ""):
        return True
    return response.content[:200].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _name(error: Exception) -> str:
    return type(error).__name__
