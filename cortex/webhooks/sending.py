"""One request to a receiver: signed, to a checked address, never redirected, bounded in all."""

import asyncio
import email.utils
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cortex import faultpoints
from cortex.webhooks.addresses import Refused, Resolve, Rules, addresses_of, check_url, look_up
from cortex.webhooks.signing import signed_headers

if TYPE_CHECKING:
    import httpx


GONE: Final = 410
_KEPT: Final = 1024
_MOST_ADDRESSES: Final = 3
_ERROR: Final = 300
_WAIT_STATUSES: Final = frozenset({429, 503})


@dataclass(frozen=True)
class Message:
    """What is sent, and with what.

    Attributes:
        id: The same at each attempt.
        secrets: Each makes a signature.
        headers: More of them; their values are secret.
    """

    id: str
    url: str
    body: bytes
    secrets: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    Attributes:
        status: What was answered; None: nothing was.
        error: Why it counts as failed; empty: it was taken.
        body: The first bytes of the answer.
        retry_after: What the receiver asks to wait.
    """

    time: datetime
    seconds: float
    status: int | None = None
    error: str = ""
    body: str = ""
    retry_after: timedelta | None = None

    @property
    def taken(self) -> bool:
        return not self.error


class Sender:
    """Sends messages; nothing is shared between two requests but what verifies certificates."""

    def __init__(
        self,
        rules: Rules,
        timeout: timedelta,
        *,
        resolve: Resolve = look_up,
        certificates: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._rules = rules
        self._timeout = timeout.total_seconds()
        self._resolve = resolve
        self._make_certificates = certificates
        self._certificates: ssl.SSLContext | None = None

    async def send(self, message: Message) -> Answer:
        """Try once; whatever goes wrong is told by the answer."""
        import httpx  # takes some MiB, and many never send

        began, now = time.monotonic(), datetime.now(UTC)
        status, body, wait, error = None, b"", None, ""
        try:
            async with asyncio.timeout(self._timeout):
                status, body, wait = await self._sent(message, now)
            error = _judged(status)
        except TimeoutError:
            error = f"no answer within {self._timeout:g} s"
        except Refused as refused:
            error = f"the URL {refused}"
        except httpx.HTTPError as failed:
            error = f"no answer: {_name(failed)}"
        except ssl.SSLError as failed:
            error = f"no secure connection: {failed.reason or type(failed).__name__}"
        except OSError as failed:
            error = f"the host cannot be reached: {failed.strerror or failed}"
        except (ValueError, httpx.InvalidURL):
            error = "the request cannot be sent as it is"
        return Answer(
            time=now,
            seconds=round(time.monotonic() - began, 3),
            status=status,
            error=error[:_ERROR],
            body=body.decode(errors="replace").replace("\0", "\ufffd"),
            retry_after=wait,
        )

    async def _sent(self, message: Message, now: datetime) -> tuple[int, bytes, timedelta | None]:
        import httpx

        url = check_url(message.url, self._rules)
        addresses = await addresses_of(url, self._rules, self._resolve)
        signed = signed_headers(message.secrets, message.id, now, message.body)
        headers = {
            **message.headers,
            **signed,
            "host": url.netloc.decode("ascii"),
            "content-type": "application/cloudevents+json",
            "user-agent": "Cortex-Webhooks/1",
            # Bytes are kept as they come: what is packed would have to be unpacked, however large.
            "accept-encoding": "identity",
            "connection": "close",
        }
        *others, last = addresses[:_MOST_ADDRESSES]
        for address in others:
            try:
                return await self._asked(url, address, headers, message.body)
            except httpx.ConnectError:
                continue
        return await self._asked(url, last, headers, message.body)

    async def _asked(
        self, url: "httpx.URL", address: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes, timedelta | None]:
        """The transport itself: it knows no redirects, no cookies, no proxy of the environment.

        A new one each time: a connection that was verified for one name must not serve another.
        """
        import httpx

        if self._certificates is None:
            make = self._make_certificates or httpx.create_ssl_context
            self._certificates = await asyncio.to_thread(make)
        faultpoints.passed("http", "before webhook POST")
        request = httpx.Request(
            "POST",
            url.copy_with(host=address),
            headers=dict(headers),
            content=body,
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        async with httpx.AsyncHTTPTransport(verify=self._certificates, trust_env=False) as wire:
            response = await wire.handle_async_request(request)
            try:
                kept = await _first_bytes(response)
            finally:
                await response.aclose()
        faultpoints.passed("http", "after webhook POST")
        wait = _retry_after(response) if response.status_code in _WAIT_STATUSES else None
        return response.status_code, kept, wait


async def _first_bytes(response: "httpx.Response") -> bytes:
    kept = b""
    async for piece in response.aiter_raw():
        kept += piece
        if len(kept) >= _KEPT:
            break
    return kept[:_KEPT]


def _judged(status: int) -> str:
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"it answered {status}: redirects are not followed"
    return f"it answered {status}"


def _retry_after(response: "httpx.Response") -> timedelta | None:
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text), 86400))
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        return None
    return min(max(when - datetime.now(UTC), timedelta(0)), timedelta(days=1))


def _name(error: "httpx.HTTPError") -> str:
    """Its kind and its words, which name no URL: httpx puts none into those of the transport."""
    words = str(error).strip()
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
