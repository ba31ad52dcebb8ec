"""Subscriptions over real WebSockets: the protocol, resuming, slow and forbidden clients."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

import api.graphql.socket as protocol
import api.live
from cortex.db.engine import Database
from cortex.domain.events import EventType, NewEvent
from cortex.domain.rights import Role
from cortex.settings import Settings
from tests.api import test_live
from tests.api.groups import GROUPS, group
from tests.api.routes.test_projects import joined, made, someone
from tests.api.sockets import Listener, client, server, submitted
from tests.api.support import AUTH, JOBS, eventually, serve

__all__ = ["client", "server"]

EVENTS = "id type subject position jobId data"
ALL = f"""subscription ($after: String, $start: StreamStart = NOW, $types: [String!]) {{
    events(after: $after, start: $start, types: $types) {{ {EVENTS} }} }}"""


@dataclass
class Follower(Listener):
    """A client of `graphql-transport-ws`."""

    async def begin(self) -> None:
        await self.say(type="connection_init", payload={"anything": 1})
        await self.hear(type="connection_ack")

    async def follow(self, query: str, name: str = "a", **variables: Any) -> None:
        payload = {"query": query, "variables": variables}
        await self.say(type="subscribe", id=name, payload=payload)

    async def event(self, name: str = "a") -> dict[str, Any]:
        """The next event of a subscription."""
        payload = (await self.hear(type="next", id=name))["payload"]
        assert "errors" not in payload, payload
        (event,) = payload["data"].values()
        found: dict[str, Any] = event
        return found

    async def errors(self, name: str = "a") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.hear(type="error", id=name))["payload"]
        return found


@contextlib.asynccontextmanager
async def raw(
    server: str, headers: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[Follower]:
    url = f"{server.replace('http', 'ws', 1)}/graphql"
    options.setdefault("subprotocols", ["graphql-transport-ws"])
    async with connect(url, additional_headers=headers or AUTH, **options) as socket:
        yield Follower(socket)


@contextlib.asynccontextmanager
async def following(
    server: str, headers: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[Follower]:
    async with raw(server, headers, **options) as follower:
        await follower.begin()
        yield follower


class TestEvents:
    async def test_of_all_and_of_some(self, server: str, client: httpx.AsyncClient) -> None:
        first = await submitted(client)
        one = f'subscription {{ events(jobs: ["{first}"], start: BEGINNING) {{ subject }} }}'
        async with following(server) as follower:
            await follower.follow(one, "one")
            assert await follower.event("one") == {"subject": first}
            await follower.follow(ALL, "cancels", types=["job.cancel.*"])
            second = await submitted(client)
            await client.post(f"{JOBS}/{second}/cancel")
            event = await follower.event("cancels")
            assert (event["type"], event["jobId"]) == ("cortex.job.cancel.requested", second)
            await follower.say(type="complete", id="cancels")
            await follower.say(type="ping")
            await follower.hear(type="pong")
            subjects = {m["id"] for m in follower.heard if m["type"] == "next"}
            assert subjects == {"one", "cancels"}

    async def test_a_job_until_its_end(
        self, server: str, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submitted(client)
        query = f'subscription {{ jobEvents(id: "{job_id}") {{ type job {{ id state }} }} }}'
        async with following(server) as follower:
            await follower.follow(query)
            event = await follower.event()
            assert event == {
                "type": "cortex.job.submitted",
                "job": {"id": job_id, "state": "PENDING"},
            }
            async with database.transaction() as tx:
                await tx.connection.exec_driver_sql(
                    f"UPDATE jobs SET state = 'failed', finished_at = now() WHERE id = '{job_id}'"
                )
                await tx.events.add(
                    EventType.JOB_STATE_CHANGED, job_id, job_id=job_id, data={"state": "failed"}
                )
            event = await follower.event()
            assert event["job"]["state"] == "FAILED"
            await follower.hear(type="complete", id="a")
            # The name is free again, and the connection goes on.
            await follower.follow(query)
            await follower.event()

    async def test_a_group_with_its_members(self, server: str, client: httpx.AsyncClient) -> None:
        view = (await client.post(GROUPS, json=group())).json()
        members = {member["id"] for member in view["members"]["items"]}
        query = f'subscription {{ groupEvents(id: "{view["id"]}") {{ subject }} }}'
        async with following(server) as follower:
            await follower.follow(query)
            seen = {(await follower.event())["subject"] for _ in range(1 + len(members))}
            assert seen == {view["id"], *members}

    async def test_resumes_without_loss(self, server: str, client: httpx.AsyncClient) -> None:
        heard: list[dict[str, Any]] = []
        jobs: list[str] = []
        for _ in range(4):
            jobs.append(await submitted(client))
            where = {"after": heard[-1]["position"]} if heard else {"start": "BEGINNING"}
            async with following(server) as follower:
                await follower.follow(ALL, types=["job.submitted"], **where)
                heard.append(await follower.event())
                follower.socket.transport.abort()
        async with following(server) as follower:
            await follower.follow(ALL, types=["job.submitted"], after=heard[-1]["position"])
            jobs.append(await submitted(client))
            while heard[-1]["subject"] != jobs[-1]:
                heard.append(await follower.event())
        assert [event["subject"] for event in heard] == jobs


class TestRefusals:
    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("{ me { user } }", "invalid_request"),
            ('mutation { deleteBudget(id: "x") { id } }', "invalid_request"),
            ("subscription { nothing }", "invalid_request"),
            ("subscription {", "malformed_body"),
            ('subscription { events { id } jobEvents(id: "x") { id } }', "invalid_request"),
            ('subscription { jobEvents(id: "x") { id } }', "not_found"),
            (
                'subscription { jobEvents(id: "job_00000000000000000000000000") { id } }',
                "not_found",
            ),
            ('subscription { groupEvents(id: "x") { id } }', "not_found"),
            ('subscription { events(types: ["job.sumbitted"]) { id } }', "invalid_request"),
            ('subscription { events(after: "x") { id } }', "invalid_request"),
            ('subscription { jobEvents(id: "x", after: "x") { id } }', "not_found"),
            ('subscription { events(jobs: ["x"]) { id } }', "invalid_request"),
            ("subscription { " + "events { id } " * 40 + "}", "query_too_complex"),
        ],
    )
    async def test_of_operations(self, server: str, query: str, code: str) -> None:
        """Each is told, and the connection goes on."""
        async with following(server) as follower:
            await follower.follow(query)
            (error, *_) = await follower.errors()
            assert error["extensions"]["code"] == code, error
            await follower.say(type="ping")
            await follower.hear(type="pong")

    async def test_too_many(self, server: str) -> None:
        async with following(server) as follower:
            for number in range(101):
                await follower.follow(ALL, f"s{number}", types=["budget.*"])
            (error,) = await follower.errors("s100")
            assert "at most 100" in error["message"]

    async def test_without_the_protocol(self, server: str) -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with raw(server, subprotocols=["graphql-ws"]):
                pass
        assert refused.value.response.status_code == 422
        assert b"graphql-transport-ws" in refused.value.response.body

    async def test_without_a_key(self, server: str) -> None:
        for head in ({"authorization": "Bearer nonsense"}, {"x": "y"}):
            with pytest.raises(InvalidStatus) as refused:
                async with raw(server, head):
                    pass
            assert refused.value.response.status_code == 401


class TestProtocol:
    @pytest.mark.parametrize(
        ("messages", "code"),
        [
            (["{"], protocol.INVALID),
            (["[]"], protocol.INVALID),
            (['{"type":"shout"}'], protocol.INVALID),
            (['{"type":"subscribe","id":"a"}'], protocol.UNACKNOWLEDGED),
            (['{"type":"connection_init"}'] * 2, protocol.SECOND_INIT),
            (['{"type":"connection_init"}', '{"type":"subscribe"}'], protocol.INVALID),
            (['{"type":"connection_init"}', '{"type":"complete","id":7}'], protocol.INVALID),
        ],
    )
    async def test_what_ends_it(self, server: str, messages: list[str], code: int) -> None:
        async with raw(server) as follower:
            for message in messages:
                await follower.socket.send(message)
            assert (await follower.closed())[0] == code

    async def test_a_name_in_use(self, server: str) -> None:
        async with following(server) as follower:
            await follower.follow(ALL)
            await follower.follow(ALL)
            assert (await follower.closed())[0] == protocol.IN_USE

    async def test_a_payload_that_is_none(self, server: str) -> None:
        async with following(server) as follower:
            payloads: tuple[Any, ...] = (None, 7, [], {}, {"query": 7})
            for payload in payloads:
                await follower.say(type="subscribe", id="a", payload=payload)
                assert await follower.errors()

    async def test_who_says_nothing_is_not_waited_for(
        self, server: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(protocol, "_INIT_SECONDS", 0.05)
        async with raw(server) as follower:
            assert (await follower.closed())[0] == protocol.NO_INIT

    async def test_signs_of_life(self, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(api.live, "_HEARTBEAT", 0.05)
        async with following(server) as follower:
            await follower.hear(type="ping")
            await follower.say(type="pong")
            await follower.hear(type="ping")


class TestAccess:
    async def test_what_is_in_other_projects_is_not_heard(
        self, server: str, client: httpx.AsyncClient
    ) -> None:
        ann = await someone(client, "ann")
        await made(client)
        await joined(client, "ann")
        hidden = await submitted(client)
        async with following(server, ann) as follower:
            await follower.follow(ALL, "all", start="BEGINNING")
            for kind in (f'events(jobs: ["{hidden}"])', f'jobEvents(id: "{hidden}")'):
                await follower.follow(f"subscription {{ {kind} {{ id }} }}", "x")
                (error,) = await follower.errors("x")
                assert error["message"] == f"there is no job `{hidden}`"
            await submitted(client)
            own = await submitted(client, headers=ann)
            shared = await submitted(client, params={"project": "vision"})
            seen = [(await follower.event("all"))["subject"] for _ in range(2)]
            assert seen == [own, shared]

    async def test_a_change_of_rights_ends_it(
        self, server: str, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also one that takes nothing of the events, but of the jobs and bills behind them."""
        monkeypatch.setattr(api.live, "_HEARTBEAT", 3600.0)
        ann = await someone(client, "ann")
        await made(client)
        await joined(client, "ann")
        async with following(server, ann) as follower:
            await follower.follow(ALL)
            await joined(client, "ann", Role.VIEWER)
            code, reason = await follower.closed()
            assert (code, "changed" in reason) == (api.live.NOT_ALLOWED, True)
            assert not [message for message in follower.heard if message["type"] == "complete"]

    async def test_a_revoked_key_ends_it(
        self, server: str, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api.live, "_HEARTBEAT", 3600.0)
        ann = await someone(client, "ann")
        keys = (await client.get("/api/v1/keys", params={"user": "ann"})).json()["items"]
        async with following(server, ann) as follower:
            await follower.follow(ALL)
            await client.delete(f"/api/v1/keys/{keys[0]['id']}")
            assert (await follower.closed())[0] == api.live.NOT_ALLOWED

    async def test_both_kinds_of_sockets_count(self, settings: Settings, providers: None) -> None:
        few = settings.api.model_copy(update={"max_sockets": 2})
        async with (
            serve(settings.model_copy(update={"api": few})) as (url, _),
            test_live.live(url),
            following(url),
        ):
            with pytest.raises(InvalidStatus) as refused:
                async with raw(url):
                    pass
            assert refused.value.response.status_code == 503


class TestEnds:
    async def test_a_slow_client_is_cut_off(
        self, settings: Settings, providers: None, database: Database
    ) -> None:
        """And resumes where it was."""
        api_settings = settings.api.model_copy(update={"slow_client": timedelta(seconds=0.1)})
        many = 2000
        data = {"message": "x" * 4000}
        event = NewEvent(type=EventType.PROVIDER_UPDATED, subject="local", job_id=None, data=data)
        async with database.transaction() as tx:
            await tx.events.add_many([event] * many)
        slow = settings.model_copy(update={"api": api_settings})
        async with serve(slow) as (url, running):
            app: Any = running.config.app
            async with following(url, max_queue=1, ping_interval=None) as follower:
                await follower.follow(ALL, types=["provider.updated"], start="BEGINNING")
                (session,) = app.state.live_sessions

                async def given_up() -> bool:
                    return bool(session._over.done())

                await eventually(given_up)  # meanwhile it reads nothing
                code, reason = await follower.closed()
                assert (code, "resume after" in reason) == (api.live.TOO_SLOW, True)
                heard = [m["payload"]["data"]["events"] for m in follower.heard[1:]]
                assert 0 < len(heard) < many
            async with following(url) as follower:
                await follower.follow(ALL, types=["provider.updated"], after=heard[-1]["position"])
                assert (await follower.event())["position"] > heard[-1]["position"]

    async def test_a_server_that_stops_says_so(self, settings: Settings, providers: None) -> None:
        """And does not call what can be resumed complete."""
        async with serve(settings) as (url, running), following(url) as follower:
            await follower.follow(ALL)
            running.should_exit = True
            assert (await follower.closed())[0] in (1001, 1012)
            assert not [message for message in follower.heard if message["type"] == "complete"]
