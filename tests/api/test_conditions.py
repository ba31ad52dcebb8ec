"""`ETag`, `If-None-Match` and `If-Match`: nobody undoes what was not seen."""

import asyncio

import httpx
import pytest
from sqlalchemy import text

from api.app import create_app
from cortex.db.engine import Database
from cortex.settings import Settings
from tests.api.support import check_problem, submit

BUDGET = {"name": "team", "amount": "100 USD"}


@pytest.fixture
async def budget(client: httpx.AsyncClient) -> str:
    """The path of one."""
    return str((await client.post("/api/v1/budgets", json=BUDGET)).headers["location"])


@pytest.fixture
async def user(client: httpx.AsyncClient) -> str:
    body = {"name": "ann", "role": "viewer"}
    return str((await client.post("/api/v1/users", json=body)).headers["location"])


@pytest.fixture
async def provider(client: httpx.AsyncClient, database: Database) -> str:
    """As if it had been added by the API: no worker is here to check one."""
    async with database.transaction() as tx:
        await tx.connection.execute(text("UPDATE providers SET source = 'api' WHERE id = 'local'"))
    return "/api/v1/providers/local"


CHANGES = [
    ("budget", {"amount": "50 USD"}),
    ("user", {"role": "developer"}),
    ("provider", {"rate_limit": 5.0}),
]


@pytest.fixture(params=CHANGES, ids=[name for name, _ in CHANGES])
def thing(
    request: pytest.FixtureRequest, budget: str, user: str, provider: str
) -> tuple[str, dict[str, object]]:
    """Its path, and a change of it."""
    name, change = request.param
    return {"budget": budget, "user": user, "provider": provider}[name], change


class TestTags:
    async def test_what_one_has_is_not_sent_again(
        self, client: httpx.AsyncClient, user: str
    ) -> None:
        first = await client.get(user)
        tag = first.headers["etag"]
        assert first.headers["cache-control"] == "private, no-cache"
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = await client.get(user, headers={"if-none-match": known})
            assert (again.status_code, again.content) == (304, b""), known
            assert again.headers["etag"] == tag
        for other in ('"other"', "nonsense", ""):
            again = await client.get(user, headers={"if-none-match": other})
            assert (again.status_code, again.json()) == (200, first.json()), other

    async def test_a_change_is_seen(
        self, client: httpx.AsyncClient, thing: tuple[str, dict[str, object]]
    ) -> None:
        path, change = thing
        before = (await client.get(path)).headers["etag"]
        changed = await client.patch(path, json=change)
        assert changed.status_code == 200, changed.text
        assert changed.headers["etag"] != before
        after = await client.get(path, headers={"if-none-match": before})
        assert after.status_code == 200
        assert version(after.headers["etag"]) == version(changed.headers["etag"])

    async def test_so_is_what_changes_by_itself(
        self, client: httpx.AsyncClient, database: Database, budget: str
    ) -> None:
        before = (await client.get(budget)).headers["etag"]
        async with database.transaction() as tx:
            await tx.connection.execute(text("UPDATE budgets SET usd_rate = usd_rate * 2"))
        after = await client.get(budget, headers={"if-none-match": before})
        assert after.status_code == 200
        # Nobody has changed it: who has seen the limit may still change that.
        changed = await client.patch(budget, json={"name": "b"}, headers={"if-match": before})
        assert changed.status_code == 200


class TestChanges:
    async def test_only_what_was_seen_is_changed(
        self, client: httpx.AsyncClient, thing: tuple[str, dict[str, object]]
    ) -> None:
        path, change = thing
        seen = await client.get(path)
        tag = {"if-match": seen.headers["etag"]}
        assert (await client.patch(path, json=change, headers=tag)).status_code == 200
        now = await client.get(path)
        for old in (tag["if-match"], f"W/{now.headers['etag']}", '"other"', "nonsense", ""):
            answer = await client.patch(path, json=change, headers={"if-match": old})
            problem = check_problem(answer, 412, "precondition_failed")
            assert "look, and try again" in problem.detail
        assert (await client.get(path)).json() == now.json()
        for good in ("{tag}", "*", '"other", {tag}'):
            given = good.format(tag=(await client.get(path)).headers["etag"])
            answer = await client.patch(path, json=change, headers={"if-match": given})
            assert answer.status_code == 200, given
        assert (await client.patch(path, json=change)).status_code == 200

    @pytest.mark.parametrize("name", ["budget", "provider"])
    async def test_nor_is_anything_else_removed(
        self, client: httpx.AsyncClient, name: str, budget: str, provider: str
    ) -> None:
        path = budget if name == "budget" else provider
        tag = (await client.get(path)).headers["etag"]
        check_problem(
            await client.delete(path, headers={"if-match": '"other"'}), 412, "precondition_failed"
        )
        assert (await client.get(path)).status_code == 200
        assert (await client.delete(path, headers={"if-match": tag})).status_code == 204
        assert (await client.delete(path, headers={"if-match": tag})).status_code == 404

    async def test_of_two_at_once_one_is_told(
        self, client: httpx.AsyncClient, thing: tuple[str, dict[str, object]]
    ) -> None:
        path, change = thing
        tag = {"if-match": (await client.get(path)).headers["etag"]}
        answers = await asyncio.gather(
            *(client.patch(path, json=change, headers=tag) for _ in range(4))
        )
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses[0] == 200
        assert set(statuses[1:]) <= {409, 412}

    async def test_a_job_has_none(self, client: httpx.AsyncClient) -> None:
        """It changes by itself all the time."""
        job_id = await submit(client)
        assert "etag" not in (await client.get(f"/api/v1/jobs/{job_id}")).headers


def test_the_document_has_them(settings: Settings) -> None:
    paths = create_app(settings).openapi()["paths"]
    for path in ("/budgets/{budget_id}", "/users/{name}", "/providers/{provider_id}"):
        operations = paths[f"/api/v1{path}"]
        names = {each["name"] for each in operations["patch"]["parameters"]}
        assert "If-Match" in names
        assert "412" in operations["patch"]["responses"]
        assert {"304", "200"} <= set(operations["get"]["responses"])
        assert "ETag" in operations["get"]["responses"]["200"]["headers"]


def version(tag: str) -> str:
    return tag.partition(".")[0]
