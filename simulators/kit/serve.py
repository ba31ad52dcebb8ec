"""Serves a simulator: for tests inside this process, for `python -m simulators` as its own."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from simulators.kit.faults import App


def server(app: App, *, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Server:
    """A uvicorn server for the app, not yet started; it keeps no access log."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        date_header=False,  # the app's own: the network's clock may be wrong
        lifespan="on",
        timeout_graceful_shutdown=2,
        ws="websockets-sansio",
    )
    return uvicorn.Server(config)


@asynccontextmanager
async def serving(app: App, *, port: int = 0) -> AsyncIterator[str]:
    """Serve on a loopback port, a free one by default; yields the base URL."""
    # With its protocol named: else asyncio leaves Nagle's algorithm on, 40 ms for each answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    running = server(app)
    running.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(running._serve([listener]))
    try:
        while not running.started:
            if task.done():
                await task
                raise RuntimeError("the simulator ended before it had started")
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        running.should_exit = True
        await task
        listener.close()
