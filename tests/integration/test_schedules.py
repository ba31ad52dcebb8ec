"""Schedules on a real Temporal server: told, told again, fired, made up for, mended."""

import base64
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text, update
from temporalio.client import Client
from temporalio.service import RPCError

from cortex.db.notify import Notifier
from cortex.db.tables.outbox import CommandRow
from cortex.domain.reconcile import FindingKind
from cortex.domain.rights import Principal, Role
from cortex.domain.schedules import RunState, Schedule, ScheduleRun
from cortex.domain.versions import ANY_VERSION
from cortex.schemas.schedules import BackfillRequest, ScheduleCreate, ScheduleUpdate
from cortex.security.keyring import KeyRing
from cortex.services.schedules.opening import open_firing
from cortex.services.schedules.schedules import Schedules
from cortex.temporal import firing
from cortex.temporal.client import connect
from cortex.temporal.contracts import scheduled_id
from cortex.temporal.outbox.relay import Relay
from tests.integration.conftest import Stage, StageMaker
from tests.integration.reconciling import of_books, tuned
from tests.support import eventually

pytestmark = pytest.mark.integration

LOCAL = Principal(name="local", role=Role.ADMIN)
HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
FAR = "2027-03-13T12:00:00Z"
"""Just before the clocks of New York are put forward."""

CRONS = (
    ("30 2 * * *", FAR),
    ("30 1 * * *", "2027-11-06T12:00:00Z"),
    ("*/20 1-2 * * *", "2027-11-06T12:00:00Z"),
    ("0 0 13 * 5", FAR),
    ("0 0 29 2 *", FAR),
    ("5 4 1-7 * mon", FAR),
    ("0 12 * * 0,7", FAR),
)


@pytest.fixture
async def stage(make_stage: StageMaker) -> Stage:
    return tuned(await make_stage(null={"type": "null", "run_seconds": 0}))


@pytest.fixture
def schedules(stage: Stage) -> Schedules:
    return Schedules(stage.database, open_firing(stage.settings, stage.database, stage.client))


@pytest.fixture
async def namespace(stage: Stage) -> AsyncIterator[Client]:
    """The namespace is there, and no worker; schedules are gone at the end."""
    async with stage.worker():
        pass
    yield stage.client
    async for each in await stage.client.list_schedules():
        with contextlib.suppress(RPCError):
            await stage.client.get_schedule_handle(each.id).delete()


async def made(schedules: Schedules, **values: Any) -> Schedule:
    job = {"command": ["true"], "placement": {"providers": ["null"]}}
    body = {"name": "s", "cron": "0 * * * *", "job": job, **values}
    return await schedules.create(ScheduleCreate.model_validate(body), "local", LOCAL)


def relay(stage: Stage) -> Relay:
    """That of a worker that does nothing else."""
    notifier = Notifier(stage.settings.database, ())
    return Relay(stage.database, stage.client, notifier, stage.settings.jobs)


async def told(stage: Stage) -> None:
    await relay(stage).deliver_due()


async def again(stage: Stage) -> None:
    """As if the relay had died after telling Temporal and before it wrote that down."""
    async with stage.database.transaction() as tx:
        values = {"done_at": None, "due_at": datetime(2026, 1, 1, tzinfo=UTC)}
        where = CommandRow.schedule_id.is_not(None)
        await tx.connection.execute(update(CommandRow).where(where).values(values))
    await told(stage)


async def runs(stage: Stage, schedule: Schedule) -> list[ScheduleRun]:
    async with stage.database.reading() as tx:
        return await tx.schedules.runs(schedule.id, before=None, limit=500)


async def jobs(stage: Stage) -> int:
    async with stage.database.reading() as tx:
        query = text("SELECT count(*) FROM jobs")
        return int((await tx.connection.execute(query)).scalar_one())


class TestTold:
    async def test_temporal_follows_the_row_however_often_it_is_told(
        self, stage: Stage, schedules: Schedules, namespace: Client
    ) -> None:
        schedule = await made(schedules, jitter="10s", timezone="Europe/Berlin")
        # Whoever made it has died here: the command is there with the row, and is carried out.
        await told(stage)
        await again(stage)
        assert (await schedules.get(schedule.id)).told_revision == 1
        handle = namespace.get_schedule_handle(scheduled_id(schedule.id))
        held = (await handle.describe()).schedule
        assert held.spec.time_zone_name == "Europe/Berlin"
        assert (held.spec.jitter, held.policy.catchup_window) == (
            timedelta(seconds=10),
            timedelta(hours=1),
        )
        await schedules.pause(schedule.id, "holidays", LOCAL)
        change = ScheduleUpdate.model_validate({"cron": "30 3 * * *"})
        await schedules.update(schedule.id, change, LOCAL, ANY_VERSION)
        await told(stage)
        held = (await handle.describe()).schedule
        assert (held.state.paused, held.state.note) == (True, "holidays")
        # What comes late does not undo what came after it.
        await firing.tell(namespace, schedule.id, schedule)
        held = (await handle.describe()).schedule
        assert held.state.paused
        assert [each.start for each in held.spec.calendars[0].hour] == [3]
        await schedules.resume(schedule.id, LOCAL)
        await told(stage)
        assert not (await handle.describe()).schedule.state.paused
        await schedules.remove(schedule.id, LOCAL, ANY_VERSION)
        await told(stage)
        await again(stage)
        with pytest.raises(RPCError, match="not found"):
            await handle.describe()

    async def test_what_comes_late_undoes_nothing_that_is_encrypted(
        self, stage: Stage, schedules: Schedules, namespace: Client
    ) -> None:
        ring = KeyRing.from_setting(SecretStr(f"k1:{base64.b64encode(b'0' * 32).decode()}"))
        hidden = stage.settings.temporal.model_copy(update={"encrypt_payloads": True})
        client = await connect(hidden, keyring=ring)
        schedule = await made(schedules)
        later = schedule.model_copy(update={"revision": 2, "paused": True})
        for each in (later, schedule):
            await firing.tell(client, schedule.id, each)
        held = (await namespace.get_schedule_handle(scheduled_id(schedule.id)).describe()).schedule
        assert held.state.paused
        assert schedule.cron not in str(held.action)

    async def test_next_runs_are_those_of_temporal(
        self, schedules: Schedules, stage: Stage, namespace: Client
    ) -> None:
        """Also where clocks are put forward (nothing is due then) and back (it is due twice)."""
        for number, (cron, start) in enumerate(CRONS):
            schedule = await made(
                schedules, name=f"s{number}", cron=cron, start_at=start, timezone="America/New_York"
            )
            await told(stage)
            theirs = await firing.next_times(namespace, schedule.id)
            ours = schedule.next_runs(datetime.now(UTC), len(theirs))
            assert len(ours) > 1, cron
            assert ours == theirs[: len(ours)], cron


class TestFired:
    async def test_a_backfill_makes_each_run_once_also_if_workers_were_away(
        self, stage: Stage, schedules: Schedules, namespace: Client
    ) -> None:
        schedule = await made(schedules, paused=True)
        await told(stage)
        times = [HOUR - timedelta(hours=number) for number in (2, 3, 4, 5)]
        span = BackfillRequest(start=times[-1], end=times[0])
        assert (await schedules.backfill(schedule.id, span, LOCAL)).count == 4
        await told(stage)
        await again(stage)
        assert await runs(stage, schedule) == []  # nobody is there to do it
        async with stage.worker():

            async def all_made() -> bool:
                found = await runs(stage, schedule)
                return [run.state for run in found] == [RunState.SUBMITTED] * 4

            await eventually(all_made, within=30)
            found = await runs(stage, schedule)
            assert [run.due_at for run in found] == times
            for run in found:
                assert (await stage.ended(run.made or "")).owner == "local"
            # Once more, and nothing comes of it.
            await schedules.backfill(schedule.id, span, LOCAL)
            await eventually(lambda: _delivered(stage), within=30)
            await eventually(lambda: _idle(namespace), within=30)
        assert await jobs(stage) == 4

    @pytest.mark.slow
    async def test_by_the_clock(self, stage: Stage, schedules: Schedules) -> None:
        async with stage.worker():
            schedule = await made(schedules, cron="* * * * *")

            async def fired() -> bool:
                return bool(await runs(stage, schedule))

            await eventually(fired, within=90)
            await schedules.pause(schedule.id, "", LOCAL)
            run = (await runs(stage, schedule))[-1]
            assert (run.state, run.due_at.second, run.due_at.microsecond) == (
                RunState.SUBMITTED,
                0,
                0,
            )
            await stage.ended(run.made or "")


class TestReconcile:
    async def test_what_temporal_has_lost_or_has_too_much(
        self, stage: Stage, schedules: Schedules
    ) -> None:
        async with stage.worker():
            schedule = await made(schedules)
            handle = stage.client.get_schedule_handle(scheduled_id(schedule.id))
            await eventually(lambda: _is_there(stage, schedule.id), within=30)
            await handle.delete()
            stray = schedule.model_copy(update={"id": schedule.id[:-4] + "0000"})
            await firing.tell(stage.client, stray.id, stray)
            found: set[str] = set()

            async def mended() -> bool:
                for seen in await of_books(stage):
                    if seen.finding.kind is FindingKind.SCHEDULE:
                        found.add(seen.finding.subject)
                known = await firing.known(stage.client)
                return known == {schedule.id}

            await eventually(mended, within=60)
            assert found == {schedule.id, stray.id}


async def _is_there(stage: Stage, schedule_id: str) -> bool:
    return schedule_id in await firing.known(stage.client)


async def _delivered(stage: Stage) -> bool:
    async with stage.database.reading() as tx:
        query = text("SELECT count(*) FROM commands WHERE done_at IS NULL")
        return int((await tx.connection.execute(query)).scalar_one()) == 0


async def _idle(client: Client) -> bool:
    query = "WorkflowType = 'Scheduled' AND ExecutionStatus = 'Running'"
    return (await client.count_workflows(query)).count == 0
