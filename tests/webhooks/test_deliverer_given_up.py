"""What is given up, tried out by hand, or not sent any more."""

from datetime import timedelta

import pytest

from cortex.db.engine import Database
from cortex.domain.events import EventType
from cortex.domain.webhooks import DeliveryState
from cortex.schemas.webhooks import WebhookUpdate
from cortex.services.webhooks.deliveries import WebhookDeliveries
from cortex.services.webhooks.webhooks import Webhooks
from cortex.settings import Settings
from tests.support import eventually
from tests.webhooks.support import (
    ADMIN,
    Worker,
    deliveries,
    happen,
    hosting,
    new_job,
    receiving,
    webhook,
)
from tests.webhooks.test_deliverer import limited, set_row

PATIENT = {"first_wait": timedelta(hours=1), "longest_wait": timedelta(hours=1)}


class TestGivenUp:
    async def test_dead_after_its_time_and_sent_again_by_hand(
        self, database: Database, settings: Settings
    ) -> None:
        async with receiving() as receiver:
            made = await webhook(database, settings, receiver.url)
            job = await new_job(database)
            await happen(database, job, 1, 2)
            receiver.status, receiver.text = (lambda got: 500), "we are \0 closed" + "x" * 5000
            worker = Worker(database, limited(settings, give_up_after=timedelta(0)))
            await worker.fan_out()
            await worker.send_all()
            dead = await deliveries(database, made.info.id, DeliveryState.DEAD)
            assert receiver.notes == [1, 2]
            assert [each.attempts for each in dead] == [1, 1]
            (attempt,) = dead[0].log
            assert (attempt.status, attempt.error) == (500, "it answered 500")
            assert attempt.body.startswith("we are \ufffd closed")
            assert len(attempt.body) == 1024
            receiver.status = lambda got: 204
            again = WebhookDeliveries(database)
            assert (await again.redeliver(made.info.id, dead[1].id, ADMIN)).count == 1
            await worker.send_all()
            assert (await again.redeliver(made.info.id, None, ADMIN)).count == 1
            await worker.send_all()
            assert (await again.redeliver(made.info.id, None, ADMIN)).count == 0
        assert receiver.notes == [1, 2, 2, 1]
        assert receiver.tried[0].id == receiver.tried[3].id

    async def test_all_dead_ones_come_again_in_their_order(
        self, database: Database, settings: Settings
    ) -> None:
        async with receiving() as receiver:
            made = await webhook(database, settings, receiver.url)
            job = await new_job(database)
            await happen(database, job, 1, 2, 3)
            receiver.status = lambda got: 500
            worker = Worker(database, limited(settings, give_up_after=timedelta(0)))
            await worker.fan_out()
            await worker.send_all()
            await happen(database, job, 4)
            await worker.fan_out()
            receiver.tried.clear()
            receiver.status = lambda got: 204
            count = (await WebhookDeliveries(database).redeliver(made.info.id, None, ADMIN)).count
            await worker.send_all()
        assert (count, receiver.notes) == (3, [1, 2, 3, 4])

    async def test_disabled_after_a_long_failure_with_an_event(
        self, database: Database, settings: Settings
    ) -> None:
        async with receiving() as receiver:
            made = await webhook(database, settings, receiver.url, events=["job.*"])
            await happen(database, await new_job(database), 1)
            receiver.status = lambda got: 503
            worker = Worker(database, limited(settings, disable_after=timedelta(0)))
            await worker.fan_out()

            async def tried_twice() -> bool:
                await worker.send()
                return len(receiver.tried) == 2

            await eventually(tried_twice, what="the second attempt")
            webhooks = Webhooks(database, settings)
            shown = await webhooks.get(made.info.id, ADMIN)
            assert not shown.enabled
            assert shown.disabled_reason == "nothing was taken any more: it answered 503"
            async with database.reading() as tx:
                *_, told = await tx.events.page(None)
            assert (told.type, told.subject) == (EventType.WEBHOOK_DISABLED, made.info.id)
            await worker.send_all()
            assert len(receiver.tried) == 2

            await happen(database, await new_job(database), 2)
            receiver.status = lambda got: 204
            await webhooks.update(made.info.id, WebhookUpdate(enabled=True), ADMIN)
            await worker.fan_out()

            async def all_there() -> bool:
                await worker.send_all()
                return len(receiver.tried) == 4

            await eventually(all_there, what="what was missed")
        assert sorted(receiver.notes) == [1, 1, 1, 2]

    async def test_a_disabled_one_keeps_what_waits_while_others_are_sent_to(
        self, database: Database, settings: Settings
    ) -> None:
        async with receiving() as off, receiving() as on:
            made = await webhook(database, settings, off.url)
            await webhook(database, settings, on.url)
            await happen(database, await new_job(database), 1)
            worker = Worker(database, settings)
            await worker.fan_out()
            webhooks = Webhooks(database, settings)
            await webhooks.update(made.info.id, WebhookUpdate(enabled=False), ADMIN)
            await worker.send_all()
            assert (off.notes, on.notes) == ([], [1])
            await webhooks.update(made.info.id, WebhookUpdate(enabled=True), ADMIN)
            await worker.send_all()
            assert (off.notes, on.notes) == ([1], [1])

    async def test_a_receiver_that_is_gone_is_not_asked_again(
        self, database: Database, settings: Settings
    ) -> None:
        async with receiving() as receiver:
            made = await webhook(database, settings, receiver.url)
            await happen(database, await new_job(database), 1, 2)
            receiver.status = lambda got: 410
            worker = Worker(database, settings)
            await worker.fan_out()
            await worker.send_all()
            await worker.send_all()
        assert len(receiver.tried) == 1
        shown = await Webhooks(database, settings).get(made.info.id, ADMIN)
        assert (shown.enabled, shown.waiting) == (False, 2)
        assert "410" in shown.disabled_reason

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    async def test_redirects_are_not_followed(
        self, database: Database, settings: Settings, status: int
    ) -> None:
        async with receiving() as receiver, receiving() as inner:
            made = await webhook(database, settings, receiver.url)
            await happen(database, await new_job(database), 1)
            receiver.status, receiver.headers = (lambda got: status), {"location": inner.url}
            worker = Worker(database, settings)
            await worker.fan_out()
            await worker.send()
        assert inner.tried == []
        (delivery,) = await deliveries(database, made.info.id)
        assert delivery.log[0].error == f"it answered {status}: redirects are not followed"

    async def test_one_that_asks_to_wait_is_left_alone_so_long(
        self, database: Database, settings: Settings
    ) -> None:
        async with receiving() as receiver:
            made = await webhook(database, settings, receiver.url)
            await happen(database, await new_job(database), 1)
            receiver.status, receiver.headers = (lambda got: 429), {"retry-after": "600"}
            longest = timedelta(hours=1)
            worker = Worker(database, limited(settings, longest_wait=longest))
            await worker.fan_out()
            await worker.send()
        (delivery,) = await deliveries(database, made.info.id)
        assert delivery.due_at is not None
        assert delivery.due_at - delivery.log[0].time > timedelta(seconds=590)


class TestPing:
    async def test_once_and_also_to_a_disabled_one(
        self, database: Database, settings: Settings
    ) -> None:
        again = WebhookDeliveries(database)
        async with receiving() as receiver, hosting(database, settings):
            made = await webhook(database, settings, receiver.url, enabled=False)
            receiver.status = lambda got: 500 if len(receiver.tried) == 1 else 204
            for state in (DeliveryState.DEAD, DeliveryState.DELIVERED):
                ping = await again.ping(made.info.id, ADMIN)

                async def ended(ping_id: str = ping.id) -> bool:
                    shown = await again.get(made.info.id, ping_id, ADMIN)
                    return shown.state is not DeliveryState.PENDING

                await eventually(ended, what="the ping")
                shown = await again.get(made.info.id, ping.id, ADMIN)
                assert (shown.state, shown.attempts) == (state, 1)
            got = receiver.tried[-1]
        assert len(receiver.tried) == 2
        got.verified(made.secret)
        assert got.envelope["type"] == "cortex.webhook.ping"
        assert (got.id, got.envelope["subject"]) == (ping.id, made.info.id)

    async def test_one_that_is_taken_ends_the_pauses(
        self, database: Database, settings: Settings
    ) -> None:
        """Whoever has mended a receiver need not wait for an hour."""
        async with receiving() as receiver:
            made = await webhook(database, settings, receiver.url)
            await happen(database, await new_job(database), 1)
            worker = Worker(database, limited(settings, **PATIENT))
            receiver.status = lambda got: 503
            await worker.fan_out()
            await worker.send_all()
            receiver.status = lambda got: 204
            await WebhookDeliveries(database).ping(made.info.id, ADMIN)
            await worker.send_all()
        assert receiver.notes == [1, None, 1]


class TestRevoked:
    async def test_what_its_owner_may_not_see_any_more_is_not_sent(
        self, database: Database, settings: Settings
    ) -> None:
        async with receiving() as receiver:
            made = await webhook(database, settings, receiver.url)
            await happen(database, await new_job(database, "bob"), 1)
            await happen(database, await new_job(database, "local"), 2)
            worker = Worker(database, settings)
            await worker.fan_out()
            await set_row(database, "UPDATE webhooks SET reach = 'own'")
            await worker.send_all()
        assert receiver.notes == [2]
        (dead,) = await deliveries(database, made.info.id, DeliveryState.DEAD)
        assert dead.log[0].error == "its owner may not see the event any more"
