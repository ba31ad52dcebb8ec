"""Jobs as JSON: the fields are those of the schemas, and a page ends where it should."""

import json
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.db.jobs.repository import JobFilter, NewJob
from cortex.db.jobs.views import ADDED_LATER, JobReads
from cortex.db.readpool import ReadPool
from cortex.domain.ids import new_id
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState
from cortex.schemas.jobs import JobSummary, JobView
from cortex.services.views import job_view, new_job_view, render
from cortex.settings import TemporalSettings


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[ReadPool]:
    pool = ReadPool(database.settings, application="test")
    yield pool
    await pool.aclose()


@pytest.fixture
def reads(pool: ReadPool) -> JobReads:
    return JobReads(pool)


async def accepted(database: Database, *names: str) -> list[tuple[NewJob, dict[str, Any], Any]]:
    """Jobs that were just stored, with their specs and the time."""
    specs = [
        JobSpec.model_validate({"name": name, "command": ["true"], "labels": {"name": name}})
        for name in names
    ]
    ids = sorted(new_id("job") for _ in specs)
    jobs = [NewJob(job_id, "ann", spec) for job_id, spec in zip(ids, specs, strict=True)]
    shown = [spec.model_dump(mode="json") for spec in specs]
    async with database.statement() as tx:
        stored = await tx.acceptance.store(jobs, shown, delay=timedelta(0))
    assert stored is not None
    return [(job, spec, stored.created_at) for job, spec in zip(jobs, shown, strict=True)]


async def test_the_fields_are_those_of_the_schema(database: Database, reads: JobReads) -> None:
    [(job, _, _)] = await accepted(database, "one")

    view = json.loads(await reads.job(job.id))
    page = await reads.page(JobFilter(), before=None, limit=5)

    assert view.keys() == JobView.model_fields.keys() - ADDED_LATER
    assert json.loads(page.items).keys() == JobSummary.model_fields.keys()


async def test_a_new_job_is_shown_as_it_is_read(database: Database, reads: JobReads) -> None:
    settings = TemporalSettings()
    [(job, spec, created_at)] = await accepted(database, "one")

    answered = JobView.model_validate_json(render(new_job_view(job, spec, created_at, settings)))
    read = JobView.model_validate_json(job_view(await reads.job(job.id), settings, job.id))

    assert answered == read
    plain = orjson.loads(render(new_job_view(job, spec, created_at, settings)))
    assert plain.keys() == JobView.model_fields.keys()


class TestPage:
    async def test_has_a_next_one_only_if_more_follow(
        self, database: Database, reads: JobReads
    ) -> None:
        await accepted(database, "a", "b", "c")

        whole = await reads.page(JobFilter(), before=None, limit=3)
        first = await reads.page(JobFilter(), before=None, limit=2)
        second = await reads.page(JobFilter(), before=first.last, limit=2)

        assert _names(whole.items) == ["c", "b", "a"]
        assert whole.last is None
        assert _names(first.items) == ["c", "b"]
        assert _names(second.items) == ["a"]
        assert second.last is None

    async def test_of_nothing_is_empty(self, reads: JobReads) -> None:
        page = await reads.page(JobFilter(), before=None, limit=2)

        assert (page.items, page.last) == ("", None)

    async def test_is_narrowed(self, database: Database, reads: JobReads) -> None:
        await accepted(database, "a", "b")

        async def listed(**narrowing: Any) -> list[str]:
            page = await reads.page(JobFilter(**narrowing), before=None, limit=9)
            return _names(page.items)

        assert await listed(states=[JobState.PENDING]) == ["b", "a"]
        assert await listed(states=[JobState.PENDING, JobState.FAILED]) == ["b", "a"]
        assert await listed(states=[JobState.FAILED]) == []
        assert await listed(labels={"name": "a"}) == ["a"]
        assert await listed(owner="ann", name="b") == ["b"]
        assert await listed(owner="bob") == []


class TestSeveralStates:
    """Each state is read by itself, and what was read is merged."""

    @pytest.mark.parametrize("seed", [1, 2, 3])
    async def test_the_pages_are_those_of_the_plain_query(
        self, database: Database, reads: JobReads, seed: int
    ) -> None:
        chance = random.Random(seed)
        await _stored(database, chance, count=300)
        for _ in range(25):
            states = chance.sample(list(JobState), chance.randint(2, 5))
            narrowing: dict[str, Any] = chance.choice(
                [{}, {"owner": "ann"}, {"provider_id": "null"}, {"labels": {"team": "a"}}]
            )
            where = JobFilter(states=states, **narrowing)
            limit = chance.choice([1, 7, 40])

            expected = await _matching(database, where)

            assert await _all_pages(reads, where, limit) == expected
            # Of the same state twice a job is there once.
            twice = JobFilter(states=[*states, states[0]], **narrowing)
            assert await _all_pages(reads, twice, limit) == expected

    async def test_a_rare_one_is_not_looked_for_among_all(
        self, database: Database, pool: ReadPool, reads: JobReads
    ) -> None:
        await _filled(database, 20_000)
        before = await _read_rows(database, pool)

        where = JobFilter(states=[JobState.RUNNING, JobState.PENDING])
        page = await reads.page(where, before=None, limit=5)

        assert page.items == ""
        assert await _read_rows(database, pool) - before < 100

    async def test_a_page_ends_the_search_for_common_ones(
        self, database: Database, pool: ReadPool, reads: JobReads
    ) -> None:
        await _filled(database, 20_000)
        before = await _read_rows(database, pool)

        where = JobFilter(states=[JobState.RUNNING, JobState.COMPLETED])
        page = await reads.page(where, before=None, limit=5)

        assert len(_names(page.items)) == 5
        assert await _read_rows(database, pool) - before < 100


async def _stored(database: Database, chance: random.Random, *, count: int) -> None:
    """Jobs of a few states, owners and labels, many of them of the very same time."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        {
            "id": new_id("job"),
            "state": chance.choice(list(JobState)).value,
            "owner": chance.choice(["ann", "bob"]),
            "provider": chance.choice(["null", None]),
            "labels": json.dumps({"team": chance.choice("ab")}),
            "time": start + timedelta(seconds=chance.randrange(20)),
        }
        for _ in range(count)
    ]
    async with database.transaction() as tx:
        await tx.connection.execute(
            text(
                "INSERT INTO jobs (id, name, owner, spec, state, provider_id, labels, created_at)"
                " VALUES (:id, 'x', :owner, '{}', :state, :provider, CAST(:labels AS jsonb), :time)"
            ),
            rows,
        )


async def _matching(database: Database, where: JobFilter) -> list[str]:
    """The ids of all jobs that a filter lets through, newest first."""
    query = text(
        "SELECT id FROM jobs WHERE state = ANY(:states) AND labels @> CAST(:labels AS jsonb)"
        " AND owner = coalesce(:owner, owner)"
        " AND (CAST(:provider AS text) IS NULL OR provider_id = :provider)"
        " ORDER BY created_at DESC, id DESC"
    )
    values = {
        "states": [state.value for state in where.states],
        "labels": json.dumps(dict(where.labels)),
        "owner": where.owner,
        "provider": where.provider_id,
    }
    async with database.reading() as tx:
        return list((await tx.connection.execute(query, values)).scalars())


async def _all_pages(reads: JobReads, where: JobFilter, limit: int) -> list[str]:
    ids: list[str] = []
    place = None
    while True:
        page = await reads.page(where, before=place, limit=limit)
        ids += [each["id"] for each in json.loads(f"[{page.items}]")]
        if page.last is None:
            return ids
        place = page.last


@pytest.mark.parametrize(
    ("cause", "counted", "told"),
    [("lost", (1, 0), True), ("failed", (0, 1), True), ("refused", (0, 0), False)],
)
async def test_a_restart_is_counted_and_told(
    database: Database, reads: JobReads, cause: Any, counted: tuple[int, int], told: bool
) -> None:
    [(job, _, _)] = await accepted(database, "one")
    async with database.transaction() as tx:
        await tx.jobs.move(job.id, JobState.PLACING)
        await tx.jobs.move(job.id, JobState.DEPLOYING)
        assert await tx.jobs.restart(job.id, cause=cause, message="again") is not None

    view = JobView.model_validate_json(await reads.job(job.id))

    assert (view.state, view.message) == (JobState.PLACING, "again")
    assert (view.losses, view.failures) == counted
    assert (view.restarted_at is not None) == told


def _names(items: str) -> list[str]:
    return [each["name"] for each in json.loads(f"[{items}]")]


async def test_a_rare_state_is_found_by_its_index_after_a_common_one(
    database: Database, pool: ReadPool, reads: JobReads
) -> None:
    """PostgreSQL keeps a plan that was good for what most have, unless it is told not to."""
    await _filled(database, 20_000)
    for _ in range(12):  # so often that a common plan would be kept, and be preferred
        await reads.page(JobFilter(states=[JobState.COMPLETED]), before=None, limit=5)
    before = await _read_rows(database, pool)

    page = await reads.page(JobFilter(states=[JobState.RUNNING]), before=None, limit=5)

    assert page.items == ""
    assert await _read_rows(database, pool) - before < 1000


async def _filled(database: Database, count: int) -> None:
    """Completed jobs, and the server's knowledge of them."""
    async with database.transaction() as tx:
        await tx.connection.execute(
            text(
                "INSERT INTO jobs (id, name, owner, spec, state, created_at)"
                " SELECT 'job_' || lpad(i::text, 26, '0'), 'old', 'ann', '{}', 'completed',"
                " now() - i * interval '1 s' FROM generate_series(1, :count) AS i"
            ),
            {"count": count},
        )
    async with database.transaction() as tx:
        await tx.connection.execute(text("ANALYZE jobs"))


async def _read_rows(database: Database, pool: ReadPool) -> int:
    """How many rows of `jobs` were looked at so far, by the server's own count."""
    for plan_anew in (False, True):
        await pool.fetch(b"SELECT pg_stat_force_next_flush()", (), plan_anew=plan_anew)
    async with database.reading() as tx:
        query = text(
            "SELECT sum(idx_tup_fetch + seq_tup_read) FROM pg_stat_user_tables"
            " WHERE relname = 'jobs'"
        )
        return int((await tx.connection.execute(query)).scalar_one())
