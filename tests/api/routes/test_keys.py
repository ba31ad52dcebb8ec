"""Users and API keys: made, used, limited by scopes, changed and revoked."""

from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.accounts import NewKey
from cortex.schemas.accounts import KeyCreated, KeyPage
from cortex.schemas.server import Info
from cortex.settings import Settings
from tests.api.support import JOBS, check_problem, client_of, submit
from tests.support import eventually

USERS, KEYS = "/api/v1/users", "/api/v1/keys"


def sending(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def user(client: httpx.AsyncClient, name: str = "ann", role: str = "developer") -> None:
    answer = await client.post(USERS, json={"name": name, "role": role})
    assert answer.status_code == 201, answer.text


async def made(client: httpx.AsyncClient, user: str = "ann", **values: object) -> KeyCreated:
    answer = await client.post(KEYS, json={"name": "ci", "user": user, **values})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return KeyCreated.model_validate_json(answer.content)


class TestUse:
    async def test_whoever_sends_it_is_its_user(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await user(client)
        key = (await made(client)).key
        info = Info.model_validate_json(
            (await client.get("/api/v1/info", headers=sending(key))).content
        )
        assert (info.user, info.role) == ("ann", "developer")
        client.headers.update(sending(key))
        job_id = await submit(client)
        assert (await client.get(f"{JOBS}/{job_id}")).json()["owner"] == "ann"
        await client.post(f"{JOBS}/{job_id}/cancel")
        async with database.reading() as tx:
            query = text("SELECT actor, credential FROM audit_log WHERE action = 'job.cancel'")
            assert (await tx.connection.execute(query)).all() == [("ann", key[:12])]

    async def test_a_role_that_changes_and_a_user_that_is_switched_off(
        self, client: httpx.AsyncClient
    ) -> None:
        await user(client)
        key = sending((await made(client)).key)
        assert (await client.post(JOBS, json={}, headers=key)).status_code == 422
        await client.patch(f"{USERS}/ann", json={"role": "viewer"})

        async def refused() -> bool:
            return (await client.post(JOBS, json={}, headers=key)).status_code == 403

        await eventually(refused)
        await client.patch(f"{USERS}/ann", json={"active": False})

        async def off() -> bool:
            return (await client.get(JOBS, headers=key)).status_code == 401

        await eventually(off)
        problem = check_problem(await client.get(JOBS, headers=key), 401, "not_authenticated")
        assert "`ann`, who is switched off" in problem.detail
        await client.patch(f"{USERS}/ann", json={"active": True})

        async def on() -> bool:
            return (await client.get(JOBS, headers=key)).status_code == 200

        await eventually(on)

    async def test_revoked_expired_unknown(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await user(client)
        revoked, expired = await made(client), await made(client, expires_in="90d")
        assert expired.info.expires_at is not None
        assert expired.info.expires_at - expired.info.created_at < timedelta(days=90, minutes=1)
        assert (await client.get(JOBS, headers=sending(revoked.key))).status_code == 200
        for _ in range(2):
            assert (await client.delete(f"{KEYS}/{revoked.info.id}")).status_code == 204
        async with database.statement() as tx:
            await tx.connection.execute(
                text("UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE id = :id"),
                {"id": expired.info.id},
            )
        for key, words in (
            (revoked.key, f"the API key `{revoked.info.prefix}` was revoked at"),
            (expired.key, f"the API key `{expired.info.prefix}` has expired at"),
            (NewKey.make().text, "this API key is not valid"),
            ("ctx_something", "this API key is not valid"),
        ):

            async def refused(key: str = key) -> bool:
                return (await client.get(JOBS, headers=sending(key))).status_code == 401

            await eventually(refused)
            problem = check_problem(
                await client.get(JOBS, headers=sending(key)), 401, "not_authenticated"
            )
            assert words in problem.detail

    async def test_where_the_settings_have_no_key(
        self, settings: Settings, client: httpx.AsyncClient
    ) -> None:
        """This machine is the admin without one; whoever sends one is its user."""
        await user(client)
        key = (await made(client)).key
        alone = settings.model_copy(update={"api": settings.api.model_copy(update={"key": None})})
        async with client_of(alone) as local:
            del local.headers["authorization"]
            infos = [await local.get("/api/v1/info", headers=h) for h in ({}, sending(key))]
            assert [info.json()["user"] for info in infos] == ["local", "ann"]

    async def test_the_last_use_is_written_down(
        self, settings: Settings, client: httpx.AsyncClient
    ) -> None:
        await user(client)
        key = await made(client)
        assert key.info.last_used_at is None
        async with client_of(settings) as other:
            await other.get(JOBS, headers=sending(key.key))
        (listed,) = KeyPage.model_validate_json((await client.get(KEYS)).content).items
        assert listed.last_used_at is not None
        assert listed.last_used_at > key.info.created_at
        assert listed.last_used_from == "127.0.0.1"


class TestScopes:
    async def test_it_may_no_more_than_they_say(self, client: httpx.AsyncClient) -> None:
        await user(client)
        key = await made(client, scopes=["read"])
        headers = sending(key.key)
        assert (await client.get(JOBS, headers=headers)).status_code == 200
        problem = check_problem(await client.post(JOBS, json={}, headers=headers), 403, "forbidden")
        assert problem.detail == (
            f"the API key `{key.info.prefix}` of `ann` has not the scope `jobs:submit`"
        )

    async def test_a_key_makes_no_stronger_one(self, client: httpx.AsyncClient) -> None:
        await user(client)
        headers = sending((await made(client, scopes=["keys:change", "jobs:read"])).key)
        for scopes in ([], ["jobs:submit"], ["jobs:*"], ["read"]):
            body = {"name": "x", "scopes": scopes}
            answer = await client.post(KEYS, json=body, headers=headers)
            problem = check_problem(answer, 422, "invalid_request")
            assert problem.errors[0].field == "scopes"
        body = {"name": "x", "scopes": ["jobs:read"]}
        assert (await client.post(KEYS, json=body, headers=headers)).status_code == 201

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"scopes": ["jobs:fly"]}, "scopes"),
            ({"scopes": ["providers:change"]}, "scopes"),
            ({"expires_in": "-1d"}, "expires_in"),
            ({"expires_in": "soon"}, "expires_in"),
            ({"name": ""}, "name"),
            ({"name": "a\nb"}, "name"),
            ({"user": "A B"}, "user"),
            ({"expires_in": "3651d"}, "expires_in"),
            ({"role": "admin"}, "role"),
        ],
    )
    async def test_bad_input_names_the_field(
        self, client: httpx.AsyncClient, values: dict[str, object], field: str
    ) -> None:
        await user(client)
        body = {"name": "x", "user": "ann", **values}
        problem = check_problem(await client.post(KEYS, json=body), 422, "invalid_request")
        assert problem.errors[0].field == field

    async def test_whose_it_is_must_be_a_user(self, client: httpx.AsyncClient) -> None:
        for body in ({"name": "x", "user": "nobody"}, {"name": "x"}):
            problem = check_problem(await client.post(KEYS, json=body), 404, "not_found")
            assert problem.errors[0].field == "user"


class TestOthers:
    async def test_one_sees_and_revokes_own_keys_only(self, client: httpx.AsyncClient) -> None:
        await user(client)
        await user(client, "bob")
        of_ann, of_bob = await made(client), await made(client, "bob")
        assert len((await client.get(KEYS)).json()["items"]) == 2
        bob = sending(of_bob.key)
        own = (await client.get(KEYS, headers=bob)).json()["items"]
        assert [key["id"] for key in own] == [of_bob.info.id]
        check_problem(await client.get(f"{KEYS}?user=ann", headers=bob), 403, "forbidden")
        body = {"name": "x", "user": "ann"}
        check_problem(await client.post(KEYS, json=body, headers=bob), 403, "forbidden")
        missing = await client.delete(f"{KEYS}/key_0", headers=bob)
        foreign = await client.delete(f"{KEYS}/{of_ann.info.id}", headers=bob)
        for answer in (missing, foreign):
            assert check_problem(answer, 404, "not_found").detail.startswith("there is no API key")
        assert (await client.get(JOBS, headers=sending(of_ann.key))).status_code == 200
        check_problem(await client.get(USERS, headers=bob), 403, "forbidden")

    async def test_no_answer_and_no_row_has_the_text(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await user(client)
        key = (await made(client)).key
        secret = key[13:]
        for path in (KEYS, USERS, f"{USERS}/ann", "/api/v1/audit", "/api/v1/events"):
            assert secret not in (await client.get(path)).text
        async with database.reading() as tx:
            for table in ("api_keys", "users", "audit_log", "events"):
                rows = await tx.connection.execute(text(f"SELECT * FROM {table}"))
                assert secret not in str(rows.all())


class TestUsers:
    async def test_names_are_taken_once(self, client: httpx.AsyncClient) -> None:
        await user(client)
        body = {"name": "ann", "role": "viewer"}
        check_problem(await client.post(USERS, json=body), 409, "conflict")
        body = {"name": "local", "role": "viewer"}
        check_problem(await client.post(USERS, json=body), 409, "conflict")
        check_problem(await client.get(f"{USERS}/bob"), 404, "not_found")
        check_problem(await client.patch(f"{USERS}/bob", json={}), 404, "not_found")
        for wrong, field in (
            ({"role": "king"}, "role"),
            ({"kind": "robot"}, "kind"),
            ({"password": "x"}, "password"),
        ):
            answer = await client.post(USERS, json={"name": "eve", "role": "viewer", **wrong})
            assert check_problem(answer, 422, "invalid_request").errors[0].field == field

    async def test_each_change_is_in_the_audit_log(self, client: httpx.AsyncClient) -> None:
        await user(client)
        await client.patch(f"{USERS}/ann", json={"role": "developer"})  # changes nothing
        await client.patch(f"{USERS}/ann", json={"role": "operator"})
        key = await made(client, scopes=["read"])
        await client.delete(f"{KEYS}/{key.info.id}")
        entries = (await client.get("/api/v1/audit")).json()["items"]
        assert [(e["action"], e["subject"]) for e in reversed(entries)] == [
            ("user.create", "ann"),
            ("user.update", "ann"),
            ("key.create", key.info.id),
            ("key.revoke", key.info.id),
        ]
        assert entries[2]["data"] == {
            "before": {"role": "developer"},
            "after": {"role": "operator"},
        }
