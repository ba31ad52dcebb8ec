"""The WebSocket, over real connections: choices, resuming, slow and forbidden clients."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import api.live
from cortex.db.engine import Database
from cortex.domain.events import EventType
from cortex.settings import Settings
from tests.api.groups import GROUPS, group
from tests.api.routes.test_projects import joined, made, someone
from tests.api.sockets import Listener, client, server, submitted
from tests.api.support import AUTH, JOBS, KEY, serve
from tests.support import patience

__all__ = ["client", "server"]


@dataclass
class Live(Listener):
    """A client of `/api/v1/ws`."""

    async def subscribe(self, name: str = "a", **choice: Any) -> None:
        await self.say(type="subscribe", id=name, **choice)
        await self.hear(type="subscribed", id=name)

    async def until(self, event_type: str, subject: str) -> dict[str, Any]:
        while True:
            message = await self.hear(type="event")
            event: dict[str, Any] = message["event"]
            if (event["type"], event["subject"]) == (f"cortex.{event_type}", subject):
                return message

    def events(self, name: str = "a") -> list[dict[str, Any]]:
        return [m for m in self.heard if m["type"] == "event" and m["id"] == name]


@contextlib.asynccontextmanager
async def live(
    server: str, headers: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[Live]:
    url = f"{server.replace('http', 'ws', 1)}/api/v1/ws"
    async with connect(url, additional_headers=headers or AUTH, **options) as socket:
        yield Live(socket)


class TestChoosing:
    async def test_several_choices_on_one_connection(
        self, server: str, client: httpx.AsyncClient
    ) -> None:
        first = await submitted(client)
        async with live(server) as socket:
            await socket.subscribe("one", jobs=[first], **{"from": "start"})
            await socket.until("job.submitted", first)
            await socket.subscribe("ends", types=["cortex.job.cancel.*"])
            await socket.subscribe("all")
            second = await submitted(client)
            await client.post(f"{JOBS}/{second}/cancel")
            await socket.until("job.cancel.requested", second)
            while len(socket.events("ends")) < 1 or len(socket.events("all")) < 3:
                await socket.hear(type="event")
            subjects = [message["event"]["subject"] for message in socket.events("one")]
            assert subjects == [first]
            types = [message["event"]["type"] for message in socket.events("ends")]
            assert types == ["cortex.job.cancel.requested"]
            event = socket.events("ends")[0]["event"]
            assert (event["specversion"], event["cortexjob"]) == ("1.0", second)
            await socket.say(type="unsubscribe", id="all")
            await socket.hear(type="unsubscribed", id="all")

    async def test_a_group_with_its_members(self, server: str, client: httpx.AsyncClient) -> None:
        view = (await client.post(GROUPS, json=group())).json()
        other = await submitted(client)
        members = {member["id"] for member in view["members"]["items"]}
        async with live(server) as socket:
            await socket.subscribe(groups=[view["id"]], **{"from": "start"})
            await client.post(f"{GROUPS}/{view['id']}/cancel")
            await socket.until("group.cancel.requested", view["id"])
            seen = {message["event"]["subject"] for message in socket.events()}
            assert seen == {view["id"], *members}
            assert other not in seen

    async def test_signs_of_life(self, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(api.live, "_HEARTBEAT", 0.05)
        async with live(server) as socket:
            await socket.say(type="ping")
            await socket.hear(type="pong")
            await socket.hear(type="heartbeat")

    @pytest.mark.parametrize(
        ("message", "told"),
        [
            ("{", "no JSON"),
            ("[1]", "not valid"),
            ('{"type":"shout"}', "`type`"),
            ('{"type":"subscribe"}', "`id`"),
            ('{"type":"subscribe","id":"a b"}', "`id`"),
            ('{"type":"subscribe","id":"a","types":["job.sumbitted"]}', "`job.sumbitted`"),
            ('{"type":"subscribe","id":"a","after":"x"}', "`after`"),
            ('{"type":"subscribe","id":"a","jobs":["x"]}', "`jobs[0]`"),
            ('{"type":"subscribe","id":"a","label":"x"}', "`label`"),
            ('{"type":"unsubscribe","id":"a"}', "no subscription `a`"),
            (
                '{"type":"subscribe","id":"a","jobs":["job_00000000000000000000000000"]}',
                "there is no job",
            ),
        ],
    )
    async def test_what_is_not_understood(self, server: str, message: str, told: str) -> None:
        """Is answered, and the connection goes on."""
        async with live(server) as socket:
            await socket.socket.send(message)
            assert told in (await socket.hear(type="error"))["detail"]
            await socket.say(type="ping")
            await socket.hear(type="pong")

    async def test_a_name_in_use_and_too_many(self, server: str) -> None:
        async with live(server) as socket:
            for number in range(100):
                await socket.subscribe(f"s{number}", types=["budget.*"])
            await socket.say(type="subscribe", id="s0")
            assert "already" in (await socket.hear(type="error", id="s0"))["detail"]
            await socket.say(type="subscribe", id="s100")
            assert "at most 100" in (await socket.hear(type="error", id="s100"))["detail"]

    async def test_bytes_and_floods_end_it(self, server: str) -> None:
        async with live(server) as socket:
            await socket.socket.send(b"\x00")
            assert (await socket.closed())[0] == 1007
        async with live(server) as socket:
            await socket.socket.send("x" * 100_000)
            assert (await socket.closed())[0] == 1009


class TestResuming:
    async def test_nothing_is_missed_and_nothing_comes_twice(
        self, server: str, client: httpx.AsyncClient
    ) -> None:
        """Cut off at whichever place, over and over, while more happens."""
        heard: list[dict[str, Any]] = []
        place: str | None = None
        jobs: list[str] = []
        for _ in range(6):
            jobs.append(await submitted(client))
            start = {"after": place} if place else {"from": "start"}
            async with live(server) as socket:
                await socket.subscribe(types=["job.*"], **start)
                jobs.append(await submitted(client))
                await socket.hear(type="event")
                heard += socket.events()
                place = heard[-1]["position"]
                socket.socket.transport.abort()
        async with live(server) as socket:
            await socket.subscribe(types=["job.*"], after=place)
            jobs.append(await submitted(client))
            await socket.until("job.submitted", jobs[-1])
            heard += socket.events()
        submissions = [
            message["event"]["subject"]
            for message in heard
            if message["event"]["type"] == "cortex.job.submitted"
        ]
        assert submissions == jobs
        ids = [message["event"]["id"] for message in heard]
        assert len(set(ids)) == len(ids)

    async def test_a_slow_client_is_cut_off(
        self, settings: Settings, providers: None, database: Database
    ) -> None:
        """And resumes where it was."""
        api_settings = settings.api.model_copy(update={"slow_client": timedelta(seconds=0.3)})
        many = 3000
        async with database.transaction() as tx:
            for number in range(many):
                data = {"message": f"{number}" + "x" * 2000}
                await tx.events.add(EventType.PROVIDER_UPDATED, "local", data=data)
        async with serve(settings.model_copy(update={"api": api_settings})) as (url, _):
            # It reads nothing until the server has given it up.
            async with live(url, max_queue=1, ping_interval=None) as socket:
                await socket.say(
                    type="subscribe", id="a", types=["provider.updated"], **{"from": "start"}
                )
                await asyncio.sleep(1.5)  # the time itself is what is tested
                code, reason = await socket.closed()
                assert code == api.live.TOO_SLOW
                assert "resume after" in reason
                first = socket.events()
            assert 0 < len(first) < many
            async with live(url) as socket:
                await socket.subscribe(types=["provider.updated"], after=first[-1]["position"])
                while len(first) + len(socket.events()) < many:
                    await socket.hear(type="event")
                positions = [m["position"] for m in [*first, *socket.events()]]
        assert len(set(positions)) == many


class TestAccess:
    async def test_without_a_key(self, server: str, client: httpx.AsyncClient) -> None:
        for head in ({"authorization": "Bearer nonsense"}, {"x": "y"}):
            with pytest.raises(InvalidStatus) as refused:
                async with live(server, head):
                    pass
            response = refused.value.response
            assert response.status_code == 401
            assert json.loads(response.body)["code"] == "not_authenticated"

    async def test_a_page_sends_its_key_among_the_subprotocols(self, server: str) -> None:
        key = base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("=")
        offered = ["cortex.events.v1", f"cortex.bearer.{key}"]
        async with live(server, {"x": "y"}, subprotocols=offered) as socket:
            assert socket.socket.subprotocol == "cortex.events.v1"
            await socket.subscribe()

    async def test_what_is_in_other_projects_is_not_heard(
        self, server: str, client: httpx.AsyncClient
    ) -> None:
        ann = await someone(client, "ann")
        await made(client)
        await joined(client, "ann")
        hidden = await submitted(client)
        async with live(server, ann) as socket:
            await socket.subscribe("all")
            await socket.subscribe("vision", projects=["vision", "local"])
            await socket.say(type="subscribe", id="x", jobs=[hidden])
            told = await socket.hear(type="error", id="x")
            assert told["detail"] == f"there is no job `{hidden}`"
            await submitted(client)
            own = await submitted(client, headers=ann)
            shared = await submitted(client, params={"project": "vision"})
            while not (socket.events("vision") and len(socket.events("all")) > 1):
                await socket.hear(type="event")
            assert [m["event"]["subject"] for m in socket.events("all")] == [own, shared]
            assert [m["event"]["subject"] for m in socket.events("vision")] == [shared]

    async def test_a_revoked_key_ends_it(
        self, server: str, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api.live, "_HEARTBEAT", 3600.0)
        ann = await someone(client, "ann")
        keys = (await client.get("/api/v1/keys", params={"user": "ann"})).json()["items"]
        async with live(server, ann) as socket:
            await socket.subscribe()
            await client.delete(f"/api/v1/keys/{keys[0]['id']}")
            code, reason = await socket.closed()
            assert code == api.live.NOT_ALLOWED
            assert "was revoked" in reason

    async def test_who_was_removed_hears_nothing_more(
        self, server: str, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither of what was subscribed to, nor by a new subscription that reads the past."""
        monkeypatch.setattr(api.live, "_HEARTBEAT", 3600.0)
        ann = await someone(client, "ann")
        await made(client)
        await joined(client, "ann")
        async with live(server, ann) as socket:
            await socket.subscribe()
            await client.delete("/api/v1/projects/vision/members/ann")
            late = await submitted(client, params={"project": "vision"})
            with contextlib.suppress(ConnectionClosed):
                await socket.say(type="subscribe", id="b", **{"from": "start"})
            assert (await socket.closed())[0] == api.live.NOT_ALLOWED
        assert late not in str(socket.heard)
        assert not [message for message in socket.heard if message.get("id") == "b"]

    async def test_at_most_so_many(self, settings: Settings, providers: None) -> None:
        few = settings.api.model_copy(update={"max_sockets": 2})
        async with serve(settings.model_copy(update={"api": few})) as (url, _):
            async with live(url), live(url) as second:
                with pytest.raises(InvalidStatus) as refused:
                    async with live(url):
                        pass
                assert refused.value.response.status_code == 503
                await second.subscribe()

            async def free() -> None:
                async with asyncio.timeout(patience(20)):
                    while True:
                        with contextlib.suppress(InvalidStatus):
                            async with live(url) as socket:
                                await socket.subscribe()
                                return

            await free()

    async def test_a_server_that_stops_says_so(self, settings: Settings, providers: None) -> None:
        async with serve(settings) as (url, server), live(url) as socket:
            await socket.subscribe()
            server.should_exit = True
            assert (await socket.closed())[0] in (1001, 1012)
