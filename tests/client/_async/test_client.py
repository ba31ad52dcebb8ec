"""The client against the real API and a real PostgreSQL; Temporal is away, which it may be."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from api.__main__ import Server
from api.app import create_app
from cortex.client import NO_RETRY, ApiError, AsyncCortex, Cortex, JobFilter, WaitTimeout
from cortex.db.engine import Database
from cortex.db.jobs.logs import NewLine
from cortex.db.jobs.outputs import NotKept, Others
from cortex.domain.events import EventType
from cortex.domain.jobs import Outcome, Reason
from cortex.domain.offers import Capabilities, PriceSheet
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState
from cortex.settings import ApiSettings, DatabaseSettings, Settings, TemporalSettings
from tests.support.providers import known_provider

KEY = "test-key"
SPEC = JobSpec.model_validate(
    {"name": "real", "command": ["true"], "labels": {"a": "b"}, "secret_env": {"T": "x"}}
)


@pytest.fixture
async def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url=SecretStr(database_url)),
        temporal=TemporalSettings(address="127.0.0.1:1"),
        api=ApiSettings(key=SecretStr(KEY)),
        encryption_keys=SecretStr(f"k1:{base64.b64encode(b'0' * 32).decode()}"),
    )


@pytest.fixture
async def url(settings: Settings, database: Database) -> AsyncIterator[str]:
    """The API on a free port, with one provider known."""
    async with database.transaction() as tx:
        await known_provider(
            tx,
            "local",
            "local",
            capabilities=Capabilities(images=False, processes=True),
            prices=PriceSheet(cpu_hour=Decimal("0.02")),
        )
    server = Server(create_app(settings), settings)
    server.config.port = 0
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.fixture
async def cortex(url: str) -> AsyncIterator[AsyncCortex]:
    async with AsyncCortex(url, KEY, retry=NO_RETRY) as client:
        yield client


async def finish(database: Database, job_id: str) -> None:
    async with database.transaction() as tx:
        await tx.jobs.lock(job_id)
        for state in (JobState.PLACING, JobState.SETTLING):
            await tx.jobs.move(job_id, state)
        outcome = Outcome(state=JobState.COMPLETED, reason=Reason.EXITED, exit_code=0)
        await tx.jobs.finish(job_id, outcome)
        kind, data = EventType.JOB_STATE_CHANGED, {"state": "completed"}
        await tx.events.add(kind, job_id, job_id=job_id, data=data)


class TestJobs:
    async def test_submit_get_and_list(self, cortex: AsyncCortex) -> None:
        job = await cortex.submit(SPEC, idempotency_key="k1")
        again = await cortex.submit(SPEC, idempotency_key="k1")
        assert again.id == job.id
        assert (await cortex.job(job.id)).spec.labels == {"a": "b"}
        where = JobFilter(
            state="pending", name="real", labels={"a": "b"}, created_after=timedelta(hours=1)
        )
        assert [job.id async for job in cortex.iter_jobs(where)] == [job.id]
        assert [job async for job in cortex.iter_jobs(JobFilter(name="other"))] == []

    async def test_batch_and_pages(self, cortex: AsyncCortex) -> None:
        accepted = await cortex.submit_batch([SPEC] * 7)
        ids = [job.id async for job in cortex.iter_jobs(page_size=3)]
        assert sorted(ids) == sorted(job.id for job in accepted.jobs)

    async def test_errors_name_the_field(self, cortex: AsyncCortex) -> None:
        with pytest.raises(ApiError) as caught:
            await cortex.submit({"command": ["true"], "resources": {"cpu": -1}})
        assert caught.value.status == 422
        assert caught.value.errors[0].field == "resources.cpu"
        with pytest.raises(ApiError) as caught:
            await cortex.job("job_01j00000000000000000000000")
        assert caught.value.code == "not_found"

    async def test_validate_says_who_and_why_not(self, cortex: AsyncCortex) -> None:
        validation = await cortex.validate(SPEC)
        assert [estimate.provider_id for estimate in validation.estimates] == ["local"]

    async def test_cancel_and_extend(self, cortex: AsyncCortex) -> None:
        job = await cortex.submit(SPEC)
        await cortex.extend(job.id, "30m")
        assert (await cortex.cancel(job.id, reason="no")).cancel_requested_at is not None

    async def test_wait(self, cortex: AsyncCortex, database: Database, url: str) -> None:
        job = await cortex.submit(SPEC)
        with pytest.raises(WaitTimeout):
            await cortex.wait(job.id, timeout=0.2)

        def blocking() -> JobState:
            with Cortex(url, KEY) as client:
                return client.wait(job.id, timeout=60).state

        waits = asyncio.gather(cortex.wait(job.id, timeout=60), asyncio.to_thread(blocking))
        await asyncio.sleep(0.2)
        await finish(database, job.id)
        ended, state = await waits
        assert ended.exit_code == 0
        assert state is JobState.COMPLETED


class TestRest:
    async def test_logs_pages_and_follow(self, cortex: AsyncCortex, database: Database) -> None:
        job = await cortex.submit(SPEC)
        time = job.created_at
        lines = [NewLine(time=time, stream="stdout", text=f"{n} \u2028 ä") for n in range(1500)]
        async with database.transaction() as tx:
            await tx.logs.append(job.id, 1, lines, limit=2**20)
        await finish(database, job.id)
        paged = [line.text async for line in cortex.logs(job.id)]
        followed = [line.text async for line in cortex.logs(job.id, follow=True)]
        assert paged == followed == [line.text for line in lines]
        assert len([line async for line in cortex.logs(job.id, tail=3)]) == 3
        resumed = [line.text async for line in cortex.logs(job.id, follow=True, since="1:1490")]
        assert resumed == [line.text for line in lines[1490:]]

    async def test_events_pages_and_follow(self, cortex: AsyncCortex, database: Database) -> None:
        job = await cortex.submit(SPEC)
        await finish(database, job.id)
        followed = [event.id async for event in cortex.events(job.id, follow=True)]
        paged = [event.id async for event in cortex.events(job.id)]
        assert paged == followed
        assert followed

    async def test_outputs(
        self, cortex: AsyncCortex, database: Database, settings: Settings, tmp_path: Path
    ) -> None:
        job = await cortex.submit(SPEC)
        content = b"x" * 300_000
        place = settings.outputs_dir / job.id / "1" / "a b" / "ü.txt"
        digest = hashlib.sha256(content).hexdigest()
        for path in (place, settings.outputs_dir / job.id / "a b" / "ü.txt"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        async with database.transaction() as tx:
            await tx.outputs.replace(job.id, 1, [("a b/ü.txt", len(content), digest)])
        (output,) = await cortex.outputs(job.id)
        target = tmp_path / "got"
        # As a download that broke off left it.
        part = target / "a b" / f".ü.txt.{digest[:12]}.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(content[:1000])
        assert (await cortex.download(job.id, output, target)).read_bytes() == content
        assert not part.exists()

    async def test_a_name_as_long_as_names_can_be_and_an_empty_folder(
        self, cortex: AsyncCortex, database: Database, settings: Settings, tmp_path: Path
    ) -> None:
        job = await cortex.submit(SPEC)
        name = "n" * 255
        folder = settings.outputs_dir / job.id
        (folder / "empty").mkdir(parents=True)
        (folder / name).write_bytes(b"x")
        digest = hashlib.sha256(b"x").hexdigest()
        others = Others(folders=["empty"], left_out=[NotKept("fifo", "is a named pipe")])
        async with database.transaction() as tx:
            await tx.outputs.replace(job.id, 1, [(name, 1, digest)], others)
        for output in await cortex.outputs(job.id):
            await cortex.download(job.id, output, tmp_path / "got")
        assert (tmp_path / "got" / name).read_bytes() == b"x"
        assert (tmp_path / "got/empty").is_dir()
        assert [left_out.path for left_out in await cortex.left_out(job.id)] == ["fifo"]

    async def test_the_small_ones(self, cortex: AsyncCortex) -> None:
        assert [provider.id for provider in await cortex.providers()] == ["local"]
        assert (await cortex.provider("local")).type == "local"
        assert (await cortex.costs("label:a")).rows == ()
        assert [entry async for entry in cortex.iter_ledger()] == []
        assert "properties" in await cortex.job_schema()
        assert (await cortex.info()).version
        assert (await cortex.health("live")).status == "ok"
        ready = await cortex.health()
        assert "temporal" in {check.name for check in ready.checks if not check.ok}

    async def test_a_wrong_key(self, url: str) -> None:
        async with AsyncCortex(url, "wrong") as cortex:
            with pytest.raises(ApiError) as caught:
                await cortex.info()
        assert caught.value.status == 401
