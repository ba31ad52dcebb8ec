"""Deliveries: signed, in order within a job, again when they fail, never lost, never invented."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from standardwebhooks import WebhookVerificationError

from cortex.db.engine import Database
from cortex.domain.webhooks import DeliveryState
from cortex.schemas.webhooks import RotateSecret
from cortex.services.webhooks.webhooks import Webhooks
from cortex.settings import Settings
from cortex.webhooks.sending import Answer, Message
from tests.support import eventually
from tests.webhooks.support import (
    ADMIN,
    QUICK,
    Worker,
    deliveries,
    happen,
    hosting,
    new_job,
    receiving,
    webhook,
)

PATIENT = {"first_wait": timedelta(hours=1), "longest_wait": timedelta(hours=1)}


def limited(settings: Settings, **values: Any) -> Settings:
    return settings.model_copy(update={"webhooks": QUICK.model_copy(update=values)})


async def set_row(database: Database, statement: str) -> None:
    async with database.statement() as tx:
        await tx.connection.execute(text(statement))


class TestSent:
    async def test_signed_and_as_the_api_tells_it(
        self, database: Database, settings: Settings
    ) -> None:
        async with receiving() as receiver:
            made = await webhook(
                database, settings, receiver.url, headers={"Authorization": "Bearer s3"}
            )
            job = await new_job(database)
            await happen(database, job, "one")
            worker = Worker(database, settings)
            await worker.fan_out()
            await worker.send_all()
        (got,) = receiver.tried
        got.verified(made.secret)
        with pytest.raises(WebhookVerificationError):
            got.verified("whsec_" + "A" * 44)
        (delivery,) = await deliveries(database, made.info.id)
        assert got.id == delivery.id
        assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 1)
        assert got.headers["authorization"] == "Bearer s3"
        assert got.headers["content-type"] == "application/cloudevents+json"
        async with database.reading() as tx:
            (event,) = await tx.events.page(None)
        assert got.envelope["id"] == event.id
        assert got.envelope["type"] == "cortex.job.progress"
        assert got.envelope["cortexjob"] == job

    async def test_both_secrets_sign_until_the_old_one_ends(
        self, database: Database, settings: Settings
    ) -> None:
        webhooks = Webhooks(database, settings)
        async with receiving() as receiver:
            old = await webhook(database, settings, receiver.url)
            new = await webhooks.rotate(old.info.id, RotateSecret(), ADMIN)
            assert new.secret != old.secret
            worker, job = Worker(database, settings), await new_job(database)
            await happen(database, job, 1)
            await worker.fan_out()
            await worker.send_all()
            await set_row(database, "UPDATE webhooks SET previous_until = now() - interval '1 s'")
            await happen(database, job, 2)
            await worker.fan_out()
            await worker.send_all()
        during, after = receiver.tried
        during.verified(old.secret)
        during.verified(new.secret)
        after.verified(new.secret)
        with pytest.raises(WebhookVerificationError):
            after.verified(old.secret)


class TestOrder:
    async def test_of_one_job_in_order_of_others_at_once(
        self, database: Database, settings: Settings
    ) -> None:
        """The first event of a job holds back the later ones of that job, and nothing else."""
        async with receiving() as receiver:
            made = await webhook(database, settings, receiver.url)
            slow, other = await new_job(database), await new_job(database)
            await happen(database, slow, "bad", "later", "last")
            await happen(database, other, 1, 2)
            receiver.status = lambda got: 500 if got.note == "bad" else 204
            worker = Worker(database, limited(settings, **PATIENT))
            await worker.fan_out()
            await worker.send_all()
            assert sorted(map(str, receiver.notes)) == ["1", "2", "bad"]
            receiver.status = lambda got: 204
            await set_row(
                database, "UPDATE webhook_deliveries SET due_at = now() WHERE due_at > now()"
            )
            await worker.send_all()
        notes = [got.note for got in receiver.tried if got.envelope["cortexjob"] == slow]
        assert notes == ["bad", "bad", "later", "last"]
        assert len({got.id for got in receiver.tried}) == 5
        states = {each.state for each in await deliveries(database, made.info.id)}
        assert states == {DeliveryState.DELIVERED}

    async def test_two_workers_send_each_once_and_in_order(
        self, database: Database, settings: Settings
    ) -> None:
        async with receiving() as receiver, hosting(database, settings):
            made = await webhook(database, settings, receiver.url)
            async with hosting(database, settings):
                jobs = [await new_job(database) for _ in range(6)]
                for note in range(10):
                    await asyncio.gather(*(happen(database, job, note) for job in jobs))

                async def all_there() -> bool:
                    return len(receiver.tried) >= 60

                await eventually(all_there, what="60 deliveries")
        for job in jobs:
            notes = [got.note for got in receiver.tried if got.envelope["cortexjob"] == job]
            assert notes == list(range(10))
        assert len(receiver.tried) == 60
        for got in receiver.tried:
            got.verified(made.secret)

    async def test_a_receiver_that_was_away_gets_all_of_it(
        self, database: Database, settings: Settings
    ) -> None:
        async with receiving() as first:
            made = await webhook(database, settings, first.url)
            port = int(first.url.rsplit(":", 1)[1].split("/")[0])
        jobs = [await new_job(database) for _ in range(5)]
        async with hosting(database, settings):
            for note in range(4):
                for job in jobs:
                    await happen(database, job, note)

            async def tried_in_vain() -> bool:
                there = await deliveries(database, made.info.id)
                return sum(each.attempts for each in there) > 20

            await eventually(tried_in_vain, what="many attempts")
            async with receiving(port) as receiver:

                async def all_there() -> bool:
                    return len(receiver.tried) >= 20

                await eventually(all_there, what="all that was missed")
        for job in jobs:
            notes = [got.note for got in receiver.tried if got.envelope["cortexjob"] == job]
            assert notes == [0, 1, 2, 3]
        async with database.reading() as tx:
            assert (await tx.webhooks.get(made.info.id)).shown.failing_since is None

    async def test_what_waits_is_sent_as_soon_as_the_receiver_is_back(
        self, database: Database, settings: Settings
    ) -> None:
        """And not when the pause of each is over: that may be an hour."""
        async with receiving() as receiver:
            made = await webhook(database, settings, receiver.url)
            for note in range(3):
                await happen(database, await new_job(database), note)
            worker = Worker(database, limited(settings, **PATIENT))
            receiver.status = lambda got: 503
            await worker.fan_out()
            await worker.send_all()
            await worker.send_all()
            assert sorted(receiver.notes) == [0, 1, 2]
            receiver.status = lambda got: 204
            await happen(database, await new_job(database), 3)
            await worker.fan_out()
            await worker.send_all()
        assert sorted(receiver.notes) == [0, 0, 1, 1, 2, 2, 3]
        there = await deliveries(database, made.info.id, DeliveryState.DELIVERED)
        assert len(there) == 4

    async def test_one_event_that_displeases_does_not_make_an_outage(
        self, database: Database, settings: Settings
    ) -> None:
        """Each that is taken meanwhile must not have it sent again."""
        async with receiving() as receiver:
            await webhook(database, settings, receiver.url)
            worker = Worker(database, limited(settings, **PATIENT))
            receiver.status = lambda got: 400 if got.note == "bad" else 204
            await happen(database, await new_job(database), "bad")
            for note in range(5):
                await happen(database, await new_job(database), note)
                await worker.fan_out()
                await worker.send_all()
        assert receiver.notes.count("bad") == 1

    async def test_one_that_hangs_holds_up_no_other(
        self, database: Database, settings: Settings
    ) -> None:
        limits = limited(settings, at_once=3, per_webhook=2)
        async with receiving() as slow, receiving() as quick:
            await webhook(database, settings, slow.url, jobs={"owner": "ann"})
            await webhook(database, settings, quick.url, jobs={"owner": "bob"})
            for _ in range(6):
                await happen(database, await new_job(database, "ann"), "slow")
            await happen(database, await new_job(database, "bob"), "quick")
            worker, going = Worker(database, limits), asyncio.Event()
            send = worker.sender.send

            async def held(message: Message) -> Answer:
                if message.url == slow.url:
                    await going.wait()
                return await send(message)

            worker.sender.send = held  # type: ignore[method-assign]
            await worker.fan_out()

            async def quick_is_done() -> bool:
                await worker.deliverer.round()
                return quick.notes == ["quick"]

            await eventually(quick_is_done, what="the other webhook")
            assert slow.tried == []
            going.set()

            async def all_done() -> bool:
                await worker.send()
                return len(slow.tried) == 6

            await eventually(all_done, what="the slow one")


class TestCrashes:
    async def test_killed_between_sending_and_writing_it_down(
        self, database: Database, settings: Settings
    ) -> None:
        """It comes again with the same id, and the next of the job only after it."""
        async with receiving() as receiver:
            await webhook(database, settings, receiver.url)
            job = await new_job(database)
            await happen(database, job, 1, 2)
            doomed = Worker(database, settings, lease=timedelta(milliseconds=50))
            await doomed.fan_out()
            sent = asyncio.Event()
            send = doomed.sender.send

            async def killed(message: Message) -> Answer:
                await send(message)
                sent.set()
                await asyncio.Event().wait()
                raise AssertionError

            doomed.sender.send = killed  # type: ignore[method-assign]
            await doomed.deliverer.round()
            await sent.wait()
            for task in list(doomed.deliverer._sending):
                task.cancel()
            await doomed.deliverer.idle()
            heir = Worker(database, settings)

            async def all_there() -> bool:
                await heir.send_all()
                return receiver.notes == [1, 1, 2]

            await eventually(all_there, what="the repeat, then the next")
        assert receiver.tried[0].id == receiver.tried[1].id

    async def test_a_claim_that_was_lost_writes_nothing(
        self, database: Database, settings: Settings
    ) -> None:
        """A worker that was frozen while it sent has been overtaken."""
        async with receiving() as receiver:
            made = await webhook(database, settings, receiver.url)
            await happen(database, await new_job(database), 1)
            frozen = Worker(database, settings, lease=timedelta(0))
            await frozen.fan_out()
            going, thawed = asyncio.Event(), asyncio.Event()
            send = frozen.sender.send

            async def slow(message: Message) -> Answer:
                answer = await send(message)
                going.set()
                await thawed.wait()
                return Answer(answer.time, 0.0, status=500, error="late")

            frozen.sender.send = slow  # type: ignore[method-assign]
            await frozen.deliverer.round()
            await going.wait()
            await Worker(database, settings).send_all()
            thawed.set()
            await frozen.deliverer.idle()
        (delivery,) = await deliveries(database, made.info.id)
        assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 1)

    async def test_connections_to_the_database_are_cut(
        self, database: Database, settings: Settings
    ) -> None:
        of_worker = Database(database.settings, application="worker")
        async with receiving() as receiver, hosting(of_worker, settings):
            await webhook(database, settings, receiver.url)
            job = await new_job(database)
            cut = 0
            for note in range(30):
                await happen(database, job, note)
                if note % 10 == 5:
                    cut += await _cut(database)

            async def all_there() -> bool:
                return len({got.id for got in receiver.tried}) == 30

            await eventually(all_there, what="all events")
        await of_worker.aclose()
        assert cut >= 3
        first = list(dict.fromkeys(got.note for got in receiver.tried))
        assert first == list(range(30))


async def _cut(database: Database) -> int:
    """End every connection of the worker, also of its listeners; how many."""
    async with database.reading() as tx:
        ended = await tx.connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name IN ('', 'worker')"
            )
        )
        return len(ended.all())
