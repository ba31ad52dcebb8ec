"""From events to notices: for whom it is, who may see it, each once, and nothing is missed."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.events import EventType, NewEvent
from cortex.domain.notices import NoticeEvent, Preferences
from cortex.domain.rights import Role
from cortex.settings import Settings
from tests.notices.support import (
    QUICK,
    choose,
    fan_out,
    group_of,
    happen,
    job_of,
    member,
    person,
    smtp_of,
    waiting,
)
from tests.support.mail import MailServer

FAILED = {"state": "failed", "message": "exit code 3"}
ALL = tuple(NoticeEvent)


async def names(database: Database) -> list[str]:
    return [person for person, _, _ in await waiting(database)]


class TestWhom:
    async def test_the_owner_by_default(self, database: Database, settings: Settings) -> None:
        await person(database)
        await person(database, "bob")
        job = await job_of(database, "ann")
        await happen(database, job, FAILED)
        await happen(database, await job_of(database, "ann"), {"state": "completed"})
        await fan_out(database, settings)
        assert await waiting(database) == [("ann", "job x has failed", "exit code 3")]

    async def test_nobody_without_an_address(self, database: Database, settings: Settings) -> None:
        await person(database, email="")
        await happen(database, await job_of(database, "ann"), FAILED)
        await fan_out(database, settings)
        assert await waiting(database) == []

    async def test_who_has_a_key_in_the_settings(
        self, database: Database, settings: Settings, server: MailServer
    ) -> None:
        smtp = smtp_of(server, addresses={"local": "root@example.com"})
        await happen(database, await job_of(database, "local"), FAILED)
        await fan_out(database, settings.model_copy(update={"smtp": smtp}))
        assert await names(database) == ["local"]

    async def test_members_who_want_it(self, database: Database, settings: Settings) -> None:
        for name in ("ann", "bob", "cleo", "dan"):
            await person(database, name)
        for name in ("ann", "bob", "cleo"):
            await member(database, "team", name)
        await choose(database, settings, "bob", Preferences(projects=(NoticeEvent.FAILED,)))
        await choose(database, settings, "dan", Preferences(projects=ALL))
        await happen(database, await job_of(database, "ann", project="team"), FAILED)
        await fan_out(database, settings)
        assert await names(database) == ["ann", "bob"]

    async def test_who_is_named_by_the_job(self, database: Database, settings: Settings) -> None:
        for name in ("ann", "bob", "cleo"):
            await person(database, name)
            await member(database, "team", name)
        await choose(database, settings, "cleo", Preferences(named=False))
        notify = {"on": ["completed"], "to": ["me", "bob", "cleo"]}
        job = await job_of(database, "ann", project="team", notify=notify)
        await happen(database, job, {"state": "completed"})
        await fan_out(database, settings)
        assert await names(database) == ["ann", "bob"]

    async def test_both_ways_are_one_notice_each(
        self, database: Database, settings: Settings
    ) -> None:
        await person(database)
        await choose(database, settings, "ann", Preferences(own=ALL, chat="Discord"))
        notify = {"on": ["failed"], "to": ["me", "ann"]}
        await happen(database, await job_of(database, "ann", notify=notify), FAILED)
        await fan_out(database, settings)
        async with database.reading() as tx:
            query = text("SELECT channel FROM notices ORDER BY channel")
            channels = (await tx.connection.execute(query)).scalars().all()
        assert channels == ["chat", "email"]


class TestRights:
    @pytest.mark.parametrize(
        ("role", "inside", "told"),
        [
            (Role.DEVELOPER, False, False),
            (Role.DEVELOPER, True, True),
            (Role.VIEWER, False, False),
            (Role.OPERATOR, False, False),
            (Role.BILLING, False, False),
            (Role.ADMIN, False, False),
            (Role.ADMIN, True, True),
        ],
    )
    async def test_only_who_is_in_the_project_can_be_named(
        self, database: Database, settings: Settings, role: Role, *, inside: bool, told: bool
    ) -> None:
        await person(database, "bob", role=role)
        if inside:
            await member(database, "team", "bob")
        await choose(database, settings, "bob", Preferences(own=ALL))
        notify = {"on": ["failed"], "to": ["bob"]}
        job = await job_of(database, "ann", project="team", notify=notify)
        await happen(database, job, FAILED)
        await fan_out(database, settings)
        assert (await names(database) == ["bob"]) == told

    async def test_who_has_left_a_project_hears_of_own_jobs_there_no_more(
        self, database: Database, settings: Settings
    ) -> None:
        await person(database)
        await happen(database, await job_of(database, "ann", project="team"), FAILED)
        await fan_out(database, settings)
        assert await waiting(database) == []

    async def test_who_is_switched_off_hears_nothing(
        self, database: Database, settings: Settings
    ) -> None:
        await person(database)
        async with database.statement() as tx:
            await tx.connection.execute(text("UPDATE users SET active = false"))
        await happen(database, await job_of(database, "ann"), FAILED)
        await fan_out(database, settings)
        assert await waiting(database) == []


class TestOnce:
    async def test_a_round_that_is_undone_misses_nothing(
        self, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from cortex.db.notices.happenings import NoticeRepository

        await person(database)
        await happen(database, await job_of(database, "ann"), FAILED)
        move = NoticeRepository.move

        async def dies(self: Any, position: Any) -> None:
            raise RuntimeError("the worker dies here")

        monkeypatch.setattr(NoticeRepository, "move", dies)
        with pytest.raises(RuntimeError):
            await fan_out(database, settings)
        assert await waiting(database) == []
        monkeypatch.setattr(NoticeRepository, "move", move)
        await fan_out(database, settings)
        await fan_out(database, settings)
        assert await names(database) == ["ann"]

    async def test_what_is_old_is_told_nobody(self, database: Database, settings: Settings) -> None:
        await person(database)
        await happen(database, await job_of(database, "ann"), FAILED)
        young = settings.model_copy(
            update={"notices": QUICK.model_copy(update={"max_age": timedelta(0)})}
        )
        await fan_out(database, young)
        await fan_out(database, settings)
        assert await waiting(database) == []

    async def test_an_array_of_many_is_one_notice(
        self, database: Database, settings: Settings
    ) -> None:
        await person(database)
        group, members = await group_of(database, "ann", 500, failed=7)
        told = [
            NewEvent.of_job(
                EventType.JOB_TROUBLE, job, {"stuck_since": str(number), "message": "no offer"}
            )
            for number, job in enumerate(members[:20])
        ]
        told += [
            NewEvent.of_job(
                EventType.JOB_STATE_CHANGED, job, FAILED if number < 7 else {"state": "completed"}
            )
            for number, job in enumerate(members)
        ]
        async with database.transaction() as tx:
            await tx.events.add_many(told)
        data = {"state": "failed", "message": "7 of 500 jobs have failed"}
        await happen(database, None, data, EventType.GROUP_STATE_CHANGED, subject=group)
        await fan_out(database, settings)
        stuck_, end = await waiting(database)
        assert stuck_ == ("ann", "a job of group sweep is stuck: m0", "no offer")
        assert end[:2] == ("ann", "group sweep has failed")
        assert "jobs: 493 completed, 7 failed (m0, m1, m2, m3, m4, …)" in end[2]

    async def test_the_group_says_who_is_told(self, database: Database, settings: Settings) -> None:
        await person(database)
        await choose(database, settings, "ann", Preferences(own=()))
        group, _ = await group_of(database, "ann", 2, notify={"on": ["completed"]})
        await happen(
            database, None, {"state": "completed"}, EventType.GROUP_STATE_CHANGED, subject=group
        )
        await fan_out(database, settings)
        assert await waiting(database) == [
            ("ann", "group sweep has completed", "jobs: 2 completed")
        ]


async def test_a_schedule_that_cortex_has_paused(database: Database, settings: Settings) -> None:
    await person(database)
    async with database.statement() as tx:
        await tx.connection.execute(
            text(
                "INSERT INTO schedules (id, project, owner, name, cron, timezone, overlap, "
                "catchup, jitter, job) VALUES ('sch_1', 'ann', 'ann', 'nightly', '0 3 * * *', "
                "'UTC', 'skip', '1 h', '0 s', '{}')"
            )
        )
    data = {"name": "nightly", "owner": "ann", "project": "ann", "message": "not in it any more"}
    await happen(database, None, data, EventType.SCHEDULE_PAUSED, subject="sch_1")
    await fan_out(database, settings)
    assert await waiting(database) == [
        ("ann", "schedule nightly was paused by Cortex", "not in it any more")
    ]
