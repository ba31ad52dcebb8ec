"""Logs and events: pages, and live streams over real connections."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource, ServerSentEvent

from cortex.db.engine import Database
from cortex.db.jobs.logs import LOOKED_AT, NewLine, Stream
from cortex.db.notify import Notifier
from cortex.domain.events import EventType
from cortex.domain.jobs import Outcome, Reason
from cortex.domain.states import JobState
from cortex.schemas.events import EventPage, EventView
from cortex.schemas.jobs import LogEntry, LogPage
from cortex.settings import Settings
from tests.api.support import AUTH, JOBS, check_problem, serve, submit
from tests.support import patience, soon

SSE = {"accept": "text/event-stream"}


@pytest.fixture
async def remote(settings: Settings, providers: None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a real server, for what must come while the answer is still open."""
    async with (
        serve(settings) as (url, _),
        httpx.AsyncClient(base_url=url, headers=AUTH, timeout=30, trust_env=False) as client,
    ):
        yield client


@contextlib.asynccontextmanager
async def stream(
    client: httpx.AsyncClient, path: str, **headers: str
) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
    async with client.stream("GET", path, headers={**SSE, **headers}) as answer:
        assert answer.status_code == 200
        yield EventSource(answer).aiter_sse()


async def write(
    database: Database, job_id: str, *lines: str, begun: dict[Stream, str] | None = None
) -> None:
    now = datetime.now(UTC)
    new = [NewLine(now, "stdout", line) for line in lines]
    rest = None if begun is None else [NewLine(now, name, text) for name, text in begun.items()]
    async with database.transaction() as tx:
        await tx.logs.append(job_id, 1, new, limit=2**20, begun=rest)


async def end(database: Database, job_id: str, code: int = 0) -> None:
    outcome = Outcome(state=JobState.COMPLETED, reason=Reason.EXITED, exit_code=code)
    async with database.transaction() as tx:
        await tx.jobs.lock(job_id)
        for state in (JobState.PLACING, JobState.SETTLING):
            await tx.jobs.move(job_id, state)
        await tx.jobs.finish(job_id, outcome)
        data = {"state": outcome.state.value}
        await tx.events.add(EventType.JOB_STATE_CHANGED, job_id, job_id=job_id, data=data)


async def progress(database: Database, job_id: str, step: int) -> None:
    async with database.transaction() as tx:
        await tx.events.add(EventType.JOB_PROGRESS, job_id, job_id=job_id, data={"step": step})
        if step % 7 == 0:  # commits late: later ones must wait for it, and it must not be lost
            await asyncio.sleep(0.02)


class TestLogPages:
    @pytest.mark.parametrize("size", [1, 7, 50, 1000])
    async def test_chunks_of_every_size_read_alike_in_pages(
        self, client: httpx.AsyncClient, database: Database, size: int
    ) -> None:
        job_id = await submit(client)
        every: list[str] = []
        for chunk in (1, 1, 1, 120, 3, 1, 1, 60, 1, 1, 1, 1):
            lines = [f"line {len(every) + index}" for index in range(chunk)]
            await write(database, job_id, *lines)
            every += lines
        texts: list[str] = []
        cursor: str | None = None
        async with database.reading() as tx:
            while page := await tx.logs.read(job_id, since=cursor, limit=size):
                assert len(page) == min(size, len(every) - len(texts))
                texts += [line.text for line in page]
                cursor = page[-1].cursor
            last = await tx.logs.tail(job_id, size)
        assert texts == every
        assert [line.text for line in last] == every[-size:]
        assert last[-1].cursor == cursor

    async def test_since_tail_and_limit(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(client)
        path = f"{JOBS}/{job_id}/logs"
        empty = LogPage.model_validate_json((await client.get(path)).content)
        assert empty == LogPage(lines=())
        for number in range(5):
            await write(database, job_id, f"a{number}", f"b{number}")
        whole = LogPage.model_validate_json((await client.get(path)).content)
        assert [line.text for line in whole.lines] == [
            f"{letter}{number}" for number in range(5) for letter in "ab"
        ]
        first = LogPage.model_validate_json((await client.get(path, params={"limit": 3})).content)
        rest = await client.get(path, params={"since": first.next_cursor or ""})
        assert first.lines + LogPage.model_validate_json(rest.content).lines == whole.lines
        tail = await client.get(path, params={"tail": 4})
        assert LogPage.model_validate_json(tail.content).lines == whole.lines[-4:]

    @pytest.mark.parametrize("query", ["since=x", "since=1:1&tail=2", "tail=-1", "follow=maybe"])
    async def test_a_bad_parameter(self, client: httpx.AsyncClient, query: str) -> None:
        job_id = await submit(client)
        check_problem(await client.get(f"{JOBS}/{job_id}/logs?{query}"), 422, "invalid_request")


class TestLinesThatHaveBegun:
    async def test_they_stand_behind_the_last_page(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(client)
        path = f"{JOBS}/{job_id}/logs"
        await write(database, job_id, "one", "two", begun={"stdout": "Name: ", "stderr": "50%"})
        page = LogPage.model_validate_json((await client.get(path)).content)
        assert [line.text for line in page.lines] == ["one", "two"]
        assert [(line.stream, line.text) for line in page.partial] == [
            ("stdout", "Name: "),
            ("stderr", "50%"),
        ]
        assert all(line.partial and line.cursor == page.next_cursor for line in page.partial)
        first = await client.get(path, params={"limit": 1})
        assert LogPage.model_validate_json(first.content).partial == ()
        await write(database, job_id, "Name: x", begun={"stderr": "60%"})
        rest = await client.get(path, params={"since": page.next_cursor or ""})
        after = LogPage.model_validate_json(rest.content)
        assert [line.text for line in (*after.lines, *after.partial)] == ["Name: x", "60%"]

    async def test_the_last_words_of_an_earlier_attempt_stay(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        """Its machine went away in the middle of a line."""
        job_id = await submit(client)
        await write(database, job_id, "one", begun={"stdout": "half a li"})
        async with database.transaction() as tx:
            again = [NewLine(datetime.now(UTC), "stdout", "again")]
            await tx.logs.append(job_id, 2, again, limit=2**20, begun=[])
        page = LogPage.model_validate_json((await client.get(f"{JOBS}/{job_id}/logs")).content)
        lines = [(line.attempt, line.text) for line in page.lines]
        assert lines == [(1, "one"), (1, "half a li"), (2, "again")]
        assert page.partial == ()

    async def test_a_stream_tells_of_them_where_it_is_asked_to(
        self, remote: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(remote)
        path = f"{JOBS}/{job_id}/logs"

        async def work(told: asyncio.Queue[str]) -> None:
            for share in ("10%", "20%", "30%"):
                await write(database, job_id, begun={"stdout": share})
                assert await asyncio.wait_for(told.get(), patience(10)) == share
            await write(database, job_id, "100%", begun={})
            await end(database, job_id)

        async with (
            stream(remote, f"{path}?partial=true") as events,
            stream(remote, path) as others,
        ):
            told: asyncio.Queue[str] = asyncio.Queue()
            working = asyncio.create_task(work(told))
            seen: list[tuple[str, str, str]] = []
            async for event in events:
                if event.event == "end":
                    break
                entry = LogEntry.model_validate_json(event.data)
                seen.append((event.event, entry.text, event.id))
                told.put_nowait(entry.text)
            await working
            assert seen == [
                ("partial", "10%", ""),
                ("partial", "20%", ""),
                ("partial", "30%", ""),
                ("line", "100%", "1:1"),
            ]
            assert [event.event async for event in others] == ["line", "end"]


class TestFollowingLogs:
    async def test_sends_all_lines_and_ends_with_the_job(
        self, remote: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(remote)
        await write(database, job_id, "before")

        async def work() -> None:
            for number in range(20):
                await write(database, job_id, f"line {number}")
            await end(database, job_id, code=3)

        texts: list[str] = []
        async with stream(remote, f"{JOBS}/{job_id}/logs") as events:
            working = asyncio.create_task(work())
            async for event in events:
                if event.event == "end":
                    last: dict[str, Any] = event.json()
                    break
                assert event.event == "line"
                entry = LogEntry.model_validate_json(event.data)
                assert event.id == entry.cursor
                texts.append(entry.text)
            await working
        assert texts == ["before", *(f"line {number}" for number in range(20))]
        assert (last["state"], last["exit_code"]) == ("completed", 3)

    async def test_resumes_and_tails(self, remote: httpx.AsyncClient, database: Database) -> None:
        job_id = await submit(remote)
        await write(database, job_id, "one", "two", "three")
        await end(database, job_id)
        page = LogPage.model_validate_json((await remote.get(f"{JOBS}/{job_id}/logs")).content)
        cases = [
            ("?follow=true", {"last-event-id": page.lines[0].cursor}, ["two", "three"]),
            (f"?since={page.lines[1].cursor}", {}, ["three"]),
            ("?tail=1", {}, ["three"]),
            ("?tail=0", {}, []),
        ]
        for query, headers, wanted in cases:
            async with stream(remote, f"{JOBS}/{job_id}/logs{query}", **headers) as events:
                frames = [event async for event in events]
            assert [event.event for event in frames] == ["line"] * len(wanted) + ["end"]
            assert [json.loads(event.data)["text"] for event in frames[:-1]] == wanted

    async def test_a_bad_place_is_said_before_the_stream(self, remote: httpx.AsyncClient) -> None:
        job_id = await submit(remote)
        for path in (f"{JOBS}/{job_id}/logs", f"{JOBS}/{job_id}/events", "/api/v1/events"):
            answer = await remote.get(path, headers={**SSE, "last-event-id": "x"})
            check_problem(answer, 422, "invalid_request")


class TestEvents:
    async def test_pages_go_on_where_they_ended(self, client: httpx.AsyncClient) -> None:
        jobs = [await submit(client) for _ in range(5)]
        await client.post(f"{JOBS}/{jobs[0]}/cancel")
        seen: list[EventView] = []
        cursor = ""
        while True:
            params = {"limit": "2"} | ({"after": cursor} if cursor else {})
            answer = await client.get("/api/v1/events", params=params)
            page = EventPage.model_validate_json(answer.content)
            if not page.items:
                assert page.next_cursor is None
                break
            seen += page.items
            cursor = page.next_cursor or ""
        assert [event.cortexjob for event in seen] == [*jobs, jobs[0], jobs[0]]
        of_one = await client.get(f"{JOBS}/{jobs[0]}/events")
        assert [event["type"] for event in of_one.json()["items"]] == [
            "cortex.job.submitted",
            "cortex.job.cancel.requested",
            "cortex.job.state.changed",
        ]

    async def test_a_jobs_stream_begins_at_its_start_and_ends_after_its_last(
        self, remote: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(remote)

        async def later() -> None:
            await asyncio.sleep(0.3)
            await end(database, job_id, code=1)

        async with stream(remote, f"{JOBS}/{job_id}/events") as events:
            ending = asyncio.create_task(later())
            frames = [event async for event in events]
            await ending
        assert [event.event for event in frames] == [
            "cortex.job.submitted",
            "cortex.job.state.changed",
            "end",
        ]
        assert EventView.model_validate_json(frames[1].data).cortexposition == frames[1].id
        assert frames[2].json()["exit_code"] == 1
        resumed = {"last-event-id": frames[1].id}
        async with stream(remote, f"{JOBS}/{job_id}/events", **resumed) as events:
            assert [event.event async for event in events] == ["end"]

    async def test_nothing_is_lost_or_repeated_over_reconnections(
        self, remote: httpx.AsyncClient, database: Database
    ) -> None:
        """Twelve writers commit out of order while the reader goes away again and again."""
        job_id = await submit(remote)
        total = 120

        async def work(part: int) -> None:
            for step in range(part, total, 12):
                await progress(database, job_id, step)

        writing = asyncio.gather(*(work(part) for part in range(12)))
        steps: list[int] = []
        place: dict[str, str] = {}
        while len(steps) < total:
            async with stream(remote, "/api/v1/events?from=start", **place) as events:
                taken = 0
                async for event in events:
                    place = {"last-event-id": event.id}
                    if event.event == "cortex.job.progress":
                        steps.append(json.loads(event.data)["data"]["step"])
                        taken += 1
                    if taken == 17 or len(steps) >= total:
                        break
        await writing
        assert sorted(steps) == list(range(total))
        ordered = await remote.get(f"{JOBS}/{job_id}/events", params={"limit": 1000})
        assert [event["data"]["step"] for event in ordered.json()["items"][1:]] == steps

    async def test_all_events_begin_now(
        self, remote: httpx.AsyncClient, database: Database
    ) -> None:
        old = await submit(remote)
        async with stream(remote, "/api/v1/events") as events:
            # The first that is seen may be any of ours, but not the one from before.
            async def keep_writing() -> None:
                while True:
                    await progress(database, old, 1)
                    await asyncio.sleep(0.05)

            writing = asyncio.create_task(keep_writing())
            event = await anext(events)
            writing.cancel()
        assert event.event == "cortex.job.progress"


class TestShutdown:
    async def test_open_streams_end_at_once(
        self, settings: Settings, providers: None, tmp_path: Path
    ) -> None:
        async with (
            serve(settings) as (url, server),
            httpx.AsyncClient(base_url=url, headers=AUTH, timeout=30, trust_env=False) as client,
        ):
            job_id = await submit(client)
            began = asyncio.Event()

            async def follow(path: str) -> None:
                async with stream(client, path) as events:
                    began.set()
                    async for _ in events:
                        pass

            paths = ["/api/v1/events", f"{JOBS}/{job_id}/events", f"{JOBS}/{job_id}/logs"]
            following = [asyncio.create_task(follow(path)) for path in paths]
            await began.wait()
            await asyncio.sleep(0.5)
            server.should_exit = True
            with soon(2):
                await asyncio.wait_for(asyncio.gather(*following), patience(10))


async def test_a_stream_of_a_log_tells_that_somebody_looks_at_it(
    remote: httpx.AsyncClient, settings: Settings
) -> None:
    """For networks where each look at a log costs; a page is one look and tells nothing."""
    job_id = await submit(remote)
    notifier = Notifier(settings.database, (LOOKED_AT,))
    with notifier.subscribe(LOOKED_AT, job_id) as looks:
        await notifier.start()
        try:
            await asyncio.wait_for(looks.wait(), patience(20))  # it listens
            looks.clear()
            await remote.get(f"{JOBS}/{job_id}/logs")
            assert not looks.is_set()
            async with stream(remote, f"{JOBS}/{job_id}/logs"):
                await asyncio.wait_for(looks.wait(), patience(20))
        finally:
            await notifier.aclose()
