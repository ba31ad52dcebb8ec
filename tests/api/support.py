"""Helpers of the API's tests: apps in this process, real servers, specs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from api.__main__ import Server
from api.app import create_app
from cortex.domain.passwords import PasswordRules
from cortex.schemas.server import Problem
from cortex.settings import Settings
from providers.conformance import eventually as patient

KEY = "test-key"
AUTH = {"authorization": f"Bearer {KEY}"}
JOBS = "/api/v1/jobs"
CHEAP_PASSWORDS = PasswordRules(memory=8 * 2**10, rounds=1)
NOWHERE = "127.0.0.1:1"
"""An address where no Temporal listens."""


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
def _no_signals(server: uvicorn.Server) -> Iterator[None]:
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    yield


def spec(**values: Any) -> dict[str, Any]:
    return {"name": "hello", "command": ["echo", "hello"], **values}


async def submit(client: httpx.AsyncClient, **values: Any) -> str:
    answer = await client.post("/api/v1/jobs", json=spec(**values))
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


def check_problem(answer: httpx.Response, status: int, code: str) -> Problem:
    """The problem that was answered; it must be this one, and well-formed."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(answer.content)
    assert problem.code == code
    assert problem.status == status
    assert problem.correlation_id == answer.headers["x-request-id"]
    return problem


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is true; fails after 30 s of an idle machine."""
    await patient(condition, interval=0.02)
