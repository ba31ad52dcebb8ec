"""The drop box: what jobs put through presigned links, adapters read."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from api.drop import DropMiddleware
from providers.dropbox import OUTPUTS, RESULT, DropBox
from providers.errors import Unavailable
from simulators.kit.serve import serving

KEY = "job_01jjjjjjjjjjjjjjjjjjjjjjjj-1"
OTHER = "job_01jjjjjjjjjjjjjjjjjjjjjjjj-2"
SECRET = b"a secret of the tests"
HOUR = timedelta(hours=1)


class Served:
    """A drop box and what it was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[tuple[str, str]] = []
        self.box: DropBox
        self.url = ""

    async def arrived(self, key: str, name: str) -> None:
        self.told.append((key, name))
        raise RuntimeError("telling fails; the object is there all the same")


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    made = Served(tmp_path / "drop")
    app = DropMiddleware(
        FastAPI(), folder=made.folder, secret=SECRET, limit=1_000_000, arrived=made.arrived
    )
    async with serving(app) as url:
        made.url, made.box = url, DropBox(url, SECRET)
        yield made


async def put(url: str, content: bytes, method: str = "PUT") -> int:
    async with httpx.AsyncClient() as client:
        return (await client.request(method, url, content=content)).status_code


class TestDropBox:
    @pytest.mark.parametrize("method", ["PUT", "POST"])
    async def test_what_is_put_can_be_read(
        self, served: Served, tmp_path: Path, method: str
    ) -> None:
        assert await served.box.fetch(KEY, RESULT) is None
        link = served.box.put_url(KEY, RESULT, HOUR)
        assert await put(link, b"first", method) == 204
        assert await put(link, b"second", method) == 204
        assert await served.box.fetch(KEY, RESULT) == b"second"
        assert await served.box.fetch(KEY, RESULT, limit=3) == b"sec"
        assert await served.box.download(KEY, RESULT, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"second"
        assert served.told == [(KEY, RESULT)] * 2

    async def test_a_deleted_object_leaves_nothing(self, served: Served) -> None:
        await put(served.box.put_url(KEY, OUTPUTS, HOUR), b"x")
        await served.box.delete(KEY, OUTPUTS)
        await served.box.delete(KEY, OUTPUTS)
        assert not await served.box.download(KEY, OUTPUTS, served.folder / "copy")
        assert not (served.folder / KEY).exists()

    async def test_a_link_is_good_for_one_thing_only(self, served: Served) -> None:
        link = served.box.put_url(KEY, RESULT, HOUR)
        assert await put(link.replace(KEY, OTHER), b"x") == 403
        assert await put(link.replace(RESULT, OUTPUTS), b"x") == 403
        assert await put(link.replace("expires=1", "expires=2"), b"x") == 403
        assert await put(link[:-1] + ("0" if link[-1] != "0" else "1"), b"x") == 403
        async with httpx.AsyncClient() as client:
            assert (await client.get(link)).status_code == 403
            assert (await client.get(link.replace("op=put", "op=get"))).status_code == 403
        assert not served.folder.exists()

    async def test_a_link_ends(self, served: Served) -> None:
        assert await put(served.box.put_url(KEY, RESULT, timedelta(seconds=-1)), b"x") == 403

    @pytest.mark.parametrize("path", ["../x", f"{KEY}/../../x", f"{KEY}/.hidden", "nokey/x", KEY])
    async def test_nothing_is_written_elsewhere(self, served: Served, path: str) -> None:
        assert await put(f"{served.url}/drop/{path}?op=put", b"x") in (403, 404)
        assert not served.folder.exists()

    async def test_what_is_too_large_is_refused(self, served: Served) -> None:
        assert await put(served.box.put_url(KEY, RESULT, HOUR), b"x" * 1_000_001) == 413
        assert await served.box.fetch(KEY, RESULT) is None

    async def test_what_breaks_off_is_not_there(self, served: Served) -> None:
        link = httpx.URL(served.box.put_url(KEY, RESULT, HOUR))
        reader, writer = await asyncio.open_connection(link.host, link.port)
        head = f"PUT {link.raw_path.decode()} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
        writer.write(head.encode() + b"only this")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        assert await served.box.fetch(KEY, RESULT) is None

    async def test_a_drop_box_that_is_away(self) -> None:
        with pytest.raises(Unavailable, match="drop box"):
            await DropBox("http://127.0.0.1:1", SECRET).fetch(KEY, RESULT)
