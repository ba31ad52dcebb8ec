"""One run: a database, a namespace, processes that are killed and come back, and who uses them."""

import asyncio
import contextlib
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx
from pydantic import SecretStr
from sqlalchemy import text
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from cortex import faultpoints
from cortex.client import AsyncCortex
from cortex.client.errors import ApiError, ConnectionFailed
from cortex.client.retry import RetryPolicy
from cortex.db.engine import Database
from cortex.db.jobs.repository import NewJob
from cortex.domain.ids import new_id
from cortex.domain.spec import JobSpec
from cortex.embedded.config import free_ports
from cortex.settings import DatabaseSettings, TemporalSettings
from cortex.temporal.client import connect, prepare_namespace
from cortex.temporal.contracts import monitor_id
from tests.faults.books import Books, known_entries, read_books
from tests.faults.crashpoints.forks import Child, Forks
from tests.faults.crashpoints.house import House, Lane, provider_settings, this_machine
from tests.support import eventually

T = TypeVar("T")
Role = Literal["worker", "api"]
KEY = "ctx_faults_0123456789abcdef"
_TRIES = 400
_PAUSE = 0.05
_HOPELESS = 3


@dataclass(frozen=True, order=True)
class Boundary:
    """A place where a process may die: the `nth` time that it comes to `where`."""

    kind: str
    where: str
    nth: int

    def __str__(self) -> str:
        return f"{self.kind}: {self.where} #{self.nth}"

    def plan(self) -> dict[str, Any]:
        return {"kind": self.kind, "where": self.where, "nth": self.nth}


def boundaries(trace: Path) -> list[Boundary]:
    """All boundaries of a trace, in their order."""
    if not trace.exists():
        return []
    seen: Counter[tuple[str, str]] = Counter()
    reached: list[Boundary] = []
    for line in trace.read_text().splitlines():
        _, kind, where = line.split("\t")
        seen[kind, where] += 1
        reached.append(Boundary(kind, where, seen[kind, where]))
    return reached


@dataclass
class Keeper:
    """Keeps a process running: when it dies, the next one comes up at once."""

    role: Role
    forks: Forks
    folder: Path
    env: Mapping[str, str]
    deaths: Sequence[Mapping[str, Any]] = ()
    """The plan of the first process, the second…; those after them only write their traces."""
    args: Mapping[str, Any] = field(default_factory=dict)
    child: Child | None = None
    killed: int = 0
    broke: list[str] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None
    _started: int = 0
    _closing: bool = False

    async def start(self) -> None:
        await self._spawn()
        self._task = asyncio.create_task(self._keep())

    async def aclose(self) -> None:
        """End it for good, also one that is being started."""
        self._closing = True
        if self._task is not None:
            if self.child is not None:
                self.child.kill()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.child is not None:
            await self.child.killed()

    def trace(self, number: int = 0) -> Path:
        return self.folder / f"{self.role}-{number}.trace"

    async def _keep(self) -> None:
        while self.child is not None and not self._closing and len(self.broke) < _HOPELESS:
            status = await asyncio.shield(self.child.ended)
            if self._closing:
                return
            if status == -9:
                self.killed += 1
            else:
                self.broke.append(f"the {self.role} ended by itself with {status}")
                await asyncio.sleep(0.3)
            await self._spawn()

    async def _spawn(self) -> None:
        number, self._started = self._started, self._started + 1
        death = self.deaths[number] if number < len(self.deaths) else {}
        plan = self.folder / f"{self.role}-{number}.plan.json"
        plan.write_text(json.dumps({"trace": str(self.trace(number)), **death}))
        env = {**self.env, faultpoints.PLAN: str(plan), faultpoints.ALLOWED: "yes"}
        log = self.folder / f"{self.role}-{number}.log"
        self.child = await self.forks.spawn(self.role, log, env, **self.args)


@dataclass
class Stage:
    """Where one scenario is played."""

    folder: Path
    urls: dict[str, str]
    database: Database
    client: Client
    worker: Keeper
    api: Keeper | None
    cortex: AsyncCortex | None
    ignored: frozenset[tuple[str, str]]
    jobs: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    workflows: list[str] = field(default_factory=list)
    """Others whose end belongs to the scenario."""
    lost: set[str] = field(default_factory=set)
    _marks: dict[str, Path] = field(default_factory=dict)

    def mark(self, name: str = "") -> Path:
        """A file to which a command adds a line when it begins."""
        return self.folder / f"mark-{name or uuid.uuid4().hex[:8]}"

    async def submit(self, script: str = "exit 0", **fields: Any) -> str:
        """Accept a job; through the API if there is one, with one key however often it is sent."""
        mark = self.mark()
        body = {
            "name": "victim",
            "image": "busybox",
            "command": ["sh", "-c", f"echo begun >> {mark}; {script}"],
            "resources": {"cpu": "500m", "memory": "256Mi"},
            "duration": "10m",
            "placement": {"timeout": "2m"},
            **fields,
        }
        spec = JobSpec.model_validate(body)
        job_id = await (self._post(spec) if self.cortex else self._store(spec))
        self.jobs.append(job_id)
        self._marks[job_id] = mark
        return job_id

    async def submit_group(self, spec: dict[str, Any]) -> str:
        """Accept a group; each member's command uses the mark of its name."""
        assert self.cortex is not None
        cortex, key = self.cortex, uuid.uuid4().hex
        await eventually(self._providers_known, within=120, what="what the providers can run")
        group = await answered(lambda: cortex.submit_group(spec, idempotency_key=key))
        self.groups.append(group.id)
        for member in group.members.items:
            self.jobs.append(member.id)
            self._marks[member.id] = self.mark(member.member)
        return group.id

    async def _store(self, spec: JobSpec) -> str:
        job_id = new_id("job")
        async with self.database.transaction() as tx:
            job = NewJob(job_id, "tester", spec)
            await tx.acceptance.store([job], [spec.model_dump(mode="json")], delay=timedelta(0))
        return job_id

    async def _post(self, spec: JobSpec) -> str:
        assert self.cortex is not None
        cortex, key = self.cortex, uuid.uuid4().hex
        await eventually(self._providers_known, within=120, what="what the providers can run")
        return (await answered(lambda: cortex.submit(spec, idempotency_key=key))).id

    async def _providers_known(self) -> bool:
        query = "SELECT count(*) AS n FROM providers WHERE capabilities IS NOT NULL"
        (row,) = await self.rows(query)
        return int(row["n"]) == len(self.urls)

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        async with self.database.reading() as tx:
            result = await tx.connection.execute(text(query), values)
            return [dict(row) for row in result.mappings()]

    async def state(self, job_id: str) -> str:
        (row,) = await self.rows("SELECT state FROM jobs WHERE id = :id", id=job_id)
        return str(row["state"])

    async def reaches(self, job_id: str, *states: str, within: float = 120) -> None:
        """Wait until a job is in one of these states."""

        async def there() -> bool:
            return await self.state(job_id) in states

        await eventually(there, within=within, what=f"{job_id} in {states}")

    def begun(self) -> dict[str, int]:
        """How often the command of each job was begun."""
        return {
            job_id: len(mark.read_text().splitlines()) if mark.exists() else 0
            for job_id, mark in self._marks.items()
        }

    async def over(self) -> bool:
        """Whether every job and its workflow has ended, and nobody is still to be told."""
        query = """SELECT
            (SELECT count(*) FROM jobs
             WHERE state NOT IN ('completed', 'failed', 'cancelled')) AS jobs,
            (SELECT count(*) FROM job_groups
             WHERE state NOT IN ('completed', 'failed', 'cancelled')) AS groups,
            (SELECT count(*) FROM commands WHERE done_at IS NULL) AS commands"""
        (row,) = await self.rows(query)
        if any(row.values()):
            return False
        for workflow in (*self.jobs, *self.groups, *self.workflows):
            if not await self._closed(workflow):
                return False
        return True

    async def _closed(self, workflow_id: str) -> bool:
        try:
            seen = await self.client.get_workflow_handle(workflow_id).describe()
        except RPCError:
            return True  # it never came to one
        return seen.status != WorkflowExecutionStatus.RUNNING

    async def books(self) -> Books:
        url = self.database.settings.url.get_secret_value()
        return await read_books(url, self.urls, ignored=self.ignored)

    async def save_histories(self) -> list[Path]:
        """Write the Temporal histories of all jobs and groups into the run's folder."""
        saved: list[Path] = []
        for workflow_id in (*self.jobs, *self.groups, *self.workflows):
            with contextlib.suppress(RPCError):
                history = await self.client.get_workflow_handle(workflow_id).fetch_history()
                path = self.folder / f"history-{workflow_id}.json"
                path.write_text(history.to_json())
                saved.append(path)
        return saved

    async def calm(self) -> None:
        """The networks refuse nothing any more."""
        for url in self.urls.values():
            async with httpx.AsyncClient(base_url=url) as http:
                (await http.delete("/_sim/faults")).raise_for_status()

    async def end_monitors(self) -> None:
        """Nothing of this run goes on at the Temporal server."""
        for provider in self.urls:
            with contextlib.suppress(RPCError):
                await self.client.get_workflow_handle(monitor_id(provider)).terminate()


async def answered(call: Callable[[], Awaitable[T]]) -> T:
    """Ask the API until it answers. When it died, what it did is not known; the key tells it."""
    for _ in range(_TRIES):
        try:
            return await call()
        except ConnectionFailed:
            pass
        except ApiError as error:
            if error.status != 503:
                raise
        await asyncio.sleep(_PAUSE)
    raise AssertionError("the API gave no answer")


@asynccontextmanager
async def open_stage(
    house: House,
    lane: Lane,
    folder: Path,
    networks: Sequence[str],
    *,
    api: bool = False,
    deaths: Mapping[Role, Sequence[Mapping[str, Any]]] | None = None,
    settings: Mapping[str, str] | None = None,
    args: Mapping[str, Any] | None = None,
) -> AsyncIterator[Stage]:
    """Everything for one run; the worker is not started yet."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    urls = await lane.networks(networks)
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(house.databases.one())
        database = Database(DatabaseSettings(url=SecretStr(url), pool_size=2))
        stack.push_async_callback(database.aclose)
        temporal = TemporalSettings(
            address=house.temporal,
            namespace=f"f-{uuid.uuid4().hex[:10]}",
            retention=timedelta(days=1),
        )
        client = await connect(temporal, lazy=False)
        await prepare_namespace(client, temporal.retention)
        (port,) = free_ports(1) if api else (8700,)
        env = {**_environment(folder, url, temporal, urls, port), **(settings or {})}
        deaths = deaths or {}
        keeper = Keeper(
            "worker", house.forks, folder, env, deaths.get("worker", ()), dict(args or {})
        )
        stack.push_async_callback(keeper.aclose)
        server, cortex = None, None
        if api:
            server = Keeper("api", house.forks, folder, env, deaths.get("api", ()))
            stack.push_async_callback(server.aclose)
            quick = RetryPolicy(attempts=2)
            cortex = AsyncCortex(f"http://127.0.0.1:{port}", api_key=KEY, retry=quick)
            stack.push_async_callback(cortex.aclose)
        stage = Stage(
            folder, urls, database, client, keeper, server, cortex, await known_entries(urls)
        )
        stack.push_async_callback(stage.end_monitors)
        yield stage


def _environment(
    folder: Path, url: str, temporal: TemporalSettings, urls: dict[str, str], port: int
) -> dict[str, str]:
    return {
        "CORTEX_DATA_DIR": str(folder / "data"),
        "CORTEX_CONFIG": str(folder / "none.toml"),
        "CORTEX_DATABASE__URL": url,
        "CORTEX_DATABASE__POOL_SIZE": "6",
        "CORTEX_TEMPORAL__ADDRESS": temporal.address,
        "CORTEX_TEMPORAL__NAMESPACE": temporal.namespace,
        "CORTEX_TEMPORAL__RETENTION": "1d",
        "CORTEX_API__PORT": str(port),
        "CORTEX_API__KEY": KEY,
        "CORTEX_JOBS__HEARTBEAT_TIMEOUT": "2s",
        "CORTEX_JOBS__QUOTE_TIMEOUT": "5s",
        # By the clock: of two runs not even the number of its writes is the same.
        "CORTEX_JOBS__METRICS_INTERVAL": "0",
        "CORTEX_MONITOR__HEARTBEAT_TIMEOUT": "2s",
        "CORTEX_PROVIDERS": json.dumps(provider_settings(urls) or this_machine(folder)),
        "CORTEX_TELEMETRY__LOG_LEVEL": "INFO",
    }
