"""Bringing a scene file here: copied from this machine or fetched, with its digest checked."""

import asyncio
import contextlib
import hashlib
import ipaddress
import os
import socket
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from cortex.domain.conditions import SceneLimits
from cortex.domain.rendering import Render
from cortex.domain.units import about_bytes
from cortex.faultpoints import http_hooks
from providers.base import Report
from providers.errors import InvalidSpec, Unavailable, Unsuitable

_BLOCK = 2**20
_TIMEOUT = httpx.Timeout(60, connect=10)


@dataclass(frozen=True)
class Scenes:
    """Gets scenes within the limits that the provider's configuration sets."""

    limit: int
    folders: Sequence[Path] = ()
    private_urls: bool = False

    @cached_property
    def limits(self) -> SceneLimits:
        """Which scenes can be had here, as far as their names tell."""
        folders = {str(path) for folder in self.folders for path in (folder, folder.resolve())}
        return SceneLimits(schemes=("http", "https"), files=True, folders=tuple(sorted(folders)))

    async def place(self, render: Render, target: Path, report: Report) -> None:
        """Put the scene file at `target`, as a whole.

        Raises:
            InvalidSpec: there is no such file, or it is another one.
            Unsuitable: it may not be fetched, or is too large.
            Unavailable: it cannot be had now.
        """
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            if render.is_url:
                await report("fetching the scene")
                digest = await self._fetch(render.scene, partial)
            else:
                digest = await asyncio.to_thread(self._copy, Path(render.scene), partial)
            if render.sha256 is not None and digest != render.sha256:
                raise InvalidSpec(
                    f"the scene is another file: its SHA-256 is {digest}, not `render.sha256`"
                )
            await asyncio.to_thread(os.replace, partial, target)
        finally:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(partial.unlink, missing_ok=True)

    def _copy(self, source: Path, target: Path) -> str:
        try:
            real = source.resolve(strict=True)
            if self.folders and not any(_below(real, folder) for folder in self.folders):
                raise Unsuitable("the scene is a link that leads out of the `scene_folders`")
            if not real.is_file():
                raise InvalidSpec(f"the scene `{source}` is no file on the worker's machine")
            with real.open("rb") as file:
                return self._write(target, iter(lambda: file.read(_BLOCK), b""))
        except FileNotFoundError:
            raise InvalidSpec(f"there is no scene `{source}` on the worker's machine") from None
        except PermissionError:
            raise InvalidSpec(f"the scene `{source}` may not be read by the worker") from None

    def _write(self, target: Path, blocks: Iterable[bytes]) -> str:
        digest, size = hashlib.sha256(), 0
        with target.open("xb") as out:
            for block in blocks:
                size += len(block)
                self._check(size)
                digest.update(block)
                out.write(block)
            out.flush()
            os.fsync(out.fileno())
        return digest.hexdigest()

    def _check(self, size: int) -> None:
        if size > self.limit:
            raise Unsuitable(f"the scene is larger than {about_bytes(self.limit)}")

    async def _fetch(self, url: str, target: Path) -> str:
        if not self.private_urls:
            await _only_public(urlsplit(url).hostname or "")
        digest, size = hashlib.sha256(), 0
        out = await asyncio.to_thread(target.open, "xb")
        try:
            hooks = http_hooks("scene store")
            async with (
                httpx.AsyncClient(
                    timeout=_TIMEOUT, follow_redirects=False, event_hooks=hooks
                ) as client,
                client.stream("GET", url) as response,
            ):
                _require_ok(response)
                async for block in response.aiter_bytes(_BLOCK):
                    size += len(block)
                    self._check(size)
                    digest.update(block)
                    await asyncio.to_thread(out.write, block)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"the scene cannot be fetched ({type(error).__name__})") from error
        finally:
            await asyncio.to_thread(out.close)
        return digest.hexdigest()


async def _only_public(host: str) -> None:
    """Refuse a host of this machine or of the networks around it."""
    try:
        addresses = await asyncio.get_running_loop().getaddrinfo(
            host, None, type=socket.SOCK_STREAM
        )
    except OSError as error:
        raise Unavailable("the host of the scene's URL is not known") from error
    for entry in addresses:
        address = ipaddress.ip_address(entry[4][0])
        if not address.is_global:
            raise Unsuitable("the scene's URL leads into a private network")


def _require_ok(response: httpx.Response) -> None:
    if response.is_success:
        return
    told = f"the server of the scene answers with {response.status_code}"
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise Unavailable(told)
    raise InvalidSpec(told)


def _below(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder) or path.is_relative_to(folder.resolve())
