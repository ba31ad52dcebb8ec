"""Events for many streams at once: what is made and asked once for all of them."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from datetime import timedelta
from typing import Any, cast

import pytest

from cortex.db.engine import Database
from cortex.db.jobs.repository import NewJob
from cortex.db.notify import Notifier
from cortex.db.outbox.events import CHANNEL, EventRepository
from cortex.domain.events import Event
from cortex.domain.ids import new_id
from cortex.domain.spec import JobSpec
from cortex.services.events import streams as module
from cortex.services.events.hub import EventHub
from cortex.services.events.scopes import Chosen
from cortex.services.events.streams import Batch, Item, Streams
from tests.support import eventually, patience

MANY = 40


@pytest.fixture
async def hub(database: Database) -> AsyncIterator[EventHub]:
    notifier = Notifier(database.settings, (CHANNEL,))
    hub = EventHub(database, notifier)
    await notifier.start()
    await hub.start()
    yield hub
    await hub.aclose()
    await notifier.aclose()


async def accept(database: Database, project: str) -> str:
    """A job in this project, which makes an event."""
    job_id, spec = new_id("job"), JobSpec(command=["true"])
    async with database.statement() as tx:
        jobs = [NewJob(job_id, "ann", spec, project=project)]
        await tx.acceptance.store(jobs, [spec.model_dump(mode="json")], delay=timedelta(0))
    return job_id


async def first(batches: AsyncIterator[Batch]) -> Item:
    async with asyncio.timeout(patience(20)):
        while not (batch := await anext(batches)):
            pass
    return batch[0]


async def test_one_event_for_many_is_made_and_looked_up_once(
    database: Database, hub: EventHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of another project nobody hears."""
    made: list[str] = []
    looks: list[int] = []
    make, look = module._event_item, EventRepository.projects

    def counted(event: Event) -> Item:
        made.append(event.id)
        return make(event)

    async def counting(self: EventRepository[Any], events: list[Event]) -> dict[str, str | None]:
        looks.append(len(events))
        return await look(self, events)

    monkeypatch.setattr(module, "_event_item", counted)
    monkeypatch.setattr(EventRepository, "projects", counting)
    streams = Streams(database, hub)
    async with AsyncExitStack() as stack:
        heard = []
        for _ in range(MANY):
            batches = streams.events(
                Chosen(projects=frozenset({"vision"})), after=None, from_now=True
            )
            await stack.enter_async_context(aclosing(cast(AsyncGenerator[Batch, None], batches)))
            heard.append(asyncio.create_task(first(batches)))

        async def all_wait() -> bool:
            waits = [subscription.wake._waiters for subscription in hub._subscribers]
            return len(waits) == MANY and all(waits)

        await eventually(all_wait)
        await accept(database, "elsewhere")
        job_id = await accept(database, "vision")
        items = await asyncio.gather(*heard)
    assert all(job_id.encode() in item.data for item in items)
    assert len(set(made)) == len(made) == 1
    # Two events, which may be handed out one by one.
    assert len(looks) <= 2
    assert sum(looks) == 2


def test_what_is_kept_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 3)
    kept = OrderedDict[str, int]()
    for number in range(5):
        module._keep(kept, {str(number): number})
    assert list(kept) == ["2", "3", "4"]
    module._keep(kept, {str(number): number for number in range(10, 15)})
    assert len(kept) == 5
