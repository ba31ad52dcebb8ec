"""The thin layer that does the I/O, once awaiting and once blocking; it decides nothing."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TypeVar

import httpx

from cortex.client._routes.call import Call
from cortex.client.connection import Connection
from cortex.client.downloads import Download
from cortex.client.errors import BadAnswer, NotConfigured
from cortex.client.logins import SessionAuth
from cortex.client.retry import RetryPolicy, Tries
from cortex.client.streams import Follower, Stream
from cortex.client.tags import Tags
from cortex.client.urls import asked_url

T = TypeVar("T")


class AsyncTransport:
    """Sends calls and reads streams, again where that is safe. One per client."""

    def __init__(
        self,
        connection: Connection,
        *,
        timeout: float,
        retry: RetryPolicy,
        stream_retry: RetryPolicy,
    ) -> None:
        self.connection = connection
        self._retry = retry
        self._stream_retry = stream_retry
        self._tags = Tags()
        self._http = httpx.AsyncClient(
            base_url=connection.url,
            headers=_headers(connection),
            auth=_auth(connection),
            timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)),
            trust_env=connection.trust_env,
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def call(self, call: Call[T], *, patient: bool = False) -> T:
        """Send one request until it is answered.

        Args:
            call: The request.
            patient: Try as often as a stream does.
        """
        policy = self._stream_retry if patient else self._retry
        tries = Tries(policy, self.connection.url, repeatable=call.repeatable)
        headers = self._tags.headers(call)
        while True:
            try:
                response = await self._http.request(
                    call.method,
                    call.path,
                    params=call.params,
                    content=call.body,
                    headers=headers,
                )
            except httpx.TransportError as error:
                pause = tries.lost(error)
            else:
                if response.is_success or response.status_code in call.good:
                    self._tags.note(call, response)
                    return _parsed(call, response)
                pause = tries.refused(response)
            await asyncio.sleep(pause)

    async def follow(self, stream: Stream[T], *, deadline: float | None = None) -> AsyncIterator[T]:
        """The items of a stream to its end, over as many connections as it takes.

        Args:
            stream: What to read.
            deadline: Stop at this `time.monotonic`; None: at its end.
        """
        url = self.connection.url
        state = Follower(stream, policy=self._stream_retry, url=url, deadline=deadline)
        while not state.ended:
            try:
                async with self._http.stream(
                    "GET",
                    state.path,
                    params=state.params(),
                    headers=state.headers(),
                    timeout=state.timeout(),
                ) as response:
                    if not response.is_success:
                        await response.aread()
                        pause = state.refused(response)
                    else:
                        state.opened(response)
                        async for chunk in response.aiter_bytes():
                            for received in state.received(chunk):
                                yield received
                            if state.enough() or state.ended:
                                break
                        pause = state.closed()
            except httpx.TransportError as error:
                pause = state.lost(error)
            if not state.ended:
                await asyncio.sleep(pause)

    async def download(self, path: str, download: Download) -> Path:
        """Fetch a file; a broken connection is resumed where it broke."""
        tries = Tries(self._stream_retry, self.connection.url)
        try:
            while True:
                try:
                    headers = await asyncio.to_thread(download.start)
                    async with self._http.stream("GET", path, headers=headers) as response:
                        if response.is_success:
                            await asyncio.to_thread(download.open, response)
                            async for chunk in response.aiter_bytes():
                                await asyncio.to_thread(download.write, chunk)
                            return await asyncio.to_thread(download.finish)
                        await response.aread()
                        pause = tries.refused(response)
                except httpx.TransportError as error:
                    pause = tries.lost(error)
                await asyncio.sleep(pause)
        finally:
            await asyncio.to_thread(download.close)


class Transport:
    """Sends calls and reads streams, again where that is safe. One per client."""

    def __init__(
        self,
        connection: Connection,
        *,
        timeout: float,
        retry: RetryPolicy,
        stream_retry: RetryPolicy,
    ) -> None:
        self.connection = connection
        self._retry = retry
        self._stream_retry = stream_retry
        self._tags = Tags()
        self._http = httpx.Client(
            base_url=connection.url,
            headers=_headers(connection),
            auth=_auth(connection),
            timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)),
            trust_env=connection.trust_env,
        )

    def close(self) -> None:
        self._http.close()

    def call(self, call: Call[T], *, patient: bool = False) -> T:
        """Send one request until it is answered.

        Args:
            call: The request.
            patient: Try as often as a stream does.
        """
        policy = self._stream_retry if patient else self._retry
        tries = Tries(policy, self.connection.url, repeatable=call.repeatable)
        headers = self._tags.headers(call)
        while True:
            try:
                response = self._http.request(
                    call.method,
                    call.path,
                    params=call.params,
                    content=call.body,
                    headers=headers,
                )
            except httpx.TransportError as error:
                pause = tries.lost(error)
            else:
                if response.is_success or response.status_code in call.good:
                    self._tags.note(call, response)
                    return _parsed(call, response)
                pause = tries.refused(response)
            time.sleep(pause)

    def follow(self, stream: Stream[T], *, deadline: float | None = None) -> Iterator[T]:
        """The items of a stream to its end, over as many connections as it takes.

        Args:
            stream: What to read.
            deadline: Stop at this `time.monotonic`; None: at its end.
        """
        url = self.connection.url
        state = Follower(stream, policy=self._stream_retry, url=url, deadline=deadline)
        while not state.ended:
            try:
                with self._http.stream(
                    "GET",
                    state.path,
                    params=state.params(),
                    headers=state.headers(),
                    timeout=state.timeout(),
                ) as response:
                    if not response.is_success:
                        response.read()
                        pause = state.refused(response)
                    else:
                        state.opened(response)
                        for chunk in response.iter_bytes():
                            yield from state.received(chunk)
                            if state.enough() or state.ended:
                                break
                        pause = state.closed()
            except httpx.TransportError as error:
                pause = state.lost(error)
            if not state.ended:
                time.sleep(pause)

    def download(self, path: str, download: Download) -> Path:
        """Fetch a file; a broken connection is resumed where it broke."""
        tries = Tries(self._stream_retry, self.connection.url)
        try:
            while True:
                try:
                    headers = download.start()
                    with self._http.stream("GET", path, headers=headers) as response:
                        if response.is_success:
                            download.open(response)
                            for chunk in response.iter_bytes():
                                download.write(chunk)
                            return download.finish()
                        response.read()
                        pause = tries.refused(response)
                except httpx.TransportError as error:
                    pause = tries.lost(error)
                time.sleep(pause)
        finally:
            download.close()


def _headers(connection: Connection) -> dict[str, str]:
    headers = {"Accept": "application/json", "User-Agent": "cortex-client"}
    if connection.api_key:
        if not (connection.api_key.isascii() and connection.api_key.isprintable()):
            raise NotConfigured("the API key has characters that no key has; was it copied whole?")
        headers["Authorization"] = f"Bearer {connection.api_key}"
    return headers


def _auth(connection: Connection) -> SessionAuth | None:
    if connection.login is None or connection.store is None:
        return None
    return SessionAuth(connection.login, connection.store)


def _parsed(call: Call[T], response: httpx.Response) -> T:
    try:
        return call.parse(response.content)
    except ValueError as error:
        raise BadAnswer(
            f"{asked_url(response)} answered something that is no Cortex API of this version; "
            f"check the URL and both versions (`cortex version`): {str(error)[:300]}"
        ) from error
