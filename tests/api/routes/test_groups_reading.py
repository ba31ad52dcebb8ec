"""Groups as they are read: members and lists in pages, events until the end."""

import asyncio

import httpx
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.schemas.events import EventPage, EventView
from cortex.schemas.groups import GroupPage, GroupView
from cortex.settings import Settings
from tests.api.groups import GROUPS, group, job, rows, submit
from tests.api.support import AUTH, JOBS, check_problem, serve
from tests.support import patience


class TestReading:
    async def test_members_in_pages_and_by_state(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        made = await submit(client, group(jobs=[job("a", count=5), job("ab", count=2)]))
        seen: list[str] = []
        cursor = None
        while True:
            params = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
            answer = await client.get(f"{GROUPS}/{made.id}", params=params)
            page = GroupView.model_validate_json(answer.content).members
            seen += [member.member for member in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == [f"a[{n}]" for n in range(5)] + ["ab[0]", "ab[1]"]
        await rows(
            database,
            "UPDATE jobs SET state = 'cancelling', cost = 0.5, held = false"
            " WHERE member = 'a[3]' RETURNING 1",
        )
        view = await self._view(client, made.id, state="cancelling")
        assert [member.member for member in view.members.items] == ["a[3]"]
        assert view.counts == {"pending": 6, "cancelling": 1}
        assert (view.waiting, str(view.cost)) == (6, "0.5 USD")
        view = await self._view(client, made.id, member="ab")
        assert [member.member for member in view.members.items] == ["ab[0]", "ab[1]"]
        view = await self._view(client, made.id, member="a[2]")
        assert [member.member for member in view.members.items] == ["a[2]"]
        assert (await self._view(client, made.id, limit="0")).members.items == ()

    async def _view(self, client: httpx.AsyncClient, group_id: str, **params: str) -> GroupView:
        answer = await client.get(f"{GROUPS}/{group_id}", params=params)
        assert answer.status_code == 200, answer.text
        return GroupView.model_validate_json(answer.content)

    async def test_a_bad_cursor(self, client: httpx.AsyncClient) -> None:
        view = await submit(client)
        answer = await client.get(f"{GROUPS}/{view.id}", params={"cursor": "x"})
        check_problem(answer, 422, "invalid_request")

    async def test_lists_are_filtered_and_paged(self, client: httpx.AsyncClient) -> None:
        ids = [
            (await submit(client, group(name=name, labels={"n": str(number)}))).id
            for number, name in enumerate(["x", "y", "x"])
        ]
        assert await self._list(client) == ids[::-1]
        assert await self._list(client, name="x") == [ids[2], ids[0]]
        assert await self._list(client, label="n=1") == [ids[1]]
        assert await self._list(client, state="pending", owner="local") == ids[::-1]
        assert await self._list(client, state="failed") == []
        assert await self._list(client, owner="nobody") == []
        first = GroupPage.model_validate_json(
            (await client.get(GROUPS, params={"limit": 2})).content
        )
        assert first.next_cursor is not None
        assert await self._list(client, cursor=first.next_cursor) == [ids[0]]
        check_problem(await client.get(GROUPS, params={"state": "odd"}), 422, "invalid_request")

    async def _list(self, client: httpx.AsyncClient, **params: str) -> list[str]:
        answer = await client.get(GROUPS, params=params)
        return [listed.id for listed in GroupPage.model_validate_json(answer.content).items]


class TestEvents:
    async def test_of_the_group_and_its_members_only(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await submit(client)
        view = await submit(client)
        await client.post(JOBS, json=job("lone"))
        members = {member.id for member in view.members.items}
        seen: list[EventView] = []
        cursor: str | None = None
        while True:
            params = {"limit": "2"} | ({"after": cursor} if cursor else {})
            answer = await client.get(f"{GROUPS}/{view.id}/events", params=params)
            page = EventPage.model_validate_json(answer.content)
            seen += page.items
            if not page.items:
                break
            cursor = page.next_cursor
        assert seen[0].type == "cortex.group.submitted"
        assert {event.subject for event in seen[1:]} == members
        assert len(seen) == 4

    async def test_a_live_stream_ends_with_the_group(
        self, settings: Settings, providers: None, database: Database
    ) -> None:
        async with (
            serve(settings) as (url, _),
            httpx.AsyncClient(base_url=url, headers=AUTH, timeout=30) as client,
        ):
            view = await submit(client)
            path = f"{GROUPS}/{view.id}/events"
            lines: list[str] = []
            told = asyncio.Event()
            async with (
                asyncio.timeout(patience(30)),
                client.stream("GET", path, headers={"accept": "text/event-stream"}) as answer,
            ):
                task = asyncio.create_task(_end_group(database, view.id, told))
                async for line in answer.aiter_lines():
                    if line.startswith("event: "):
                        lines.append(line.removeprefix("event: "))
                        if len(lines) == 4:
                            told.set()
                await task
            assert lines[0] == "cortex.group.submitted"
            assert lines[-2:] == ["cortex.group.state.changed", "end"]
            assert len(lines) == 6


async def _end_group(database: Database, group_id: str, told: asyncio.Event) -> None:
    await told.wait()
    async with database.transaction() as tx:
        await tx.connection.execute(
            text("UPDATE job_groups SET state = 'completed' WHERE id = :id"), {"id": group_id}
        )
        await tx.connection.execute(
            text(
                "INSERT INTO events (id, type, subject, data) VALUES"
                " ('evt_x', 'group.state.changed', :id, '{\"state\": \"completed\"}')"
            ),
            {"id": group_id},
        )
