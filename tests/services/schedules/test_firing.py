"""What becomes of a time: once, as its owner may, and as the overlap policy says."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.client import Client

from cortex.db.engine import Database
from cortex.domain.rights import Principal, Role
from cortex.domain.schedules import Overlap, RunState, Schedule
from cortex.domain.states import JobState
from cortex.domain.versions import ANY_VERSION
from cortex.schemas.schedules import BackfillRequest, ScheduleCreate, ScheduleUpdate
from cortex.services.schedules.firing import Firing
from cortex.services.schedules.opening import open_firing
from cortex.services.schedules.schedules import Schedules
from cortex.settings import ApiKey, Settings
from cortex.temporal.client import connect
from tests.api.conftest import providers, settings
from tests.support.rows import set_job

__all__ = ["providers", "settings"]

ANN = Principal(name="ann", role=Role.DEVELOPER)
NOW = datetime.now(UTC).replace(second=0, microsecond=0)


@pytest.fixture
async def client(settings: Settings) -> Client:
    return await connect(settings.temporal, lazy=True)


@pytest.fixture
def firing(settings: Settings, database: Database, client: Client, providers: None) -> Firing:
    keys = {"ann": ApiKey(key=SecretStr("key of ann, long enough"), role=Role.DEVELOPER)}
    api = settings.api.model_copy(update={"keys": keys})
    return open_firing(settings.model_copy(update={"api": api}), database, client)


@pytest.fixture
def schedules(database: Database, firing: Firing) -> Schedules:
    return Schedules(database, firing)


async def made(schedules: Schedules, **values: Any) -> Schedule:
    body = {"name": "s", "cron": "* * * * *", "job": {"command": ["true"]}, **values}
    return await schedules.create(ScheduleCreate.model_validate(body), "ann", ANN)


async def jobs(database: Database) -> int:
    async with database.reading() as tx:
        query = "SELECT count(*) FROM jobs"
        return int((await tx.connection.exec_driver_sql(query)).scalar_one())


async def ended(database: Database, job_id: str) -> None:
    async with database.transaction() as tx:
        await set_job(tx, job_id, state=JobState.COMPLETED.value)


class TestOnce:
    async def test_however_often_and_by_how_many(
        self, schedules: Schedules, firing: Firing, database: Database
    ) -> None:
        schedule = await made(schedules)
        fired = await asyncio.gather(*(firing.fire(schedule.id, NOW) for _ in range(10)))
        assert {each.state for each in fired} == {RunState.SUBMITTED}
        assert len({each.made for each in fired}) == 1
        assert await jobs(database) == 1
        async with database.reading() as tx:
            job = await tx.jobs.get(fired[0].made or "")
        assert (job.owner, job.project) == ("ann", "ann")

    async def test_of_two_times_at_once_one_is_skipped(
        self, schedules: Schedules, firing: Firing, database: Database
    ) -> None:
        schedule = await made(schedules)
        times = [NOW - timedelta(minutes=number) for number in range(6)]
        fired = await asyncio.gather(*(firing.fire(schedule.id, time) for time in times))
        states = sorted(each.state.value for each in fired)
        assert states == ["skipped"] * 5 + ["submitted"]
        assert await jobs(database) == 1

    async def test_a_change_in_between_is_seen(
        self, schedules: Schedules, firing: Firing, database: Database
    ) -> None:
        """Nothing is submitted by a schedule that was paused before."""
        schedule = await made(schedules, overlap="allow_all")
        times = [NOW - timedelta(minutes=number) for number in range(20)]
        firings = [asyncio.create_task(firing.fire(schedule.id, time)) for time in times]
        paused = await schedules.pause(schedule.id, "", ANN)
        before = await jobs(database)
        late = [await task for task in firings]
        assert paused.paused
        assert await jobs(database) == before
        assert sum(each.state is RunState.SUBMITTED for each in late) == before


class TestOverlap:
    async def first(self, firing: Firing, schedule: Schedule) -> str:
        fired = await firing.fire(schedule.id, NOW - timedelta(minutes=3))
        assert fired.made is not None
        return fired.made

    async def test_skip(self, schedules: Schedules, firing: Firing, database: Database) -> None:
        schedule = await made(schedules)
        job_id = await self.first(firing, schedule)
        fired = await firing.fire(schedule.id, NOW - timedelta(minutes=2))
        assert (fired.state, fired.message) == (RunState.SKIPPED, f"`{job_id}` had not ended")
        await ended(database, job_id)
        # What was skipped stays so, also for who asks again.
        again = await firing.fire(schedule.id, NOW - timedelta(minutes=2))
        assert again.state is RunState.SKIPPED
        assert (await firing.fire(schedule.id, NOW)).state is RunState.SUBMITTED

    async def test_buffer_one(
        self, schedules: Schedules, firing: Firing, database: Database
    ) -> None:
        schedule = await made(schedules, overlap="buffer_one")
        job_id = await self.first(firing, schedule)
        second, third = NOW - timedelta(minutes=2), NOW - timedelta(minutes=1)
        assert (await firing.fire(schedule.id, second)).state is RunState.WAITING
        assert (await firing.fire(schedule.id, third)).state is RunState.SKIPPED
        assert (await firing.fire(schedule.id, second)).state is RunState.WAITING
        await ended(database, job_id)
        assert (await firing.fire(schedule.id, second)).state is RunState.SUBMITTED
        assert (await firing.fire(schedule.id, third)).state is RunState.SKIPPED

    async def test_allow_all(self, schedules: Schedules, firing: Firing) -> None:
        schedule = await made(schedules, overlap="allow_all")
        await self.first(firing, schedule)
        assert (await firing.fire(schedule.id, NOW)).state is RunState.SUBMITTED

    async def test_cancel_other(
        self, schedules: Schedules, firing: Firing, database: Database
    ) -> None:
        schedule = await made(schedules, overlap="cancel_other")
        job_id = await self.first(firing, schedule)
        fired = await firing.fire(schedule.id, NOW)
        assert fired.state is RunState.SUBMITTED
        async with database.reading() as tx:
            assert (await tx.jobs.get(job_id)).state is JobState.CANCELLING
            assert (await tx.jobs.get(fired.made or "")).state is JobState.PENDING

    async def test_a_trigger_overlaps(self, schedules: Schedules, firing: Firing) -> None:
        schedule = await made(schedules)
        await self.first(firing, schedule)
        assert (await schedules.trigger(schedule.id, ANN)).state is RunState.SUBMITTED


class TestRefused:
    async def test_too_late(self, schedules: Schedules, firing: Firing) -> None:
        schedule = await made(schedules, catchup="2m")
        late = NOW - timedelta(minutes=10)
        fired = await firing.fire(schedule.id, late)
        assert fired.state is RunState.SKIPPED
        assert "too late" in fired.message
        span = BackfillRequest(start=late, end=late)
        assert (await schedules.backfill(schedule.id, span, ANN)).count == 1
        assert (await firing.fire(schedule.id, late)).state is RunState.SUBMITTED
        assert (await schedules.backfill(schedule.id, span, ANN)).count == 0
        wider = BackfillRequest(start=late - timedelta(minutes=2), end=late)
        assert (await schedules.backfill(schedule.id, wider, ANN)).count == 2

    async def test_paused_is_not_fired_but_made_up_for(
        self, schedules: Schedules, firing: Firing
    ) -> None:
        schedule = await made(schedules, paused=True)
        assert (await firing.fire(schedule.id, NOW)).state is RunState.SKIPPED
        await schedules.backfill(schedule.id, BackfillRequest(start=NOW, end=NOW), ANN)
        assert (await firing.fire(schedule.id, NOW)).state is RunState.SUBMITTED

    async def test_a_budget_that_is_used_up_refuses_and_does_not_pause(
        self, schedules: Schedules, firing: Firing
    ) -> None:
        job = {"command": ["true"], "budget": "0.000001 USD"}
        schedule = await made(schedules, job=job)
        fired = await firing.fire(schedule.id, NOW)
        assert fired.state is RunState.REFUSED
        assert "budget" in fired.message
        assert not (await schedules.get(schedule.id)).paused

    async def test_who_left_the_project(
        self, schedules: Schedules, firing: Firing, database: Database
    ) -> None:
        async with database.transaction() as tx:
            await tx.projects.add("vision", "", "local")
            await tx.projects.put_member("vision", "ann", Role.DEVELOPER, "local")
        ann = ANN.model_copy(update={"memberships": {"vision": Role.DEVELOPER}})
        body = {"name": "s", "cron": "* * * * *", "job": {"command": ["true"]}}
        schedule = await schedules.create(ScheduleCreate.model_validate(body), "vision", ann)
        async with database.transaction() as tx:
            await tx.projects.remove_member("vision", "ann")
        fired = await firing.fire(schedule.id, NOW)
        assert fired.state is RunState.REFUSED
        now = await schedules.get(schedule.id)
        why = "`ann`, who owns it, is not in `vision` any more"
        assert (now.paused, now.pause_reason) == (True, why)
        assert await jobs(database) == 0
        async with database.reading() as tx:
            query = "SELECT actor FROM audit_log WHERE action = 'schedule.pause'"
            assert (await tx.connection.exec_driver_sql(query)).scalar_one() == "cortex"
            query = "SELECT subject, data FROM events WHERE type = 'schedule.paused'"
            (event,) = (await tx.connection.exec_driver_sql(query)).all()
        assert event.subject == schedule.id
        assert event.data == {"name": "s", "owner": "ann", "project": "vision", "message": why}

    async def test_one_that_is_gone(self, schedules: Schedules, firing: Firing) -> None:
        schedule = await made(schedules)
        await schedules.remove(schedule.id, ANN, ANY_VERSION)
        fired = await firing.fire(schedule.id, NOW)
        assert (fired.state, fired.message) == (RunState.SKIPPED, "the schedule is gone")


async def test_another_spec_from_the_next_time_on(
    schedules: Schedules, firing: Firing, database: Database
) -> None:
    schedule = await made(schedules, overlap=Overlap.ALLOW_ALL)
    change = ScheduleUpdate.model_validate({"job": {"command": ["false"]}})
    await schedules.update(schedule.id, change, ANN, ANY_VERSION)
    fired = await firing.fire(schedule.id, NOW)
    async with database.reading() as tx:
        assert (await tx.jobs.get(fired.made or "")).spec.command == ("false",)
