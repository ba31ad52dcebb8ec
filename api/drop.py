"""Serves the drop box: jobs put results here through presigned links, adapters read them.

Outside of the API proper: no key but the signature of the link, and bodies of any length up to a
limit, straight to the disk.
"""

import asyncio
import errno
import os
import re
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cortex.disk import Disk
from cortex.domain.ids import is_lease_key
from cortex.security.presign import PATH, allowed

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_OPERATIONS = {"PUT": "put", "POST": "put", "GET": "get", "DELETE": "delete"}
_CHECK = 4 * 2**20
"""Bytes after which is looked whether there is room for more."""
_log = structlog.get_logger(__name__)

Arrived = Callable[[str, str], Awaitable[None]]


class _TooLarge(Exception):
    pass


class DropMiddleware:
    """Takes what is below `/drop/`; everything else goes to the app inside.

    `arrived(key, name)` is told of each object that was put, best effort. Large objects are refused
    with a 507 when half of `keep_free` (bytes; None: the usual number) is left on the disk.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        folder: Path,
        secret: bytes,
        limit: int,
        arrived: Arrived,
        keep_free: int | None = None,
    ) -> None:
        self._app = app
        self._folder = folder
        self._secret = secret
        self._limit = limit
        self._arrived = arrived
        self._keep_free = keep_free

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(f"{PATH}/"):
            await self._app(scope, receive, send)
            return
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        operation = _OPERATIONS.get(request.method)
        place = _place(request.url.path)
        if operation is None or place is None:
            return PlainTextResponse("no such object\n", 404)
        query = request.query_params
        if operation == "get" and query.get("op") == "take":
            operation = "take"
        if query.get("op") != operation or not allowed(
            self._secret, operation, place, query.get("expires", ""), query.get("signature", "")
        ):
            return PlainTextResponse("this link is not valid, or not any more\n", 403)
        path = self._folder / place[0] / place[1]
        if operation == "put":
            return await self._put(request, path, place)
        if operation == "delete":
            await asyncio.to_thread(_remove, path)
            return Response(status_code=204)
        if operation == "take":
            return await asyncio.to_thread(_taken, path)
        if not await asyncio.to_thread(path.is_file):
            return PlainTextResponse("nothing was put here yet\n", 404)
        return FileResponse(path, media_type="application/octet-stream")

    async def _put(self, request: Request, path: Path, place: tuple[str, str]) -> Response:
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            file = await asyncio.to_thread(_open, part)
            try:
                await self._receive(request, file)
            finally:
                await asyncio.to_thread(file.close)
            await asyncio.to_thread(os.replace, part, path)
        except _TooLarge:
            return PlainTextResponse(f"larger than {self._limit} bytes\n", 413)
        except ClientDisconnect:
            return PlainTextResponse("broken off\n", 400)
        except OSError as error:
            _log.warning("drop.cannot_store", key=place[0], name=place[1], error=error.strerror)
            return PlainTextResponse("it cannot be stored now\n", 507)
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
        try:
            await self._arrived(*place)
        except Exception as error:  # the object is there; the next poll finds it
            _log.warning("drop.not_told", key=place[0], error=str(error))
        return Response(status_code=204)

    async def _receive(self, request: Request, file: BinaryIO) -> None:
        size, checked = 0, 0
        async for chunk in request.stream():
            size += len(chunk)
            if size - checked > _CHECK:
                checked = size
                await asyncio.to_thread(self._require_room)
            if size > self._limit:
                raise _TooLarge
            await asyncio.to_thread(file.write, chunk)

    def _require_room(self) -> None:
        """Raises: OSError: the servers need what is left of the disk."""
        if not Disk.of(self._folder, self._keep_free).room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _place(path: str) -> tuple[str, str] | None:
    parts = path.removeprefix(f"{PATH}/").split("/")
    if len(parts) != 2 or not is_lease_key(parts[0]) or not _NAME.fullmatch(parts[1]):
        return None
    return parts[0], parts[1]


def _open(part: Path) -> BinaryIO:
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return part.open("wb")


def _taken(path: Path) -> Response:
    """The object, out of the drop box: of two that want it at once, one gets it."""
    mine = path.with_name(f".{path.name}.{uuid.uuid4().hex}.taken")
    try:
        os.replace(path, mine)
    except FileNotFoundError:
        return PlainTextResponse("it was taken already, or never put here\n", 410)
    try:
        return Response(mine.read_bytes(), media_type="application/octet-stream")
    finally:
        _remove(mine)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    try:
        path.parent.rmdir()
    except OSError:  # others are in there, or it is gone
        return
