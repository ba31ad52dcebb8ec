"""HTTP over the engine's unix socket, with every failure turned into a typed error."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import quote

import httpx

from cortex.faultpoints import http_hooks
from providers.docker.wire import Version
from providers.errors import AuthenticationFailed, OutcomeUnknown, RateLimited, Unavailable
from providers.noted_client import NotedClient

Method = Literal["GET", "HEAD", "POST", "PUT", "DELETE"]
# The newest API that this code was written for; older engines name their own. Docker 29 speaks
# nothing older than 1.44, Podman 4 nothing newer than 1.41.
API_VERSION = (1, 44)
CALL_TIMEOUT = 30.0
_READ_TRIES = 6
_STUMBLE = 0.05
"""Seconds until a read is repeated; what goes away takes no longer."""


class EngineRefused(Unavailable):
    """The engine answered with an error; the call had no effect.

    Callers translate the ones they know; any other means that the engine is out of order.
    """

    def __init__(self, status: int, message: str, call: str) -> None:
        super().__init__(f"the container engine refused `{call}` ({status}): {message}")
        self.status = status
        self.message = message

    @property
    def missing(self) -> bool:
        """What the call was about does not exist. Podman says 500 if it goes away meanwhile."""
        gone = ("no such container", "no such volume")
        return self.status == 404 or any(words in self.message for words in gone)

    @property
    def stumbled(self) -> bool:
        """It may be well the next moment: a read is worth repeating, an effect is not."""
        return self.status == 500


class Engine:
    """One container engine. Knows HTTP and errors, nothing of jobs."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.version = Version()
        self._prefix = ""
        # Every followed log holds a connection, so their number has no limit here.
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=16, keepalive_expiry=5
        )
        self._client = NotedClient(
            "engine",
            transport=httpx.AsyncHTTPTransport(uds=socket, limits=limits),
            base_url="http://engine",
            timeout=CALL_TIMEOUT,
            event_hooks=http_hooks("engine"),
        )

    @property
    def is_podman(self) -> bool:
        return self.version.is_podman

    async def open(self) -> None:
        """Ask for the engine's version and agree on the API's."""
        self.version = Version.model_validate(await self.get("/version", versioned=False))
        theirs = tuple(int(part) for part in self.version.api_version.split(".")[:2])
        self._prefix = "/v" + ".".join(str(part) for part in min(theirs, API_VERSION))

    async def close(self) -> None:
        await self._client.aclose()

    async def get(
        self, path: str, params: Mapping[str, str] | None = None, *, versioned: bool = True
    ) -> Any:
        """The JSON answer of a GET."""
        answer = await self.call("GET", path, params=params, versioned=versioned)
        return self._json(answer, path)

    async def get_list(self, path: str, params: Mapping[str, str]) -> Any:
        """A listing; asked again where Podman stumbles over an entry that is being removed."""
        return self._json(await self._get_again(path, params, missing=True), path)

    async def get_one(self, path: str) -> Any:
        """What is there of one thing; asked again where Podman stumbles, as it is being removed.

        Raises:
            EngineRefused: it is `missing`, or the engine goes on stumbling.
        """
        return self._json(await self.get_raw(path), path)

    async def get_raw(self, path: str, params: Mapping[str, str] | None = None) -> httpx.Response:
        """The same, as it was answered."""
        return await self._get_again(path, params, missing=False)

    async def _get_again(
        self, path: str, params: Mapping[str, str] | None, *, missing: bool
    ) -> httpx.Response:
        """Of something that may go away meanwhile: Podman says 500 then, in words of whatever part
        of it found nothing any more, or in none. With `missing` it may also be an entry of it.
        """
        for _ in range(_READ_TRIES - 1):
            try:
                return await self.call("GET", path, params=params)
            except EngineRefused as refused:
                again = missing if refused.missing else refused.stumbled
                if not again:
                    raise
            await asyncio.sleep(_STUMBLE)
        return await self.call("GET", path, params=params)

    def _json(self, answer: httpx.Response, path: str) -> Any:
        try:
            return answer.json()
        except ValueError:
            raise Unavailable(
                f"{self._who} answered `GET {path}` with something else than JSON"
            ) from None

    async def call(
        self,
        method: Method,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
        timeout: float = CALL_TIMEOUT,
        repeatable: bool = False,
        versioned: bool = True,
    ) -> httpx.Response:
        """One call and its whole answer.

        `repeatable` says that doing it twice does no harm: then a lost answer is `Unavailable`
        (call again) and not `OutcomeUnknown`.

        Raises:
            EngineRefused: the engine answered with an error.
            Unavailable, OutcomeUnknown, RateLimited, AuthenticationFailed: no usable answer.
        """
        url = (self._prefix if versioned else "") + path
        try:
            answer = await self._client.request(
                method, url, params=params, json=body, content=content, timeout=timeout
            )
        except httpx.TransportError as error:
            raise self._lost(error, method, path, repeatable or method in ("GET", "HEAD")) from None
        _raise_for(answer, f"{method} {path}")
        return answer

    @asynccontextmanager
    async def stream(
        self,
        method: Method,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        read_timeout: float | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """A call whose answer is read bit by bit; errors as in `call`, also while reading."""
        timeout = httpx.Timeout(CALL_TIMEOUT, read=read_timeout)
        try:
            async with self._client.stream(
                method, self._prefix + path, params=params, headers=headers, timeout=timeout
            ) as answer:
                if answer.is_error:
                    await answer.aread()
                _raise_for(answer, f"{method} {path}")
                yield answer
        except httpx.TransportError as error:
            raise self._lost(error, method, path, repeatable=True) from None

    @property
    def _who(self) -> str:
        return f"the container engine at `{self.socket}`"

    def _lost(
        self, error: httpx.TransportError, method: str, path: str, repeatable: bool
    ) -> Unavailable | OutcomeUnknown | AuthenticationFailed:
        reason = str(error) or type(error).__name__
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
            if "Permission denied" in reason:
                return AuthenticationFailed(
                    f"{self._who} may not be used by this user: {reason}; "
                    "add the user to the socket's group"
                )
            return Unavailable(
                f"{self._who} cannot be reached: {reason}; is Docker or Podman's service running?"
            )
        lost = f"{self._who} gave no answer to `{method} {path}`: {reason}"
        return Unavailable(lost) if repeatable else OutcomeUnknown(lost)


def segment(text: str) -> str:
    """A name as one segment of a path."""
    return quote(text, safe="")


def filters(**values: str) -> str:
    """The engine's filter parameter: `filters(label="a=b")`."""
    return json.dumps({name: [value] for name, value in values.items()})


def _raise_for(answer: httpx.Response, call: str) -> None:
    if not answer.is_error:
        return
    message = _message(answer)
    if answer.status_code == 429:
        raise RateLimited(f"the container engine refused `{call}`: {message}")
    if answer.status_code in (401, 403):
        raise AuthenticationFailed(f"the container engine refused `{call}`: {message}")
    raise EngineRefused(answer.status_code, message, call)


def _message(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if isinstance(body, dict):
        body = body.get("message") or body.get("cause")
    return str(body or answer.text or answer.reason_phrase)[:2000].strip()
