"""The drop box: where jobs on a network leave results that the network itself would not carry.

A job gets presigned links to put its exit code (`RESULT`), its outputs (`OUTPUTS`, a tar) and what
its network's log has no room for (`LONG`) into it, to get the files that it begins with (`INPUTS`,
a tar), and to take what nobody else may have (`HANDOVER`, once); the adapter reads and writes them
with links of its own. The API of Cortex serves one (`api/drop.py`).
"""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cortex.faultpoints import http_hooks
from cortex.security.presign import Operation, presigned
from providers.errors import InvalidSpec, Unavailable

if TYPE_CHECKING:
    import httpx

NO_DROP_BOX = (
    "files get here through the drop box only, and none is configured: set `drop.secret`, and "
    "`drop.public_url` to an address at which the network's machines reach this API"
)

RESULT = "result.json"
OUTPUTS = "outputs.tar"
INPUTS = "inputs.tar"
HANDOVER = "handover"
LONG = "long.log"
_SHORT = timedelta(minutes=10)
_TIMEOUT, _TO_CONNECT = 60.0, 10.0


class DropBox:
    """One drop box. `public_url` is how jobs reach it, `url` how we do."""

    def __init__(self, url: str, secret: bytes, *, public_url: str | None = None) -> None:
        self._url = url
        self._public_url = public_url or url
        self._secret = secret

    def put_url(self, key: str, name: str, lifetime: timedelta) -> str:
        """A link for a job: PUT or POST the object, as often as it likes until it expires."""
        return presigned(self._public_url, self._secret, "put", (key, name), lifetime)

    def get_url(self, key: str, name: str, lifetime: timedelta) -> str:
        """A link for a job: GET the object until it expires."""
        return presigned(self._public_url, self._secret, "get", (key, name), lifetime)

    def take_url(self, key: str, name: str, lifetime: timedelta) -> str:
        """A link for a job: GET the object, once: it is gone afterwards."""
        return presigned(self._public_url, self._secret, "take", (key, name), lifetime)

    def seed(self, key: str, name: str) -> bytes:
        """Secret bytes that belong to one object, the same whenever they are asked for."""
        return hmac.digest(self._secret, f"seed\n{key}\n{name}".encode(), "sha256")

    async def upload(self, key: str, name: str, file: Path) -> None:
        """Put a file there, in place of what was there before.

        Raises:
            InvalidSpec: it is larger than the drop box takes.
            Unavailable: the drop box does not answer.
        """
        async with _client() as client:
            answer = await client.put(self._link("put", key, name), content=_chunks(file))
        if answer.status_code == 413:
            raise InvalidSpec("the files of the job are larger than the drop box takes")
        _is_there(answer)

    async def put(self, key: str, name: str, data: bytes) -> None:
        """Put a few bytes there, in place of what was there before.

        Raises:
            Unavailable: the drop box does not answer.
        """
        async with _client() as client:
            _is_there(await client.put(self._link("put", key, name), content=data))

    async def fetch(self, key: str, name: str, *, limit: int = 2**20) -> bytes | None:
        """The object, cut at `limit` bytes; None if nobody has put it there.

        Raises:
            Unavailable: the drop box does not answer.
        """
        chunks: list[bytes] = []
        size = 0
        async with (
            _client() as client,
            client.stream("GET", self._link("get", key, name)) as response,
        ):
            if not _is_there(response):
                return None
            async for chunk in response.aiter_bytes():
                chunks.append(chunk)
                size += len(chunk)
                if size >= limit:
                    break
        return b"".join(chunks)[:limit]

    async def download(self, key: str, name: str, to: Path) -> bool:
        """Write the object into a file; false if nobody has put it there.

        Raises:
            Unavailable: the drop box does not answer.
        """
        async with (
            _client() as client,
            client.stream("GET", self._link("get", key, name)) as response,
        ):
            if not _is_there(response):
                return False
            with to.open("wb") as file:
                async for chunk in response.aiter_bytes(2**20):
                    await asyncio.to_thread(file.write, chunk)
        return True

    async def delete(self, key: str, name: str) -> None:
        """Remove the object; succeeds if it is not there.

        Raises:
            Unavailable: the drop box does not answer.
        """
        async with _client() as client:
            _is_there(await client.delete(self._link("delete", key, name)))

    def _link(self, operation: Operation, key: str, name: str) -> str:
        return presigned(self._url, self._secret, operation, (key, name), _SHORT)


@asynccontextmanager
async def _client() -> AsyncIterator["httpx.AsyncClient"]:
    # Loaded with the first request: 6 MiB with all that it loads, and each worker has a drop box.
    import httpx

    timeout = httpx.Timeout(_TIMEOUT, connect=_TO_CONNECT)
    try:
        async with httpx.AsyncClient(timeout=timeout, event_hooks=http_hooks("drop box")) as client:
            yield client
    except httpx.HTTPError as error:
        raise Unavailable(f"the drop box cannot be reached ({type(error).__name__})") from error


async def _chunks(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as source:
        while chunk := await asyncio.to_thread(source.read, 2**20):
            yield chunk


def _is_there(response: "httpx.Response") -> bool:
    if response.status_code == 404:
        return False
    if not response.is_success:
        raise Unavailable(f"the drop box answers with {response.status_code}")
    return True
