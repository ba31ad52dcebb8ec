"""Each event becomes one delivery for each webhook that wants it: none lost, none twice."""

import asyncio

from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.events import EventType
from cortex.settings import Settings
from tests.support import eventually
from tests.webhooks.support import (
    Worker,
    deliveries,
    happen,
    hosting,
    new_job,
    receiving,
    webhook,
)

URL = "https://hooks.example.com/"


async def test_what_happened_before_it_was_made_is_not_for_it(
    database: Database, settings: Settings
) -> None:
    job = await new_job(database)
    await happen(database, job, "before")
    made = await webhook(database, settings, URL)
    await happen(database, job, "after")
    await Worker(database, settings).fan_out()
    assert len(await deliveries(database, made.info.id)) == 1


async def test_an_event_that_commits_late_is_in_its_place(
    database: Database, settings: Settings
) -> None:
    """Its transaction began first: whoever had gone past it would never see it."""
    made = await webhook(database, settings, URL)
    job, late = await new_job(database), await new_job(database)
    worker = Worker(database, settings)
    async with database.transaction() as tx:
        await tx.events.add(EventType.JOB_PROGRESS, late, job_id=late)
        await happen(database, job, "early")
        assert await worker.fanout.round() == 0.1  # it is hidden, and looked for soon
        assert not await deliveries(database, made.info.id)
    await worker.fan_out()
    there = await deliveries(database, made.info.id)
    assert [each.subject for each in there] == [late, job]


async def test_a_crash_before_the_commit_leaves_nothing_and_loses_nothing(
    database: Database, settings: Settings
) -> None:
    made = await webhook(database, settings, URL)
    await happen(database, await new_job(database), 1)
    async with database.transaction() as tx:
        assert await tx.fanout.alone()
        (listening,) = await tx.fanout.listening()
        page = await tx.fanout.page(listening.position, 10)
        await tx.fanout.queue(made.info.id, page)
        await tx.fanout.move([made.info.id], page[-1].position)
        await tx.connection.rollback()
    assert not await deliveries(database, made.info.id)
    await Worker(database, settings).fan_out()
    assert len(await deliveries(database, made.info.id)) == 1


async def test_ten_at_once_make_one_delivery_of_each(
    database: Database, settings: Settings
) -> None:
    made = [await webhook(database, settings, URL) for _ in range(3)]
    jobs = [await new_job(database) for _ in range(5)]
    for job in jobs:
        await happen(database, job, *range(8))
    await asyncio.gather(*(Worker(database, settings).fan_out() for _ in range(10)))
    for each in made:
        there = await deliveries(database, each.info.id)
        assert len({delivery.event_id for delivery in there}) == len(there) == 40
        due = [delivery for delivery in there if delivery.due_at is not None]
        assert sorted(delivery.subject for delivery in due) == sorted(jobs)


async def test_many_pages(database: Database, settings: Settings) -> None:
    made = await webhook(database, settings, URL)
    job = await new_job(database)
    async with database.transaction() as tx:
        for _ in range(1203):
            await tx.events.add(EventType.JOB_PROGRESS, job, job_id=job)
    await Worker(database, settings).fan_out()
    async with database.reading() as tx:
        assert (await tx.webhooks.get(made.info.id)).shown.waiting == 1203


async def test_nothing_is_asked_for_while_nobody_listens(
    database: Database, settings: Settings
) -> None:
    """Without a webhook events cost the workers nothing: they do not even listen."""

    async def listeners() -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN cortex_events%'"
        async with database.reading() as tx:
            return int((await tx.connection.execute(text(query))).scalar_one())

    async with receiving() as receiver, hosting(database, settings):
        worker = Worker(database, settings)
        assert await worker.fanout.round() is None
        assert await worker.deliverer.round() == 60
        assert await listeners() == 0
        made = await webhook(database, settings, receiver.url)

        async def listened() -> bool:
            return await listeners() == 1

        await eventually(listened, what="somebody who listens")
        await happen(database, await new_job(database), 1)

        async def sent() -> bool:
            return len(receiver.tried) == 1

        await eventually(sent, what="the event")
        async with database.transaction() as tx:
            await tx.webhooks.remove(made.info.id)

        async def silent() -> bool:
            return await listeners() == 0

        await eventually(silent, what="nobody who listens")
