"""The API of a whole stack with many jobs in the table: lists, reads, submits, health, memory."""

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg

from bench.wire import Sample, load
from cortex.embedded import StackConfig, detach, stack_status, stop_stack
from cortex.services.pagination import encode_cursor

_FILL = """
INSERT INTO jobs (id, name, owner, spec, state, labels, created_at, finished_at, provider_id)
SELECT 'job_' || lpad(i::text, 26, '0'), 'old-' || i,
       CASE WHEN i %% 1000 = 0 THEN 'rare' ELSE 'user' || i %% 50 END, %s::jsonb,
       CASE WHEN i %% 10 = 0 THEN 'failed' ELSE 'completed' END,
       jsonb_build_object('team', 't' || i %% 7, 'run', 'r' || i %% 5000),
       now() - i * interval '1 second', now(), 'null'
FROM generate_series(1, %s) AS i
"""
SPEC = {"name": "bench", "command": ["true"]}


async def measure(*, jobs: int, seconds: float) -> str:
    """Rates and latencies with 1 and 16 clients, as a table."""
    async with open_stack() as config:
        await asyncio.sleep(5)
        idle = _memory(config.data_dir)
        async with await psycopg.AsyncConnection.connect(config.database_url) as connection:
            await fill(connection, jobs)
        rows = await _loads(config, seconds)
    return "\n".join(
        [f"3. The API with {jobs} jobs in the table, whole stack running", *rows, idle]
    )


@asynccontextmanager
async def open_stack() -> AsyncIterator[StackConfig]:
    """A whole stack with the provider that runs nothing, in a folder of its own."""
    os.environ["CORTEX_PROVIDERS"] = json.dumps({"null": {"type": "null"}})
    with tempfile.TemporaryDirectory(prefix="ctx-bench-") as name:
        folder = Path(name)
        os.chmod(folder, 0o755)
        config = StackConfig.free(folder)
        await detach(config)
        try:
            yield config
        finally:
            await stop_stack(folder)


_CLIENTS = 16
_PAGE, _DEEP = 100, 500
_AIM_MS = 50.0
_SOME = "job_" + "7".rjust(26, "0")
_FILTERS = {
    f"list of {_PAGE}": "",
    "by a label that many have": "&label=team=t3",
    "by a label that few have": "&label=run=r77",
    "by owner": "&owner=user3",
    "by an owner of few": "&owner=rare",
    "by the state of most": "&state=completed",
    "by the state of few": "&state=running",
    "by two states": "&state=failed&state=running",
    "by name": "&name=old-777",
}


async def measure_rows(*, rows: int, seconds: float) -> str:
    """The reads that people and programs make, in a table with so many jobs; p99 at 16 clients."""
    async with open_stack() as config:
        async with await psycopg.AsyncConnection.connect(config.database_url) as connection:
            await fill(connection, rows)
            query = b"SELECT created_at, id FROM jobs ORDER BY created_at DESC, id DESC OFFSET %s"
            cursor = await connection.execute(query + b" LIMIT 1", (_PAGE * _DEEP,))
            place = await cursor.fetchone()
        paths = {name: f"/api/v1/jobs?limit={_PAGE}{rest}" for name, rest in _FILTERS.items()}
        if place is not None:
            deep = encode_cursor((place[0], place[1]))
            paths[f"page {_DEEP}"] = f"/api/v1/jobs?limit={_PAGE}&cursor={deep}"
        paths["get"] = f"/api/v1/jobs/{_SOME}"
        lines = [f"3. The API with {rows} jobs in the table, {_CLIENTS} clients"]
        worst = 0.0
        for name, path in paths.items():
            request = ("GET", path, b"")
            port, key = config.ports.api, config.api_key
            await load(port, key, clients=_CLIENTS, seconds=0.5, request=request)
            sample = await load(port, key, clients=_CLIENTS, seconds=seconds, request=request)
            worst = max(worst, sample.percentile(0.99))
            lines.append(sample.row(name))
    return "\n".join([*lines, f"   highest p99 {worst:.1f} ms (aim: under {_AIM_MS:g} ms)"])


async def fill(connection: psycopg.AsyncConnection[Any], jobs: int) -> None:
    """Put so many ended jobs into the table, the newest first by number, and commit."""
    await connection.execute(_FILL.encode(), (json.dumps(SPEC), jobs))
    await connection.commit()
    await connection.set_autocommit(True)
    await connection.execute(b"VACUUM ANALYZE jobs")


async def _loads(config: StackConfig, seconds: float) -> list[str]:
    requests: dict[str, tuple[str, str, bytes]] = {
        "list of 100": ("GET", "/api/v1/jobs?limit=100", b""),
        "get": ("GET", f"/api/v1/jobs/{_SOME}", b""),
        "submit": ("POST", "/api/v1/jobs", json.dumps(SPEC).encode()),
    }
    rows: list[str] = []
    # Reads first: accepted jobs run, and would take the cores from what is measured after them.
    for names in (("list of 100", "get"), ("submit",)):
        for clients in (1, 16):
            for name in names:
                sample, health = await _measured(config, clients, seconds, requests[name])
                rows.append(sample.row(f"{name}, {clients} client{'s' if clients > 1 else ''}"))
                rows.append(health.row("  health meanwhile"))
    return rows


async def _measured(
    config: StackConfig, clients: int, seconds: float, request: tuple[str, str, bytes]
) -> tuple[Sample, Sample]:
    port, key = config.ports.api, config.api_key
    health = ("GET", "/health/ready", b"")
    await load(port, key, clients=clients, seconds=0.5, request=request)
    return await asyncio.gather(
        load(port, key, clients=clients, seconds=seconds, request=request),
        load(port, key, clients=1, seconds=seconds, request=health, pause=0.05),
    )


def _memory(folder: Path) -> str:
    parts = {part.name: part.memory / 2**20 for part in stack_status(folder).processes}
    each = ", ".join(f"{name} {size:.0f} MiB" for name, size in parts.items())
    both = parts.get("api", 0) + parts.get("worker", 0)
    return f"   idle stack: {each}; API and worker together {both:.0f} MiB (aim: under 250)"
