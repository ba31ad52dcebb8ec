"""Events reach plugins at least once, in order, whatever the plugins and the workers do."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import ClassVar

import pytest

from cortex.db.engine import Database
from cortex.db.notify import Notifier
from cortex.db.outbox.events import CHANNEL
from cortex.domain.events import Event, EventType
from cortex.domain.offers import Offer
from cortex.domain.providers.ranking import Facts
from cortex.plugins import Away, Notification, Plugin, PluginConfig
from cortex.plugins.host import PluginHost
from cortex.plugins.loading import Loaded
from cortex.plugins.runner import Handout
from cortex.plugins.subscribers import Listener
from cortex.services.plugins import PluginDirectory
from tests.plugins.support import QUICK, happen, hosting, stored, subscribed
from tests.support import eventually


class Notes(Plugin[PluginConfig]):
    """Keeps what it is handed; raises for subjects that begin with `bad`."""

    events = (EventType.JOB_PROGRESS, EventType.JOB_STATE_CHANGED)

    def __init__(self) -> None:
        super().__init__(PluginConfig())
        self.taken: list[str] = []
        self.tried: list[str] = []
        self.closed = False

    async def on_event(self, event: Event) -> None:
        self.tried.append(event.subject)
        if event.subject.startswith("bad"):
            raise ValueError("this one I do not take")
        self.taken.append(event.subject)

    async def aclose(self) -> None:
        self.closed = True


class _Near:
    name = "near"

    def score(self, offer: Offer, facts: Facts) -> Decimal:
        return Decimal(1)

    def explain(self, offer: Offer, facts: Facts) -> str:
        return "near"


class Pager:
    """A channel that keeps what it is told."""

    name = "pager"

    def __init__(self) -> None:
        self.told: list[Notification] = []

    async def send(self, note: Notification) -> None:
        self.told.append(note)


class TestHandout:
    async def test_in_order_and_only_what_is_wanted(self, database: Database) -> None:
        await happen(database, "before")
        notes = Notes()
        async with hosting(database, notes=notes):
            await happen(database, *(f"job-{i}" for i in range(20)))
            await happen(database, "other", event_type=EventType.CHARGE_BOOKED)
            await happen(database, "last")

            async def all_there() -> bool:
                return notes.taken[-1:] == ["last"] and (await stored(database)).delivered == 21

            await eventually(all_there, what="all events")
        assert notes.taken == [*(f"job-{i}" for i in range(20)), "last"]
        assert notes.closed

    async def test_goes_on_after_a_restart(self, database: Database) -> None:
        first, second = Notes(), Notes()
        async with hosting(database, notes=first):
            await happen(database, "one")

            async def one() -> bool:
                return (await stored(database)).delivered == 1

            await eventually(one, what="the first event")
        await happen(database, "two", "three")
        async with hosting(database, notes=second):

            async def rest() -> bool:
                return second.taken == ["two", "three"]

            await eventually(rest, what="the events of the meantime")
        assert first.taken == ["one"]

    async def test_one_that_wants_all_from_the_start(self, database: Database) -> None:
        class Historian(Notes):
            from_start: ClassVar[bool] = True

        await happen(database, "long ago")
        notes = Historian()
        async with hosting(database, notes=notes):

            async def there() -> bool:
                return notes.taken == ["long ago"]

            await eventually(there, what="the old event")

    async def test_what_raises_is_tried_again_then_skipped_and_shown(
        self, database: Database
    ) -> None:
        notes = Notes()
        directory = PluginDirectory(database)
        async with hosting(database, notes=notes):
            await happen(database, "good", "bad")

            async def skipped() -> bool:
                return (await stored(database)).skipped == 1

            await eventually(skipped, what="the event is given up")
            shown = await directory.view("notes")
            assert (shown.status, shown.message) == (
                "failing",
                "ValueError: this one I do not take",
            )
            assert shown.package == "some-package"
            assert [(e.subject, e.attempts) for e in shown.skipped] == [("bad", 3)]

            await happen(database, "after")

            async def well_again() -> bool:
                return (await directory.view("notes")).status == "ok"

            await eventually(well_again, what="it works again")
        assert notes.tried == ["good", "bad", "bad", "bad", "after"]
        assert notes.taken == ["good", "after"]

    async def test_an_outage_of_what_it_goes_to_skips_nothing(self, database: Database) -> None:
        class Line(Notes):
            down = True

            async def on_event(self, event: Event) -> None:
                if self.down:
                    self.tried.append(event.subject)
                    raise Away("the line is down")
                await super().on_event(event)

        line = Line()
        async with hosting(database, line=line):
            await happen(database, "one", "bad", "last")

            async def tried_often() -> bool:
                return len(line.tried) > 2 * QUICK.tries

            await eventually(tried_often, what="many tries in vain")
            shown = await PluginDirectory(database).view("line")
            assert (shown.status, shown.message) == ("failing", "Away: the line is down")
            line.down = False

            async def all_there() -> bool:
                return line.taken == ["one", "last"]

            await eventually(all_there, what="the events of the outage")
            shown = await PluginDirectory(database).view("line")
        assert set(line.tried[: 2 * QUICK.tries]) == {"one"}, "later ones wait behind it"
        # Tries while it was away are not held against the event that cannot be taken.
        assert line.tried.count("bad") == QUICK.tries
        assert [(e.subject, e.attempts) for e in shown.skipped] == [("bad", QUICK.tries)]

    async def test_tries_are_counted_across_restarts(self, database: Database) -> None:
        patient = QUICK.model_copy(
            update={"first_wait": timedelta(minutes=5), "longest_wait": timedelta(minutes=5)}
        )
        notifier = Notifier(database.settings, (CHANNEL,))
        notes = Notes()
        async with database.transaction() as tx:
            await tx.plugins.subscribe("notes", "notes", await tx.events.latest())
        await happen(database, "bad")
        handout = Handout(Listener("notes", notes), database, notifier, patient, "first worker")

        async def tried() -> bool:
            await handout.round()
            return notes.tried == ["bad"]

        await eventually(tried, what="the first try")
        async with database.transaction() as tx:
            await tx.plugins.release("notes", "first worker")
        again = Handout(Listener("notes", notes), database, notifier, patient, "second worker")
        assert 0 < await again.round() <= 300
        assert notes.tried == ["bad"]

    async def test_one_that_hangs_or_cancels_itself_is_isolated(self, database: Database) -> None:
        class Hangs(Notes):
            async def on_event(self, event: Event) -> None:
                if event.subject == "bad":
                    await asyncio.sleep(3600)
                if event.subject == "worse":
                    raise asyncio.CancelledError
                await super().on_event(event)

        slow, quick = Hangs(), Notes()
        async with hosting(database, slow=slow, quick=quick):
            await happen(database, "bad", "worse", "last")

            async def quick_is_done() -> bool:
                return quick.taken[-1:] == ["last"]

            await eventually(quick_is_done, within=2, what="the other plugin has all")

            async def slow_is_done() -> bool:
                return slow.taken == ["last"]

            await eventually(slow_is_done, what="it has gone on")
            shown = await PluginDirectory(database).view("slow")
        assert {e.error for e in shown.skipped} == {
            "TimeoutError: it took longer than 1 s",
            "RuntimeError: it cancelled itself",
        }

    async def test_two_workers_hand_out_each_event_once(self, database: Database) -> None:
        one, two = Notes(), Notes()
        async with hosting(database, notes=one), hosting(database, notes=two):
            await happen(database, *(f"job-{i}" for i in range(30)))

            async def all_there() -> bool:
                return (await stored(database)).delivered == 30

            await eventually(all_there, what="all events")
        assert sorted(one.taken + two.taken) == sorted(f"job-{i}" for i in range(30))
        assert not (one.taken and two.taken), "one worker has the claim"

    async def test_one_that_cannot_start_is_tried_again(self, database: Database) -> None:
        class Late(Notes):
            starts = 0

            async def start(self) -> None:
                self.starts += 1
                if self.starts < 3:
                    raise ConnectionError("no line")

        late = Late()
        async with hosting(database, late=late):
            assert late.starts == 3
            assert (await PluginDirectory(database).view("late")).status == "ok"

    async def test_what_could_not_be_loaded_is_shown(self, database: Database) -> None:
        notifier = Notifier(database.settings, (CHANNEL,))
        host = PluginHost([Loaded("odd", problem="ImportError: no")], database, notifier, QUICK)
        await host.start()

        async def shown() -> bool:
            return [view.name for view in await PluginDirectory(database).views()] == ["odd"]

        await eventually(shown, what="the report")
        await host.aclose()
        odd = await PluginDirectory(database).view("odd")
        assert (odd.status, odd.message) == ("failing", "ImportError: no")


class TestChannels:
    async def test_people_are_told_of_what_matters(self, database: Database) -> None:
        class Chat(Plugin[PluginConfig]):
            def __init__(self) -> None:
                super().__init__(PluginConfig())
                self.pager = Pager()
                self.channels = (self.pager,)

        chat = Chat()
        async with hosting(database, chat=chat):
            await subscribed(database, "chat/pager")
            async with database.transaction() as tx:
                for state in ("running", "failed"):
                    data = {"state": state, "message": "exit code 3"}
                    await tx.events.add(
                        EventType.JOB_STATE_CHANGED, "job_1", job_id="job_1", data=data
                    )
                data = {"status": "offline", "message": "no answer"}
                await tx.events.add(EventType.PROVIDER_STATUS_CHANGED, "akash", data=data)
                data = {"message": "no bids", "next": "it asks again"}
                await tx.events.add(EventType.JOB_TROUBLE, "job_2", job_id="job_2", data=data)

            async def told() -> bool:
                return len(chat.pager.told) == 3

            await eventually(told, what="the notifications")
        assert [(note.level, note.title, note.text) for note in chat.pager.told] == [
            ("error", "job job_1 has failed", "exit code 3"),
            ("error", "provider akash is offline", "no answer"),
            ("warning", "job job_2 is held up", "no bids; it asks again"),
        ]


async def test_a_claim_ends_with_its_worker(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.plugins.subscribe("notes", "notes", "0-0")
        assert await tx.plugins.claim("notes", "dead", timedelta(milliseconds=100)) is not None
    async with database.transaction() as tx:
        assert await tx.plugins.claim("notes", "heir", timedelta(seconds=30)) is None

    async def taken_over() -> bool:
        async with database.transaction() as tx:
            return await tx.plugins.claim("notes", "heir", timedelta(seconds=30)) is not None

    await eventually(taken_over, within=5, what="the claim has run out")


@pytest.mark.parametrize("known", [True, False])
async def test_a_strategy_of_a_plugin_may_be_asked_for(database: Database, known: bool) -> None:
    if known:
        notifier = Notifier(database.settings, (CHANNEL,))

        class Near(Plugin[PluginConfig]):
            strategies = (_Near(),)

        loaded = [Loaded("near", plugin=Near(PluginConfig()))]
        host = PluginHost(loaded, database, notifier, QUICK)
        await host.start()

        async def reported() -> bool:
            async with database.transaction() as tx:
                return bool(await tx.plugins.all())

        await eventually(reported, what="the report")
        await host.aclose()
    assert ("near" in await PluginDirectory(database).strategies()) is known
