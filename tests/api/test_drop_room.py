"""The drop box on a disk that is nearly full."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from api.drop import DropMiddleware
from cortex.domain.ids import lease_key, new_id
from providers.dropbox import _SHORT, OUTPUTS, RESULT, DropBox

_MIB = 2**20


@pytest.mark.parametrize(
    ("keep_free", "name", "size", "status"),
    [
        pytest.param(2**60, OUTPUTS, 9 * _MIB, 507, id="large, no room"),
        pytest.param(2**60, RESULT, 2048, 204, id="a result is always taken"),
        pytest.param(0, OUTPUTS, 9 * _MIB, 204, id="large, room"),
    ],
)
async def test_large_objects_leave_room(
    tmp_path: Path, keep_free: int, name: str, size: int, status: int
) -> None:
    async def arrived(_key: str, _name: str) -> None:
        return None

    app = DropMiddleware(
        FastAPI(),
        folder=tmp_path / "drop",
        secret=b"secret",
        limit=100 * _MIB,
        arrived=arrived,
        keep_free=keep_free,
    )
    url = DropBox("http://drop", b"secret").put_url(lease_key(new_id("job"), 1), name, _SHORT)

    async with AsyncClient(transport=ASGITransport(app)) as client:
        assert (await client.put(url, content=_stream(size))).status_code == status
    assert _kept(tmp_path) == ([size] if status == 204 else [])


def _kept(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.rglob("*") if path.is_file()]


async def _stream(size: int) -> AsyncIterator[bytes]:
    for _ in range(0, size, 1024):
        yield bytes(1024)
