"""With which keys secrets are encrypted, and their rotation; the named secrets of projects."""

import base64

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from activities.secrets import rotate_secrets
from cortex.db.engine import Database
from cortex.security.keyring import KeyRing
from cortex.settings import Settings
from tests.api.support import check_problem, client_of, submit

SECRETS = "/api/v1/secrets"
ROTATION = f"{SECRETS}/rotation"
TOKEN = f"{SECRETS}/hf-token"
RING = f"k1:{base64.b64encode(b'0' * 32).decode()}"


async def test_what_is_under_which_key(client: httpx.AsyncClient) -> None:
    shown = (await client.get(ROTATION)).json()
    assert shown == {"newest": "k1", "keys": ["k1"], "sealed": [], "left": 0, "lost": 0}
    await submit(client, secret_env={"TOKEN": "t0p-secret"})
    shown = (await client.get(ROTATION)).json()
    assert shown["sealed"] == [{"what": "jobs", "key": "k1", "count": 1, "readable": True}]


async def test_without_temporal_it_says_when_it_is_done(client: httpx.AsyncClient) -> None:
    problem = check_problem(await client.post(ROTATION), 503, "temporal_unavailable")
    assert "they do it by themselves within an hour" in problem.detail
    entries = (await client.get("/api/v1/audit?action=secrets.rotate")).json()["items"]
    assert [entry["subject"] for entry in entries] == ["k1"]


class TestNamed:
    async def test_set_shown_and_taken_away(self, client: httpx.AsyncClient) -> None:
        assert (await client.get(SECRETS)).json() == {"items": []}
        answer = await client.put(TOKEN, json={"value": "hush-1"})
        assert answer.status_code == 200, answer.text
        first = answer.json()
        assert (first["name"], first["project"], first["version"]) == ("hf-token", "local", 1)
        assert (first["owner"], first["set_by"], first["used_at"]) == ("local", "local", None)
        again = (await client.put(TOKEN, json={"value": "hush-2"})).json()
        assert (again["version"], again["created_at"]) == (2, first["created_at"])
        assert again["set_at"] > first["set_at"]
        assert (await client.get(TOKEN)).json() == again
        assert (await client.get(SECRETS)).json() == {"items": [again]}
        shown = (await client.get(ROTATION)).json()["sealed"]
        assert shown == [{"what": "named_secrets", "key": "k1", "count": 1, "readable": True}]
        assert (await client.delete(TOKEN)).status_code == 204
        problem = check_problem(await client.get(TOKEN), 404, "not_found")
        assert problem.detail == "there is no secret `hf-token` in the project `local`"
        check_problem(await client.delete(TOKEN), 404, "not_found")

    async def test_the_value_is_nowhere_in_clear(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await client.put(TOKEN, json={"value": "hush-4711"})
        entries = (await client.get("/api/v1/audit?action=named-secret.*")).text
        async with database.reading() as tx:
            row = (await tx.connection.execute(text("SELECT * FROM named_secrets"))).one()
        for place in (entries, str(row), (await client.get(SECRETS)).text):
            assert "hush" not in place
        assert '"subject":"local/hf-token"' in entries
        assert KeyRing.from_setting(SecretStr(RING)).decrypt(
            bytes(row.sealed), f"secret:{row.id}"
        ) == {"value": "hush-4711"}

    @pytest.mark.parametrize(
        ("name", "body", "field"),
        [
            ("a b", {"value": "x"}, "name"),
            ("-a", {"value": "x"}, "name"),
            ("a", {"value": ""}, "value"),
            ("a", {"value": "x\0"}, "value"),
            ("a", {"value": "x" * 16_385}, "value"),
            ("a", {}, "value"),
            ("a", {"value": "x", "project": "p"}, "project"),
        ],
    )
    async def test_what_is_refused(
        self, client: httpx.AsyncClient, name: str, body: dict[str, str], field: str
    ) -> None:
        problem = check_problem(
            await client.put(f"{SECRETS}/{name}", json=body), 422, "invalid_request"
        )
        assert [error.field for error in problem.errors] == [field]

    async def test_a_word_of_the_api(self, client: httpx.AsyncClient) -> None:
        answer = await client.put(ROTATION, json={"value": "x"})
        check_problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, POST"

    async def test_nobody_undoes_what_was_not_seen(self, client: httpx.AsyncClient) -> None:
        new = await client.put(TOKEN, json={"value": "a"}, headers={"if-match": '"nothing"'})
        check_problem(new, 412, "precondition_failed")
        tag = (await client.put(TOKEN, json={"value": "a"})).headers["etag"]
        same = await client.get(TOKEN, headers={"if-none-match": tag})
        assert same.status_code == 304
        head = {"if-match": tag}
        assert (await client.put(TOKEN, json={"value": "b"}, headers=head)).status_code == 200
        late = await client.put(TOKEN, json={"value": "c"}, headers=head)
        check_problem(late, 412, "precondition_failed")
        check_problem(await client.delete(TOKEN, headers=head), 412, "precondition_failed")
        await client.delete(TOKEN)
        # Another one of the same name.
        await client.put(TOKEN, json={"value": "d"})
        check_problem(await client.delete(TOKEN, headers=head), 412, "precondition_failed")

    async def test_without_an_encryption_key(self, settings: Settings, providers: None) -> None:
        bare = settings.model_copy(update={"encryption_keys": None})
        async with client_of(bare) as client:
            problem = check_problem(
                await client.put(TOKEN, json={"value": "x"}), 503, "service_unavailable"
            )
            assert "secrets cannot be stored: no `encryption_keys`" in problem.detail

    async def test_an_archived_project_takes_none(self, client: httpx.AsyncClient) -> None:
        await client.post("/api/v1/projects", json={"name": "old"})
        where = {"project": "old"}
        assert (await client.put(TOKEN, params=where, json={"value": "x"})).status_code == 200
        await client.patch("/api/v1/projects/old", json={"archived": True})
        late = await client.put(TOKEN, params=where, json={"value": "y"})
        check_problem(late, 409, "conflict")
        assert (await client.delete(TOKEN, params=where)).status_code == 204

    async def test_a_rotation_covers_them(
        self, settings: Settings, client: httpx.AsyncClient, database: Database
    ) -> None:
        await client.put(TOKEN, json={"value": "hush"})
        newer = KeyRing.from_setting(SecretStr(f"k2:{base64.b64encode(b'2' * 32).decode()},{RING}"))
        assert await rotate_secrets(database, newer) == 1
        assert await rotate_secrets(database, newer) == 0
        shown = (await client.get(ROTATION)).json()["sealed"]
        assert [(each["what"], each["key"]) for each in shown] == [("named_secrets", "k2")]
        async with database.reading() as tx:
            (sealed,) = await tx.named_secrets.sealed("local", ["hf-token"])
        assert newer.decrypt(sealed.blob, f"secret:{sealed.id}") == {"value": "hush"}
