"""The sink of events sees what is missing, what comes out of order, and what nobody wrote."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import httpx
import pytest

from cortex.domain.events import Event, EventType
from cortex.plugins import Away
from cortex.plugins.loading import load_plugins
from cortex.settings import PluginSettings
from tests.faults.sink import Sink, Told, importable, install, sink


def rows(*ids: str, job: str = "job_1") -> list[dict[str, object]]:
    return [{"id": one, "job_id": job, "subject": job} for one in ids]


def told(ids: Sequence[str]) -> Sink:
    got = [Told(specversion="1.0", id=one, type="cortex.job.x", subject="job_1") for one in ids]
    return Sink(Random(1), got=got)


class TestProblems:
    def test_events_that_come_again_are_fine(self) -> None:
        assert told(["a", "b", "a", "c", "b"]).problems(rows("a", "b", "c")) == []

    def test_one_that_never_arrived(self) -> None:
        assert told(["a", "c"]).problems(rows("a", "b", "c")) == ["the event b never arrived"]

    def test_one_that_arrived_too_early(self) -> None:
        assert told(["a", "c", "b"]).problems(rows("a", "b", "c")) == [
            "job_1: c arrived before b, which is older"
        ]

    def test_order_counts_within_a_job_only(self) -> None:
        both = [*rows("a"), *rows("x", job="job_2"), *rows("b")]
        assert told(["x", "a", "b"]).problems(both) == []

    def test_one_that_nobody_wrote(self) -> None:
        assert told(["a", "z"]).problems(rows("a")) == ["the event z is in no book"]


def event(number: int) -> Event:
    return Event(
        id=f"evt_{number}",
        position=f"1-{number}",
        type=EventType.JOB_PROGRESS,
        subject="job_1",
        job_id="job_1",
        time=datetime.now(UTC),
    )


class TestPlugin:
    async def test_it_posts_cloud_events_and_says_when_nobody_takes_them(
        self, tmp_path: Path
    ) -> None:
        async with importable(install(tmp_path)), sink("1", refuse=0, lose=0) as hook:
            settings = PluginSettings.model_validate({"url": hook.url})
            (loaded,) = [
                plugin for plugin in load_plugins({"sink": settings}) if plugin.name == "sink"
            ]
            plugin = loaded.plugin
            assert plugin is not None, loaded.problem
            assert plugin.subscribes
            await plugin.start()
            await plugin.on_event(event(1))
            hook.down = True
            with pytest.raises(Away, match="503"):
                await plugin.on_event(event(2))
            hook.down = False
            hook.lose = 1
            with pytest.raises(Away, match="502"):
                await plugin.on_event(event(3))
            await plugin.aclose()
        assert [one.id for one in hook.got] == ["evt_1", "evt_3"]
        assert [one.type for one in hook.got] == ["cortex.job.progress"] * 2
        assert hook.refused == hook.lost == 1

    async def test_what_is_no_event_is_refused_for_good(self) -> None:
        async with sink("1", refuse=0, lose=0) as hook, httpx.AsyncClient() as http:
            answer = await http.post(hook.url, content=b"{}")
        assert answer.status_code == 400
        assert hook.got == []
