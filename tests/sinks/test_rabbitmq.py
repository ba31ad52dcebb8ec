"""Events reach a real broker in their order, confirmed, and none is lost while it is away."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from pydantic import ValidationError

from cortex.db.engine import Database
from cortex.domain.events import Event, EventType
from cortex.plugins import Away
from cortex.plugins.loading import load_plugins
from cortex.services.plugins import PluginDirectory
from cortex.settings import PluginSettings
from cortex.sinks.rabbitmq import RabbitMQ, RabbitMQConfig, routing_key
from tests.plugins.support import happen, hosting, stored
from tests.support import eventually, patience
from tests.support.rabbitmq import RabbitMQServer, needs_rabbitmq


def event_of(event_type: EventType, **data: object) -> Event:
    return Event(
        id="evt-1",
        position="1-1",
        type=event_type,
        subject="job-1",
        time=datetime.now(UTC),
        data=data,
    )


def sink(url: str, **more: object) -> RabbitMQ:
    return RabbitMQ(RabbitMQConfig.model_validate({"url": url, **more}))


class TestKeys:
    def test_a_state_stands_at_the_end(self) -> None:
        changed = event_of(EventType.JOB_STATE_CHANGED, state="completed")
        assert routing_key(changed) == "job.state.changed.completed"
        offline = event_of(EventType.PROVIDER_STATUS_CHANGED, status="offline")
        assert routing_key(offline) == "provider.status.changed.offline"
        assert routing_key(event_of(EventType.CHARGE_BOOKED, amount="1")) == "charge.booked"


class TestConfiguration:
    def test_it_is_there_where_it_is_configured(self) -> None:
        assert load_plugins({}) == []
        section = PluginSettings.model_validate({"url": "amqp://guest:guest@127.0.0.1:1/"})
        (loaded,) = load_plugins({"rabbitmq": section})
        assert isinstance(loaded.plugin, RabbitMQ)
        assert loaded.package == "cortex-orchestrator"

    @pytest.mark.parametrize("url", ["https://u:hunter2@broker/", "u:hunter2@broker", ""])
    def test_a_url_of_another_kind_is_refused_and_not_shown(self, url: str) -> None:
        with pytest.raises(ValidationError, match="must be an amqp:// or amqps:// URL") as refused:
            sink(url)
        assert "hunter2" not in str(refused.value)
        (loaded,) = load_plugins({"rabbitmq": PluginSettings.model_validate({"url": url})})
        assert "`url`" in loaded.problem
        assert "hunter2" not in loaded.problem

    async def test_a_broker_that_is_not_there_is_an_outage(self) -> None:
        away = sink("amqp://guest:hunter2@127.0.0.1:1/")
        with pytest.raises(Away, match="the broker refuses or is away") as told:
            await away.on_event(event_of(EventType.JOB_PROGRESS))
        assert "hunter2" not in str(told.value)


@pytest.mark.slow
class TestBroker:
    @pytest_asyncio.fixture
    async def broker(self, tmp_path: Path) -> AsyncIterator[RabbitMQServer]:
        needs_rabbitmq()
        server = RabbitMQServer(tmp_path / "rabbitmq")
        await server.start()
        yield server
        await server.kill()

    async def test_nothing_is_lost_while_it_is_away(
        self, database: Database, broker: RabbitMQServer
    ) -> None:
        url = broker.url
        # No quorum queue: one that is younger than a second is not always found again after this.
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("all", durable=True)
            topic = aio_pika.ExchangeType.TOPIC
            exchange = await channel.declare_exchange("cortex.events", topic, durable=True)
            await queue.bind(exchange, "#")
        async with hosting(database, rabbitmq=sink(url)):
            await happen(database, *(f"job-{i}" for i in range(50)))
            await eventually(lambda: delivered(database, 50), what="events of before")
            # A broker that loses power may forget a binding that it has not yet written down; what
            # no queue takes then waits for one, and says so.
            await broker.control("eval", "mnesia:sync_log().")
            await broker.kill()
            await happen(database, *(f"job-{i}" for i in range(50, 100)))
            await eventually(lambda: says(database, "refuses or is away"), what="the outage")
            await broker.start()
            await eventually(lambda: delivered(database, 100), what="events of the outage")
            await happen(database, "job-100", event_type=EventType.CHARGE_BOOKED)
            await eventually(lambda: delivered(database, 101), what="what came later")
        got = await taken(url, "all", 101)
        assert subjects(got) == [f"job-{i}" for i in range(101)]
        last = got[-1]
        envelope = json.loads(last.body)
        assert last.routing_key == "charge.booked"
        assert last.message_id == envelope["id"]
        assert last.content_type == "application/cloudevents+json; charset=utf-8"
        assert last.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
        assert envelope["type"] == "cortex.charge.booked"
        assert envelope["cortexjob"] == "job-100"
        assert (await stored(database, "rabbitmq")).skipped == 0

    async def test_what_it_cannot_take_waits(
        self, database: Database, broker: RabbitMQServer
    ) -> None:
        async with hosting(database, rabbitmq=sink(broker.url)):
            await happen(database, "job-1")
            await eventually(lambda: says(database, "no queue takes `job.progress`"), what="why")
            connection = await aio_pika.connect(broker.url)
            async with connection:
                channel = await connection.channel()
                queue = await channel.declare_queue("mine", durable=True)
                await queue.bind("cortex.events", "job.#")
                await eventually(lambda: delivered(database, 1), what="the event once it is bound")
                # Its memory is full: it takes no message, and says nothing.
                await broker.control("set_vm_memory_high_watermark", "absolute", "1")
                await happen(database, "job-2")
                await eventually(lambda: says(database, "not confirmed"), what="the alarm")
                await broker.control("set_vm_memory_high_watermark", "0.4")
                await eventually(lambda: delivered(database, 2), what="the event after it")
        assert subjects(await taken(broker.url, "mine", 2)) == ["job-1", "job-2"]

    async def test_who_may_not_is_told_so(self, broker: RabbitMQServer) -> None:
        wrong = sink(broker.url.replace("guest:guest", "guest:hunter2"))
        with pytest.raises(Away, match="ACCESS_REFUSED") as told:
            await wrong.on_event(event_of(EventType.JOB_PROGRESS))
        assert "hunter2" not in str(told.value)
        absent = sink(broker.url, exchange="absent", declare=False)
        with pytest.raises(Away, match="no exchange 'absent'"):
            await absent.on_event(event_of(EventType.JOB_PROGRESS))
        dropped = sink(broker.url, mandatory=False)
        await dropped.on_event(event_of(EventType.JOB_PROGRESS))
        await dropped.aclose()
        keeping = sink(broker.url, queue="kept")
        await keeping.on_event(event_of(EventType.JOB_PROGRESS))
        await keeping.aclose()
        assert subjects(await taken(broker.url, "kept", 1)) == ["job-1"]
        assert "quorum" in await broker.control("list_queues", "name", "type")


async def delivered(database: Database, count: int) -> bool:
    return (await stored(database, "rabbitmq")).delivered == count


async def says(database: Database, words: str) -> bool:
    return words in (await PluginDirectory(database).view("rabbitmq")).message


def subjects(messages: list[AbstractIncomingMessage]) -> list[str]:
    """Of each event once, as its id tells: after an outage some come twice."""
    once = {each.message_id: each for each in messages}
    return [json.loads(each.body)["subject"] for each in once.values()]


async def taken(url: str, name: str, count: int) -> list[AbstractIncomingMessage]:
    """At least so many messages of a queue, and all that are there by then."""
    async with await aio_pika.connect(url) as connection, asyncio.timeout(patience(30)):
        channel = await connection.channel()
        queue: AbstractQueue = await channel.get_queue(name)
        got: list[AbstractIncomingMessage] = []
        while True:
            message = await queue.get(fail=False, no_ack=True)
            if message is not None:
                got.append(message)
            elif len(got) >= count:
                return got
