"""The API against a real database; Temporal is away unless a test asks for it."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from api.__main__ import Server
from api.app import create_app
from cortex.db.engine import Database
from cortex.domain.offers import Capabilities, PriceSheet
from cortex.settings import ApiSettings, DatabaseSettings, Settings, TemporalSettings

KEY = "test-key"
AUTH = {"authorization": f"Bearer {KEY}"}
NOWHERE = "127.0.0.1:1"
"""An address where no Temporal listens."""

Opened = Callable[[Settings], AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url=SecretStr(database_url)),
        temporal=TemporalSettings(address=NOWHERE, ui_url="http://ui.test"),
        api=ApiSettings(key=SecretStr(KEY)),
        encryption_keys=SecretStr(f"k1:{base64.b64encode(b'0' * 32).decode()}"),
    )


@asynccontextmanager
async def client_of(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app in this process, its services running."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers=AUTH, timeout=30
        ) as client,
    ):
        yield client


@pytest.fixture
async def client(settings: Settings, providers: None) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(settings) as found:
        yield found


@asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    """A real server on a free port, as `python -m api` runs it."""
    app: FastAPI = create_app(settings)
    server = Server(app, settings)
    server.config.port = 0
    with contextlib.ExitStack() as stack:
        # The test process keeps its own signal handlers.
        stack.enter_context(_no_signals(server))
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
            assert not task.done()
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}", server
        finally:
            server.should_exit = True
            await task


@contextlib.contextmanager
def _no_signals(server: uvicorn.Server) -> Any:
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    yield


@pytest.fixture
async def providers(database: Database) -> None:
    """A cheap one for processes, and a dear one for images only."""
    async with database.transaction() as tx:
        await tx.providers.register(
            "local",
            "local",
            status="online",
            capabilities=Capabilities(images=False, processes=True, max_memory=8 * 2**30),
            prices=PriceSheet(cpu_hour=Decimal("0.02")),
        )
        await tx.providers.register(
            "docker",
            "docker",
            status="online",
            capabilities=Capabilities(images=True, processes=False),
            prices=PriceSheet(cpu_hour=Decimal("2")),
        )


def spec(**values: Any) -> dict[str, Any]:
    return {"name": "hello", "command": ["echo", "hello"], **values}


async def submit(client: httpx.AsyncClient, **values: Any) -> str:
    answer = await client.post("/api/v1/jobs", json=spec(**values))
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id
