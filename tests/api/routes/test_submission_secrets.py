"""Jobs and groups that refer to secrets of their project."""

import base64
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.rights import Role
from cortex.security.keyring import KeyRing
from cortex.settings import ApiKey, Settings
from tests.api.groups import GROUPS, group, job
from tests.api.support import JOBS, check_problem, client_of, spec

SECRETS = "/api/v1/secrets"
KEYS = KeyRing.from_setting(SecretStr(f"k1:{base64.b64encode(b'0' * 32).decode()}"))


def referring(**variables: str) -> dict[str, Any]:
    return {variable: {"secret": name} for variable, name in variables.items()}


async def put(client: httpx.AsyncClient, name: str, value: str, **params: str) -> None:
    answer = await client.put(f"{SECRETS}/{name}", json={"value": value}, params=params)
    assert answer.status_code == 200, answer.text


async def given(database: Database, job_id: str) -> dict[str, str]:
    """What the workers read of a job."""
    async with database.reading() as tx:
        query = text("SELECT secrets FROM jobs WHERE id = :id")
        blob = (await tx.connection.execute(query, {"id": job_id})).scalar_one()
    return KEYS.decrypt(bytes(blob), job_id)


class TestJobs:
    async def test_a_job_gets_the_value_and_shows_the_name(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await put(client, "hf-token", "hush-1")
        body = spec(secret_env={**referring(TOKEN="hf-token", OTHER="hf-token"), "PLAIN": "p"})
        answer = await client.post(JOBS, json=body)
        assert answer.status_code == 202, answer.text
        view = answer.json()
        shown = {**referring(TOKEN="hf-token", OTHER="hf-token"), "PLAIN": "**********"}
        assert view["spec"]["secret_env"] == shown
        stored = (await client.get(f"{JOBS}/{view['id']}")).json()
        assert stored["spec"]["secret_env"] == shown
        assert await given(database, view["id"]) == {
            "TOKEN": "hush-1",
            "OTHER": "hush-1",
            "PLAIN": "p",
        }
        used = (await client.get(f"{SECRETS}/hf-token")).json()["used_at"]
        assert used is not None

    async def test_it_keeps_its_copy(self, client: httpx.AsyncClient, database: Database) -> None:
        """Whatever becomes of the secret: a retry reads what the first attempt did."""
        await put(client, "t", "old")
        body = spec(secret_env=referring(TOKEN="t"))
        first = (await client.post(JOBS, json=body)).json()["id"]
        await put(client, "t", "new")
        second = (await client.post(JOBS, json=body)).json()["id"]
        await client.delete(f"{SECRETS}/t")
        assert (await given(database, first), await given(database, second)) == (
            {"TOKEN": "old"},
            {"TOKEN": "new"},
        )
        check_problem(await client.post(JOBS, json=body), 422, "invalid_request")

    async def test_the_same_request_again(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        """By the name, not by what was behind it at the time."""
        await put(client, "t", "old")
        body, head = spec(secret_env=referring(TOKEN="t")), {"idempotency-key": "once"}
        first = await client.post(JOBS, json=body, headers=head)
        await client.delete(f"{SECRETS}/t")
        second = await client.post(JOBS, json=body, headers=head)
        assert second.headers["idempotency-replayed"] == "true"
        assert first.json()["id"] == second.json()["id"]
        other = spec(secret_env=referring(TOKEN="u"))
        check_problem(
            await client.post(JOBS, json=other, headers=head), 409, "idempotency_key_reused"
        )
        plain = spec(secret_env={"TOKEN": "old"})
        check_problem(
            await client.post(JOBS, json=plain, headers=head), 409, "idempotency_key_reused"
        )

    async def test_an_unknown_name(self, client: httpx.AsyncClient, database: Database) -> None:
        await client.post("/api/v1/projects", json={"name": "other"})
        await put(client, "theirs", "x", project="other")
        body = spec(secret_env=referring(A="theirs", B="no-such"))
        for path in (JOBS, f"{JOBS}/validate", "/api/v1/quotes"):
            problem = check_problem(await client.post(path, json=body), 422, "invalid_request")
            assert [(each.field, each.message) for each in problem.errors] == [
                (f"secret_env.{at}.secret", f"there is no secret `{name}` in the project `local`")
                for at, name in (("A", "theirs"), ("B", "no-such"))
            ], path
        async with database.reading() as tx:
            assert (await tx.connection.execute(text("SELECT count(*) FROM jobs"))).scalar() == 0

    async def test_in_a_batch(self, client: httpx.AsyncClient, database: Database) -> None:
        await put(client, "t", "v")
        jobs = [spec(), spec(secret_env=referring(TOKEN="t")), spec(secret_env=referring(X="no"))]
        problem = check_problem(
            await client.post(f"{JOBS}/batch", json={"jobs": jobs}), 422, "invalid_request"
        )
        assert [each.field for each in problem.errors] == ["jobs[2].secret_env.X.secret"]
        answer = await client.post(f"{JOBS}/batch", json={"jobs": jobs[:2]})
        ids = [each["id"] for each in answer.json()["jobs"]]
        assert await given(database, ids[1]) == {"TOKEN": "v"}

    @pytest.mark.parametrize("value", [{"secret": "a b"}, {"secret": 3}, {"name": "t"}, {}])
    async def test_a_malformed_reference(
        self, client: httpx.AsyncClient, value: dict[str, Any]
    ) -> None:
        answer = await client.post(JOBS, json=spec(secret_env={"TOKEN": value}))
        fields = {each.field for each in check_problem(answer, 422, "invalid_request").errors}
        assert all(field.startswith("secret_env.TOKEN.") for field in fields)

    async def test_values_count_where_a_job_may_run(self, client: httpx.AsyncClient) -> None:
        """What they are is known before anything is decided: 9 of 16,000 bytes are too many."""
        names = {f"V{number}": f"large-{number}" for number in range(9)}
        for name in names.values():
            await put(client, name, "x" * 16_000)
        body = spec(secret_env=referring(**names))
        for path in (JOBS, f"{JOBS}/validate"):
            problem = check_problem(await client.post(path, json=body), 422, "invalid_request")
            assert [each.field for each in problem.errors] == ["secret_env"]
            assert "xxx" not in problem.detail

    async def test_under_a_budget(self, client: httpx.AsyncClient, database: Database) -> None:
        await put(client, "t", "v")
        budget = {"name": "b", "amount": "5 USD", "action": "stop"}
        made = await client.post("/api/v1/budgets", json=budget)
        assert made.status_code == 201, made.text
        answer = await client.post(JOBS, json=spec(secret_env=referring(TOKEN="t")))
        assert await given(database, answer.json()["id"]) == {"TOKEN": "v"}


class TestGroups:
    async def test_of_defaults_and_of_jobs(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await put(client, "a", "1")
        await put(client, "b", "2")
        jobs = [job("x", count=2), job("y", secret_env={**referring(B="b"), "C": "3"})]
        body = group(defaults={"secret_env": referring(A="a")}, jobs=jobs)
        assert (await client.post(f"{GROUPS}/validate", json=body)).status_code == 200
        answer = await client.post(GROUPS, json=body)
        assert answer.status_code == 202, answer.text
        view = answer.json()
        assert view["spec"]["defaults"]["secret_env"] == referring(A="a")
        assert view["spec"]["jobs"][1]["secret_env"] == {**referring(B="b"), "C": "**********"}
        values = [await given(database, member["id"]) for member in view["members"]["items"]]
        assert values == [{"A": "1"}, {"A": "1"}, {"A": "1", "B": "2", "C": "3"}]

    async def test_an_unknown_name(self, client: httpx.AsyncClient) -> None:
        body = group(
            defaults={"secret_env": referring(A="no")},
            jobs=[job("x"), job("y", secret_env=referring(B="none"))],
        )
        for path in (GROUPS, f"{GROUPS}/validate"):
            problem = check_problem(await client.post(path, json=body), 422, "invalid_request")
            assert [each.field for each in problem.errors] == [
                "defaults.secret_env.A.secret",
                "jobs[1].secret_env.B.secret",
            ]


class TestRights:
    async def test_a_key_without_the_scope(self, client: httpx.AsyncClient) -> None:
        await client.post("/api/v1/users", json={"name": "ann", "role": "developer"})
        for scopes, status in (
            (["jobs:submit", "jobs:read"], 403),
            (["jobs:submit", "named-secrets:*"], 202),
        ):
            wanted = {"name": "k", "user": "ann", "scopes": scopes}
            made = await client.post("/api/v1/keys", json=wanted)
            head = {"authorization": f"Bearer {made.json()['key']}"}
            answer = await client.post(JOBS, json=spec(), headers=head)
            assert answer.status_code == 202, answer.text
            await put(client, "t", "v", project="ann")
            body = spec(secret_env=referring(TOKEN="t"))
            answer = await client.post(JOBS, json=body, headers=head)
            assert answer.status_code == status, answer.text
            if status == 403:
                for path in (JOBS, f"{JOBS}/validate", "/api/v1/quotes"):
                    answer = await client.post(path, json=body, headers=head)
                    problem = check_problem(answer, 403, "forbidden")
                    assert "`named-secrets:use`" in problem.detail, path

    async def test_an_operator_of_the_server_uses_none_of_others(
        self, settings: Settings, providers: None
    ) -> None:
        keys = {"eve": ApiKey(key=SecretStr("e" * 20), role=Role.OPERATOR)}
        api = settings.api.model_copy(update={"keys": keys})
        async with client_of(settings.model_copy(update={"api": api})) as client:
            await client.post("/api/v1/projects", json={"name": "team"})
            await put(client, "t", "v", project="team")
            head = {"authorization": "Bearer " + "e" * 20}
            where = {"project": "team"}
            body = spec(secret_env=referring(TOKEN="t"))
            plain = await client.post(JOBS, json=spec(), params=where, headers=head)
            assert plain.status_code == 202
            for name in ("t", "no-such"):
                body = spec(secret_env=referring(TOKEN=name))
                answer = await client.post(JOBS, json=body, params=where, headers=head)
                told = check_problem(answer, 403, "forbidden").detail
                assert "`named-secrets.use` in the project `team`" in told


class TestOtherWays:
    async def test_through_a_template(self, client: httpx.AsyncClient, database: Database) -> None:
        await put(client, "t", "v")
        wanted = {"name": "x", "job": spec(secret_env=referring(TOKEN="t"))}
        made = await client.post("/api/v1/templates", json=wanted)
        assert made.status_code == 201, made.text
        path = f"/api/v1/templates/{made.json()['id']}"
        preview = await client.post(f"{path}/preview", json={})
        assert preview.json()["spec"]["secret_env"] == referring(TOKEN="t")
        answer = await client.post(f"{path}/submit", json={})
        assert answer.status_code == 202, answer.text
        (item,) = (await client.get(JOBS)).json()["items"]
        assert await given(database, item["id"]) == {"TOKEN": "v"}

    async def test_by_graphql(self, client: httpx.AsyncClient, database: Database) -> None:
        await put(client, "t", "v")
        job_spec = spec(secret_env=referring(TOKEN="t"))
        query = "mutation ($spec: JSON!) { submitJob(spec: $spec) { id } }"
        body = {"query": query, "variables": {"spec": job_spec}}
        made = (await client.post("/graphql", json=body)).json()
        assert await given(database, made["data"]["submitJob"]["id"]) == {"TOKEN": "v"}
        query = "mutation ($spec: JSON!) { submitGroup(spec: $spec) { id } }"
        member = job("x", secret_env=referring(TOKEN="t"))
        body = {"query": query, "variables": {"spec": group(jobs=[member])}}
        made = (await client.post("/graphql", json=body)).json()
        assert made["data"]["submitGroup"]["id"].startswith("grp_")
