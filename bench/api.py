"""The API of a whole stack with many jobs in the table: lists, reads, submits, health, memory."""

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from bench.wire import Sample, load
from cortex.embedded import StackConfig, detach, stack_status, stop_stack

_FILL = """
INSERT INTO jobs (id, name, owner, spec, state, labels, created_at, finished_at, provider_id)
SELECT 'job_' || lpad(i::text, 26, '0'), 'old-' || i, 'bench', %s::jsonb, 'completed',
       jsonb_build_object('team', 't' || i %% 7), now() - i * interval '1 second', now(), 'null'
FROM generate_series(1, %s) AS i
"""
SPEC = {"name": "bench", "command": ["true"]}


async def measure(*, jobs: int, seconds: float) -> str:
    """Rates and latencies with 1 and 16 clients, as a table."""
    os.environ["CORTEX_PROVIDERS"] = json.dumps({"null": {"type": "null"}})
    with tempfile.TemporaryDirectory(prefix="ctx-bench-") as name:
        folder = Path(name)
        os.chmod(folder, 0o755)
        config = StackConfig.free(folder)
        await detach(config)
        try:
            await asyncio.sleep(5)
            idle = _memory(folder)
            async with await psycopg.AsyncConnection.connect(config.database_url) as connection:
                await fill(connection, jobs)
            rows = await _loads(config, seconds)
        finally:
            await stop_stack(folder)
    return "\n".join(
        [f"3. The API with {jobs} jobs in the table, whole stack running", *rows, idle]
    )


async def fill(connection: psycopg.AsyncConnection[Any], jobs: int) -> None:
    """Put so many ended jobs into the table, the newest first by number, and commit."""
    await connection.execute(_FILL.encode(), (json.dumps(SPEC), jobs))
    await connection.commit()
    await connection.set_autocommit(True)
    await connection.execute(b"VACUUM ANALYZE jobs")


async def _loads(config: StackConfig, seconds: float) -> list[str]:
    some = "/api/v1/jobs/job_" + "7".rjust(26, "0")
    requests: dict[str, tuple[str, str, bytes]] = {
        "list of 100": ("GET", "/api/v1/jobs?limit=100", b""),
        "get": ("GET", some, b""),
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
