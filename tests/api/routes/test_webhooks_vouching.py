"""Who has said where a webhook leads, and may not be told any more."""

import asyncio

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.errors import CortexError, Forbidden, NotFound
from cortex.domain.rights import Principal, Role
from cortex.schemas.webhooks import WebhookCreate, WebhookUpdate
from cortex.services.webhooks.webhooks import Webhooks
from cortex.settings import Settings
from tests.api.routes.test_webhooks import HOOKS, URL, settings
from tests.api.routes.test_webhooks_owners import TEAM, key_of, team
from tests.api.support import check_problem
from tests.support import eventually
from tests.webhooks.support import Worker, happen, new_job, receiving

__all__ = ["settings", "team"]

People = dict[str, dict[str, str]]
MEMBER = "/api/v1/projects/team/members/ann"
ANN = Principal(name="ann", role=Role.DEVELOPER, memberships={"team": Role.DEVELOPER})
"""As a server knows her that has not heard of the change yet."""


async def hook(client: httpx.AsyncClient, head: dict[str, str], **params: str) -> str:
    answer = await client.post(HOOKS, json={"url": URL}, params=params, headers=head)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["info"]["id"])


class TestStale:
    """What a request began with is not what counts: a right may have been taken since."""

    @pytest.mark.parametrize(
        ("end", "refusal"), [("leaves", NotFound), ("viewer", Forbidden), ("off", Forbidden)]
    )
    async def test_who_is_out_says_no_more_where_one_leads(
        self,
        client: httpx.AsyncClient,
        database: Database,
        settings: Settings,
        team: People,
        end: str,
        refusal: type[CortexError],
    ) -> None:
        webhook_id = await hook(client, team["ann"], **TEAM)
        if end == "leaves":
            await client.delete(MEMBER)
        elif end == "viewer":
            await client.put(MEMBER, json={"role": "viewer"})
        else:
            await client.patch("/api/v1/users/ann", json={"active": False})
        webhooks = Webhooks(database, settings)
        with pytest.raises(refusal):
            await webhooks.create(WebhookCreate(url=URL), ANN, "team")
        for change in (WebhookUpdate(url=f"{URL}/else"), WebhookUpdate(enabled=True)):
            with pytest.raises((NotFound, refusal)):
                await webhooks.update(webhook_id, change, ANN)
        shown = (await client.get(f"{HOOKS}/{webhook_id}")).json()
        assert (shown["url"], shown["enabled"]) == (URL, False)
        assert len((await client.get(HOOKS)).json()["items"]) == 1

    async def test_a_personal_one_reaches_as_far_as_the_role_does_now(
        self, client: httpx.AsyncClient, database: Database, settings: Settings
    ) -> None:
        await key_of(client, "eve", "developer")
        before = Principal(name="eve", role=Role.OPERATOR)
        async with receiving() as receiver:
            await Webhooks(database, settings).create(WebhookCreate(url=receiver.url), before)
            await happen(database, await new_job(database, "bob"), "his")
            await happen(database, await new_job(database, "eve"), "hers")
            worker = Worker(database, settings)
            await worker.fan_out()
            await worker.send_all()
        assert receiver.notes == ["hers"]


class TestVouching:
    async def test_an_operator_who_led_anothers_one_elsewhere_keeps_nothing(
        self, client: httpx.AsyncClient, database: Database, settings: Settings
    ) -> None:
        ann = await key_of(client, "ann", "developer")
        eve = await key_of(client, "eve", "operator")
        webhook_id = await hook(client, ann)
        async with receiving() as receiver:
            change = {"url": receiver.url}
            answer = await client.patch(f"{HOOKS}/{webhook_id}", json=change, headers=eve)
            assert answer.status_code == 200
            await client.patch("/api/v1/users/eve", json={"role": "developer"})
            await happen(database, await new_job(database, "ann"), "hers")
            worker = Worker(database, settings)
            await worker.fan_out()
            await worker.send_all()
        assert receiver.notes == []
        shown = (await client.get(f"{HOOKS}/{webhook_id}", headers=ann)).json()
        assert shown["disabled_reason"] == "`eve`, who vouched for it, has the role `developer` now"

    async def test_own_ones_stay_when_one_leaves_a_project(
        self, client: httpx.AsyncClient, team: People
    ) -> None:
        own = await hook(client, team["ann"])
        of_team = await hook(client, team["ann"], **TEAM)
        await client.delete(MEMBER)
        listed = (await client.get(HOOKS)).json()["items"]
        assert {each["id"]: each["enabled"] for each in listed} == {own: True, of_team: False}

    async def test_of_one_that_an_earlier_version_made_its_owner_vouches(
        self, client: httpx.AsyncClient, database: Database, team: People
    ) -> None:
        of_team = await hook(client, team["ann"], **TEAM)
        async with database.transaction() as tx:
            await tx.connection.execute(text("UPDATE webhooks SET vouched_by = NULL"))
        await client.delete(MEMBER)
        assert not (await client.get(f"{HOOKS}/{of_team}")).json()["enabled"]

    async def test_a_key_that_may_not_read_jobs_says_not_where_they_lead(
        self, client: httpx.AsyncClient, team: People
    ) -> None:
        narrow = await key_of(client, "ann", "developer", "webhooks:change")
        for params in ({}, TEAM):
            path = f"{HOOKS}/{await hook(client, team['ann'], **params)}"
            for change in ({"url": f"{URL}/else"}, {"enabled": True}):
                answer = await client.patch(path, json=change, headers=narrow)
                assert "jobs:read" in check_problem(answer, 403, "forbidden").detail
            answer = await client.patch(path, json={"enabled": False}, headers=narrow)
            assert answer.status_code == 200

    async def test_none_moves_to_another_project(
        self, client: httpx.AsyncClient, team: People
    ) -> None:
        path = f"{HOOKS}/{await hook(client, team['ann'])}"
        answer = await client.patch(path, json={"project": "team"}, headers=team["ann"])
        check_problem(answer, 422, "invalid_request")
        await client.patch(path, json={"description": "x"}, params=TEAM, headers=team["ann"])
        assert (await client.get(path)).json()["project"] == "ann"

    async def test_locks_in_the_order_in_which_events_are_handed_out(
        self, client: httpx.AsyncClient, database: Database, team: People
    ) -> None:
        """One of the project, then an own one: a change of the user waits for both at the first."""
        first = await hook(client, team["operator"], **TEAM)
        second = await hook(client, team["operator"])
        lock = text("SELECT id FROM webhooks WHERE id = :id FOR NO KEY UPDATE NOWAIT")
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        async with asyncio.TaskGroup() as group, database.transaction() as tx:
            await tx.connection.execute(lock, {"id": first})
            path, off = "/api/v1/users/operator", {"active": False}
            change = group.create_task(client.patch(path, json=off))

            async def waits() -> bool:
                async with database.reading() as other:
                    return bool((await other.connection.execute(waiting)).scalar_one())

            await eventually(waits, what="the change of the user waits")
            await tx.connection.execute(lock, {"id": second})
        assert change.result().status_code == 200
        listed = (await client.get(HOOKS)).json()["items"]
        assert [each["enabled"] for each in listed] == [False, False]
