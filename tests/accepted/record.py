"""Records what a commit accepted: `python tests/accepted/record.py FOLDER`, run by that commit.

    git worktree add /tmp/then REV
    cd /tmp/then && PYTHONPATH=/tmp/then <python> <this file> <repository>/tests/accepted/<REV>

It starts that commit's whole stack with a `cortex.toml` that names every setting, does with that
commit's client whatever there is to do, and writes

    cortex.toml     the file that the stack was started with; every setting at that commit's default
    settings.json   how that commit read it
    providers.json  a configuration of each type of provider
    stack.json      what `cortex up` keeps in its data folder
    calls.jsonl     each request that the client sent, with the answer
    database.sql    the rows of its database, some jobs and a group still in flight

The keys in it are made for this and open nothing.
"""

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import tomlkit

from cortex.client import ApiError, AsyncCortex, JobFilter
from cortex.embedded.simulators import simulated_providers
from cortex.settings import Settings
from tests.support.stack import Stack, running_stack, short_folder

KEYS = f"k1:{base64.b64encode(b'recorded-for-the-tests-of-before'[:32]).decode()}"
SHELL = {"resources": {"cpu": 0.1, "memory": "64Mi", "storage": "64Mi"}, "duration": "10m"}
DONE: dict[str, Any] = {
    **SHELL,
    "name": "done",
    "command": ["sh", "-c", "echo out; echo err >&2; mkdir o; echo 42 > o/answer"],
    "env": {"PLAIN": "1"},
    "secret_env": {"TOKEN": "not-to-be-seen"},
    "labels": {"team": "red", "tier": "1"},
    "retries": {"on_failure": 1, "on_lost": 2, "backoff": "1s"},
    "placement": {"providers": ["local"], "strategy": "cost", "max_price": "5 USD"},
    "budget": "3 USD",
    "outputs": ["o"],
}
FAILED = {**SHELL, "name": "failed", "command": ["sh", "-c", "exit 3"], "labels": {"team": "blue"}}
LONG = {**SHELL, "name": "long", "command": ["sleep", "600"], "labels": {"team": "red"}}
PENDING = {**SHELL, "name": "pending", "command": ["echo", "late"], "retries": {"on_failure": 1}}
PIPELINE: dict[str, Any] = {
    "name": "pipeline",
    "defaults": {**SHELL, "placement": {"providers": ["local"]}, "labels": {"kind": "pipeline"}},
    "jobs": [
        {"name": "prep", "command": ["sh", "-c", "echo 1 > n"], "outputs": ["n"]},
        {
            "name": "part",
            "after": ["prep"],
            "count": 2,
            "inputs": [{"from": "prep", "path": "n", "to": "in"}],
            "command": ["sh", "-c", "cat in; echo {index}"],
        },
    ],
}
GANG: dict[str, Any] = {
    "name": "gang",
    "policy": "all_or_nothing",
    "prepare_timeout": "2m",
    "defaults": SHELL,
    "jobs": [{"name": "a", "command": ["true"]}, {"name": "b", "command": ["true"]}],
}
GIVEN_UP: dict[str, Any] = {
    "name": "given-up",
    "defaults": SHELL,
    "jobs": [{"name": "a", "command": ["sleep", "600"]}],
}


class Recorder:
    """Writes down what the client sends and gets."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def attach(self) -> None:
        """From now on, every request of httpx in this process."""
        send = httpx.AsyncClient.send

        async def recorded(
            client: httpx.AsyncClient, request: httpx.Request, **options: Any
        ) -> httpx.Response:
            response = await send(client, request, **options)
            if options.get("stream"):
                answer: object = None
            else:
                text = response.text
                is_json = response.headers.get("content-type", "").startswith("application/")
                answer = json.loads(text) if is_json and "json" in _type(response) else text
            kept = ("accept", "content-type", "idempotency-key", "last-event-id")
            self.calls.append(
                {
                    "method": request.method,
                    "path": request.url.raw_path.decode(),
                    "headers": {k: request.headers[k] for k in kept if k in request.headers},
                    "body": request.content.decode() if request.method != "GET" else "",
                    "status": response.status_code,
                    "type": _type(response),
                    "answer": answer,
                }
            )
            return response

        httpx.AsyncClient.send = recorded  # type: ignore[method-assign, assignment]

    def write(self, path: Path) -> None:
        path.write_text("".join(json.dumps(call) + "\n" for call in self.calls))


def _type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0]


async def use(client: AsyncCortex) -> str:
    """Everything a user may do; the id of a job that runs at the end."""
    await client.info()
    await client.health()
    await client.job_schema()
    await client.provider_types()
    await _providers(client)
    budget = await client.create_budget("team red", "100 USD")
    await client.validate(DONE)
    await client.quote(DONE)
    done = await client.submit(DONE, idempotency_key="done-1")
    batch = await client.submit_batch([FAILED, FAILED], idempotency_key="batch-1")
    long = await client.submit(LONG, idempotency_key="long-1")
    stopped = await client.submit(LONG)
    await client.validate_group(PIPELINE)
    pipeline = await client.submit_group(PIPELINE, idempotency_key="pipeline-1")
    gang = await client.submit_group(GANG)
    given_up = await client.submit_group(
        {
            "name": "given-up",
            "defaults": SHELL,
            "jobs": [{"name": "a", "command": ["sleep", "600"]}],
        }
    )
    for job_id in (done.id, *(job.id for job in batch.jobs)):
        await client.wait(job_id, timeout=120)
    for group in (pipeline, gang):
        await client.wait_group(group.id, timeout=180)
    await _until_running(client, long.id)
    await client.extend(long.id, "20m", idempotency_key="extend-1")
    await client.cancel(stopped.id, reason="enough")
    await client.cancel_group(given_up.id, reason="no more")
    await client.wait(stopped.id, timeout=60)
    await client.wait_group(given_up.id, timeout=60)
    await _look(client, done.id, long.id, pipeline.id)
    await _money(client, done.id, budget.id)
    for refused in (
        client.job("job_01m8mseskn135d083qg6tsmepv"),
        client.submit({"command": ["true"], "colour": "red"}),
    ):
        try:
            await refused
        except ApiError:
            continue
        raise AssertionError("it should have been refused")
    return long.id


async def _until_running(client: AsyncCortex, job_id: str) -> None:
    for _ in range(300):
        if (await client.job(job_id)).state.value == "running":
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"{job_id} does not run")


async def _providers(client: AsyncCortex) -> None:
    await client.create_provider("spare", "null", {}, enabled=False, rate_limit=5.0)
    await client.test_provider("spare")
    await client.update_provider("spare", {}, rate_limit=None)
    await client.enable_provider("spare")
    await client.disable_provider("spare")
    await client.providers()
    await client.provider("local")
    await client.provider_status("local")
    await client.provider_pricing("local")
    await client.provider_jobs("local")
    await client.plugins()


async def _look(client: AsyncCortex, done: str, long: str, group: str) -> None:
    page = await client.jobs(limit=2)
    await client.jobs(limit=2, cursor=page.next_cursor)
    await client.jobs(JobFilter(state="completed", labels={"team": "red"}, provider="local"))
    await client.jobs(JobFilter(group=group, created_after=timedelta(days=1), name="part-0"))
    for job_id in (done, long):
        await client.job(job_id)
        await client.trace(job_id)
    await client.log_page(done, tail=10)
    await _drain(client.logs(done))
    await _drain(client.events(done))
    await _drain(client.events())
    await _drain(client.group_events(group))
    await client.outputs(done)
    await client.output(done, "o/answer")
    await client.group(group)
    await client.groups(limit=1)
    await client.trace(group)
    await client.stuck()
    await client.reconcile(dry_run=True)
    await client.findings(closed=True)


async def _drain(items: AsyncIterator[object]) -> None:
    async for _ in items:
        pass


async def _money(client: AsyncCortex, job_id: str, budget_id: str) -> None:
    await client.ledger(limit=3)
    await client.ledger(job_id)
    await client.ledger_csv(job_id, since=timedelta(days=1))
    await client.costs("label:team", since=timedelta(days=1))
    await client.costs_csv("provider")
    await client.forecast()
    await client.budgets()
    await client.budget(budget_id)
    await client.update_budget(budget_id, amount="90 USD", enabled=True)
    other = await client.create_budget("to go", "5 USD", enabled=False)
    await client.delete_budget(other.id)


async def dump(database_url: str, target: Path) -> None:
    """Every row, as `COPY` commands with their data, parents first."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        tables = await connection.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
            " AND c.relname <> 'alembic_version' ORDER BY c.relname"
        )
        names = [str(row[0]) for row in await tables.fetchall()]
        first = ["job_groups", "job_gangs", "providers", "budgets", "jobs", "leases"]
        names.sort(key=lambda name: (first.index(name) if name in first else len(first), name))
        parts = [f"-- schema {await _revision(connection)}\n"]
        for name in names:
            columns = await _columns(connection, name)
            rows = b""
            query = f"COPY (SELECT {columns} FROM {name} ORDER BY 1, 2) TO STDOUT"
            async with connection.cursor().copy(query.encode()) as copy:
                async for data in copy:
                    rows += bytes(data)
            if rows:
                parts.append(f"COPY {name} ({columns}) FROM STDIN;\n{rows.decode()}\\.\n")
    await asyncio.to_thread(target.write_text, "".join(parts))


async def _revision(connection: psycopg.AsyncConnection[Any]) -> str:
    row = await (await connection.execute("SELECT version_num FROM alembic_version")).fetchone()
    assert row is not None
    return str(row[0])


async def _columns(connection: psycopg.AsyncConnection[Any], table: str) -> str:
    rows = await connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
        " AND table_schema = 'public' AND is_generated = 'NEVER' ORDER BY ordinal_position",
        [table],
    )
    return ", ".join(str(row[0]) for row in await rows.fetchall())


def every_setting() -> dict[str, Any]:
    """All settings at their defaults, as a `cortex.toml` may hold them."""
    settings: dict[str, Any] = _as_written(Settings().model_dump(exclude_none=True))
    for own in ("data_dir", "database", "temporal", "drop", "encryption_keys", "plugins"):
        settings.pop(own, None)  # the stack's own, or with a secret in it
    settings["api"] = {k: v for k, v in settings["api"].items() if k not in ("host", "port")}
    settings["providers"] = {"local": {"type": "local", "enabled": True}}
    return settings


def _as_written(value: object) -> Any:
    """As a person would write it."""
    if isinstance(value, dict):
        return {name: _as_written(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_as_written(part) for part in value]
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.3f}".rstrip("0").rstrip(".") + "s"
    return value if isinstance(value, bool | int | float | str) else str(value)


def record(target: Path) -> None:
    """Do it all, and write the files."""
    target.mkdir(exist_ok=True)
    toml = target / "cortex.toml"
    toml.write_text(tomlkit.dumps(every_setting()))
    os.environ["CORTEX_CONFIG"] = str(toml)
    read = json.loads(Settings().model_dump_json(exclude={"data_dir", "encryption_keys"}))
    (target / "settings.json").write_text(json.dumps(read, indent=1) + "\n")
    urls = {name: "http://127.0.0.1:1" for name in ("akash", "golem", "render", "nosana")}
    types = {**simulated_providers(urls), "local": {"type": "local"}, "null": {"type": "null"}}
    (target / "providers.json").write_text(json.dumps(types, indent=1, default=str) + "\n")
    with short_folder("ctx-then-") as folder:
        stored, recorder = asyncio.run(_record(folder, target))
    stored["secrets"] = {
        name: KEYS if name == "encryption_keys" else f"made-for-the-tests-{name}"
        for name in stored["secrets"]
    }
    (target / "stack.json").write_text(json.dumps(stored, indent=2) + "\n")
    recorder.write(target / "calls.jsonl")


async def _record(folder: Path, target: Path) -> tuple[dict[str, Any], Recorder]:
    recorder = Recorder()
    async with running_stack(folder, {"CORTEX_ENCRYPTION_KEYS": KEYS}) as stack:
        recorder.attach()
        await _use_all(stack, target)
        return stack.config.model_dump(mode="json", exclude={"data_dir"}), recorder


async def _use_all(stack: Stack, target: Path) -> None:
    running = await use(stack.client)
    with stack.frozen("temporal"):
        late = await stack.client.submit(PENDING, idempotency_key="pending-1")
        group = await stack.client.submit_group({**PIPELINE, "name": "late"})
        await stack.client.job(late.id)
        await stack.client.group(group.id)
        await stack.client.job(running)
        await dump(stack.config.database_url, target / "database.sql")
    await stack.client.cancel(running)
    await stack.client.wait(late.id, timeout=120)
    await stack.client.wait_group(group.id, timeout=120)


if __name__ == "__main__":
    record(Path(sys.argv[1]).resolve())
