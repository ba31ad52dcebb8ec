"""Webhooks by the API: made, changed, shown, sent; and what is nowhere to be seen."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from activities.secrets import rotate_secrets
from cortex.db.engine import Database
from cortex.domain.events import EventType
from cortex.domain.ids import new_id
from cortex.security.keyring import KeyRing
from cortex.settings import Settings
from tests.api.support import check_problem, client_of
from tests.webhooks.support import QUICK, Worker, happen, new_job, receiving

HOOKS = "/api/v1/webhooks"
URL = "https://hooks.example.com/services/T0K3N"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhooks": QUICK})


async def made(client: httpx.AsyncClient, url: str = URL, **values: Any) -> dict[str, Any]:
    answer = await client.post(HOOKS, json={"url": url, **values})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    shown: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{HOOKS}/{shown['info']['id']}"
    return shown


class TestChanges:
    async def test_made_changed_and_taken_away(self, client: httpx.AsyncClient) -> None:
        shown = await made(
            client,
            description="to the chat",
            events=["job.*", "budget.alert"],
            jobs={"labels": {"team": "red"}},
            headers={"Authorization": "Bearer s3cr3t", "X-Team": "red"},
        )
        info = shown["info"]
        assert shown["secret"].startswith("whsec_")
        assert (info["owner"], info["project"], info["enabled"]) == ("local", "local", True)
        assert info["headers"] == ["authorization", "x-team"]
        path = f"{HOOKS}/{info['id']}"
        assert (await client.get(path)).json() == info
        assert (await client.get(HOOKS)).json()["items"] == [info]

        change = {"events": ["*"], "headers": {"X-Team": None, "X-New": "1"}, "enabled": False}
        changed = (await client.patch(path, json=change)).json()
        assert changed["headers"] == ["authorization", "x-new"]
        assert (changed["events"], changed["enabled"]) == (["*"], False)
        assert (changed["jobs"], changed["url"]) == (info["jobs"], URL)
        assert (await client.delete(path)).status_code == 204
        for answer in (await client.get(path), await client.delete(path)):
            assert check_problem(answer, 404, "not_found").detail.startswith("there is no webhook")

    async def test_what_is_secret_is_nowhere(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        shown = await made(client, headers={"authorization": "Bearer s3cr3t"})
        path = f"{HOOKS}/{shown['info']['id']}"
        await client.patch(path, json={"headers": {"x-more": "0th3r"}, "description": "x"})
        rotated = (await client.post(f"{path}/rotate-secret")).json()
        await client.post(f"{path}/ping")
        hidden = ["s3cr3t", "0th3r", shown["secret"][6:], rotated["secret"][6:]]
        for each in (path, HOOKS, f"{path}/deliveries", "/api/v1/audit", "/api/v1/events"):
            answer = (await client.get(each)).text
            assert not [word for word in hidden if word in answer]
        async with database.reading() as tx:
            for table in ("webhooks", "webhook_deliveries", "audit_log", "events"):
                rows = str((await tx.connection.execute(text(f"SELECT * FROM {table}"))).all())
                assert not [word for word in hidden if word in rows]
                # The path of a URL may be a secret as well; only its own table has it.
                assert table == "webhooks" or "T0K3N" not in rows

    async def test_sealed_secrets_join_the_rotation_of_keys(
        self, client: httpx.AsyncClient, database: Database, settings: Settings
    ) -> None:
        """Under the new key what was sealed opens, and still signs."""
        await made(client)
        assert settings.encryption_keys is not None
        old = settings.encryption_keys.get_secret_value()
        new = KeyRing.from_setting(type(settings.encryption_keys)(f"k2:{'B' * 43}=,{old}"))
        assert await rotate_secrets(database, new) == 1
        async with database.reading() as tx:
            counts = [(each.what, each.key, each.count) for each in await tx.secrets.counts()]
        assert counts == [("webhooks", "k2", 1)]

    async def test_each_change_is_in_the_audit_log(self, client: httpx.AsyncClient) -> None:
        shown = await made(client)
        path = f"{HOOKS}/{shown['info']['id']}"
        await client.patch(path, json={"enabled": True})  # changes nothing
        await client.patch(path, json={"enabled": False, "headers": {"x-a": "1"}})
        await client.post(f"{path}/rotate-secret", json={"overlap": "1h"})
        await client.post(f"{path}/ping")
        await client.post(f"{path}/redeliver")  # there is nothing to send again
        await client.delete(path)
        entries = (await client.get("/api/v1/audit?action=webhook.*")).json()["items"][::-1]
        assert [entry["action"].removeprefix("webhook.") for entry in entries] == [
            *("create", "update", "rotate-secret", "ping", "delete"),
        ]
        assert entries[0]["data"]["after"]["url"] == "https://hooks.example.com"
        assert entries[1]["data"]["after"] == {
            "enabled": False,
            "headers": ["x-a"],
            "headers_set": ["x-a"],
        }

    async def test_headers_do_not_follow_to_another_host(self, client: httpx.AsyncClient) -> None:
        """An operator may change it, and must not get what its owner alone knows."""
        shown = await made(client, headers={"authorization": "Bearer s3", "x-a": "1"})
        path = f"{HOOKS}/{shown['info']['id']}"
        elsewhere = {"url": "https://elsewhere.example.com/"}
        for headers in ({}, {"x-a": "2"}):
            answer = await client.patch(path, json={**elsewhere, "headers": headers})
            problem = check_problem(answer, 422, "invalid_request")
            assert problem.errors[0].field == "headers"
            assert "`authorization`" in problem.errors[0].message
        assert (await client.patch(path, json={"url": f"{URL}/x"})).status_code == 200
        anew = {**elsewhere, "headers": {"authorization": None, "x-a": "2"}}
        answer = await client.patch(path, json=anew)
        assert answer.json()["headers"] == ["x-a"]

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"url": "http://example.com:22/"}, "url"),
            ({"url": "https://10.0.0.1/"}, "url"),
            ({"url": "https://[64:ff9b::a00:1]/"}, "url"),
            ({"url": "https://u:p@example.com/"}, "url"),
            ({"url": "https://example.com/#x"}, "url"),
            ({"url": "gopher://example.com/"}, "url"),
            ({"url": ""}, "url"),
            ({"events": []}, "events"),
            ({"events": ["job.flown"]}, "events"),
            ({"events": ["jo*"]}, "events"),
            ({"jobs": {"labels": {"a=b": "c"}}}, "jobs.labels"),
            ({"jobs": {"group": "grp_1"}}, "jobs.group"),
            ({"jobs": {"project": "X"}}, "jobs.project"),
            ({"headers": {"Host": "x"}}, "headers.Host"),
            ({"headers": {"Webhook-Id": "x"}}, "headers.Webhook-Id"),
            ({"headers": {"a b": "x"}}, "headers.a b"),
            ({"headers": {"x": "a\r\nb: c"}}, "headers.x"),
            ({"headers": {"x": ""}}, "headers.x"),
            ({"headers": {f"x-{n}": "1" for n in range(21)}}, "headers"),
            ({"description": "a\nb"}, "description"),
            ({"enabled": 1}, "enabled"),
            ({"secret": "whsec_x"}, "secret"),
        ],
    )
    async def test_bad_input_names_the_field(
        self, client: httpx.AsyncClient, values: dict[str, Any], field: str
    ) -> None:
        answer = await client.post(HOOKS, json={"url": URL, **values})
        problem = check_problem(answer, 422, "invalid_request")
        assert problem.errors[0].field == field

    async def test_no_more_than_a_hundred(self, client: httpx.AsyncClient) -> None:
        for _ in range(10):
            answers = [client.post(HOOKS, json={"url": URL}) for _ in range(11)]
            codes = [answer.status_code for answer in await asyncio.gather(*answers)]
            assert set(codes) <= {201, 409}
        assert len((await client.get(HOOKS)).json()["items"]) == 100

    async def test_without_an_encryption_key(self, settings: Settings, providers: None) -> None:
        async with client_of(settings.model_copy(update={"encryption_keys": None})) as client:
            answer = await client.post(HOOKS, json={"url": URL})
            check_problem(answer, 503, "service_unavailable")

    @pytest.mark.parametrize("overlap", ["0s", "24h", "90 m", 0, 90.5, "30d"])
    async def test_overlaps(self, client: httpx.AsyncClient, overlap: object) -> None:
        path = f"{HOOKS}/{(await made(client))['info']['id']}/rotate-secret"
        answer = await client.post(path, json={"overlap": overlap})
        assert answer.status_code == 200, answer.text

    @pytest.mark.parametrize("overlap", ["", "0", "soon", "-1h", "31d", -1, 2592001, True])
    async def test_no_overlaps(self, client: httpx.AsyncClient, overlap: object) -> None:
        path = f"{HOOKS}/{(await made(client))['info']['id']}/rotate-secret"
        answer = await client.post(path, json={"overlap": overlap})
        problem = check_problem(answer, 422, "invalid_request")
        assert problem.errors[0].field == "overlap"


class TestFilters:
    async def test_types_labels_groups(
        self, client: httpx.AsyncClient, database: Database, settings: Settings
    ) -> None:
        group = new_id("grp")
        async with database.statement() as tx:
            await tx.connection.execute(
                text(
                    "INSERT INTO job_groups (id, name, owner, project, state, spec, labels) "
                    "VALUES (:id, 'x', 'bob', 'bob', 'running', '{}', '{\"team\": \"red\"}')"
                ),
                {"id": group},
            )
        plain = await new_job(database, "ann")
        red = await new_job(database, "ann", project="team", team="red", tier="a")
        member = await new_job(database, "bob", group)
        filters: dict[str, dict[str, Any]] = {
            "progress": {"events": ["job.progress"]},
            "red": {"jobs": {"labels": {"team": "red"}}},
            "both": {"jobs": {"labels": {"team": "red", "tier": "b"}}},
            "group": {"jobs": {"group": group}},
            "bob": {"jobs": {"owner": "bob"}},
            "project": {"jobs": {"project": "team"}},
            "other": {"events": ["group.*", "provider.status.changed"]},
        }
        async with receiving() as receiver:
            for name, values in filters.items():
                await made(client, f"{receiver.url}/{name}", headers={"x-name": name}, **values)
            for job, note in ((plain, "plain"), (red, "red"), (member, "member")):
                await happen(database, job, note)
            changed = EventType.GROUP_STATE_CHANGED
            await happen(database, None, "group", subject=group, event_type=changed)
            status = EventType.PROVIDER_STATUS_CHANGED
            await happen(database, None, "akash", subject="akash", event_type=status)
            worker = Worker(database, settings)
            await worker.fan_out()
            await worker.send_all()
        got = {
            name: sorted(each.note for each in receiver.tried if each.headers["x-name"] == name)
            for name in filters
        }
        assert got == {
            "progress": ["member", "plain", "red"],
            "red": ["group", "red"],
            "both": [],
            "group": ["group", "member"],
            "bob": ["group", "member"],
            "project": ["red"],
            "other": ["akash", "group"],
        }

    async def test_what_was_missed_while_it_was_off(
        self, client: httpx.AsyncClient, database: Database, settings: Settings
    ) -> None:
        job = await new_job(database)
        await happen(database, job, "before")
        async with receiving() as receiver:
            shown = await made(client, receiver.url)
            path, worker = f"{HOOKS}/{shown['info']['id']}", Worker(database, settings)
            for note, change in (
                ("missed", {"enabled": True}),
                ("skipped", {"enabled": True, "skip_missed": True}),
            ):
                await client.patch(path, json={"enabled": False})
                await happen(database, job, note)
                await worker.fan_out()
                await worker.send_all()
                await client.patch(path, json=change)
                await worker.fan_out()
                await worker.send_all()
            await happen(database, job, "after")
            await worker.fan_out()
            await worker.send_all()
        assert receiver.notes == ["missed", "after"]


class TestDeliveries:
    async def test_pages_states_and_one(
        self, client: httpx.AsyncClient, database: Database, settings: Settings
    ) -> None:
        async with receiving() as receiver:
            shown = await made(client, receiver.url)
            path = f"{HOOKS}/{shown['info']['id']}"
            await happen(database, await new_job(database), *range(5))
            worker = Worker(database, settings)
            await worker.fan_out()
            receiver.status = lambda got: 500 if got.note == 3 else 204
            await worker.send_all()
        listed: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await client.get(f"{path}/deliveries", params={"limit": 2, **cursor})).json()
            listed += page["items"]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert [each["state"] for each in listed] == ["pending"] * 2 + ["delivered"] * 3
        assert len({each["id"] for each in listed}) == 5
        info = (await client.get(path)).json()
        assert (info["waiting"], info["dead"]) == (2, 0)
        assert info["failing_since"] is not None
        waiting = (await client.get(f"{path}/deliveries?state=pending&state=dead")).json()["items"]
        assert [each["id"] for each in waiting] == [each["id"] for each in listed[:2]]
        one = await client.get(f"{path}/deliveries/{waiting[1]['id']}")
        assert one.json()["log"][0]["status"] == 500
        check_problem(await client.get(f"{path}/deliveries/dlv_1"), 404, "not_found")
        answer = await client.post(f"{path}/redeliver", json={"delivery": waiting[0]["id"]})
        check_problem(answer, 409, "conflict")
        answer = await client.post(f"{path}/redeliver", json={"delivery": new_id("dlv")})
        check_problem(answer, 404, "not_found")
        answer = await client.post(f"{path}/redeliver", json={"delivery": listed[4]["id"]})
        assert (answer.status_code, answer.json()) == (202, {"count": 1})
        ping = (await client.post(f"{path}/ping")).json()
        assert (ping["event_type"], ping["state"]) == ("webhook.ping", "pending")
