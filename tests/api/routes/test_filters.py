"""Saved filters through the API: whose they are, and what they find."""

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from tests.api.routes.test_projects import joined, made, someone
from tests.api.support import JOBS, check_problem, submit

FILTERS = "/api/v1/filters"


async def found(
    client: httpx.AsyncClient, query: str, head: dict[str, str] | None = None
) -> set[str]:
    answer = await client.get(f"{JOBS}?{query}", headers=head)
    assert answer.status_code == 200, answer.text
    return {job["id"] for job in answer.json()["items"]}


class TestOwn:
    async def test_what_it_finds(self, client: httpx.AsyncClient, database: Database) -> None:
        red = await submit(client, name="red", labels={"team": "a", "size": "s"})
        blue = await submit(client, name="blue", labels={"team": "a"})
        await submit(client, name="red")
        body = {"label": {"team": "a"}, "state": ["pending"], "created_within": "1d"}
        answer = await client.put(f"{FILTERS}/mine", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["jobs"]["label"] == {"team": "a"}
        assert await found(client, "saved=mine") == {red, blue}
        # What else is asked for narrows, and counts where both say something.
        assert await found(client, "saved=mine&label=size%3Ds") == {red}
        assert await found(client, "saved=mine&name=blue") == {blue}
        assert await found(client, "saved=mine&state=failed") == set()
        await client.put(f"{FILTERS}/mine", json={"name": "red", "label": {"team": "a"}})
        assert await found(client, "saved=mine") == {red}
        listed = (await client.get(FILTERS)).json()["items"]
        assert [(each["name"], each["shared"]) for each in listed] == [("mine", None)]
        assert (await client.delete(f"{FILTERS}/mine")).status_code == 204
        check_problem(await client.delete(f"{FILTERS}/mine"), 404, "not_found")
        check_problem(await client.get(f"{JOBS}?saved=mine"), 404, "not_found")
        async with database.reading() as tx:
            query = text("SELECT action FROM audit_log WHERE action LIKE 'filter.%' ORDER BY id")
            actions = list((await tx.connection.execute(query)).scalars())
        assert actions == ["filter.put", "filter.put", "filter.delete"]

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"state": ["gone"]}, "state[0]"),
            ({"created_within": "0s"}, "created_within"),
            ({"label": {"a=b": "c"}}, "label"),
            ({"color": "red"}, "color"),
        ],
    )
    async def test_nonsense(
        self, client: httpx.AsyncClient, body: dict[str, object], field: str
    ) -> None:
        answer = await client.put(f"{FILTERS}/mine", json=body)
        problem = check_problem(answer, 422, "invalid_request")
        assert problem.errors[0].field == field

    async def test_nobody_else_has_it(self, client: httpx.AsyncClient) -> None:
        ann = await someone(client, "ann")
        await client.put(f"{FILTERS}/mine", json={"name": "red"}, headers=ann)
        assert (await client.get(FILTERS)).json()["items"] == []
        check_problem(await client.get(f"{JOBS}?saved=mine"), 404, "not_found")


class TestShared:
    async def test_members_have_it_and_see_no_more_by_it(self, client: httpx.AsyncClient) -> None:
        ann, bob = await someone(client, "ann"), await someone(client, "bob")
        await made(client, "vision")
        await joined(client, "ann")
        hidden = await submit(client, name="red")
        path = f"{FILTERS}/red?project=vision"
        check_problem(await client.put(path, json={"name": "red"}, headers=bob), 404, "not_found")
        answer = await client.put(path, json={"name": "red"})
        assert answer.json()["shared"] == "vision"
        assert await found(client, "saved=red") == {hidden}
        assert await found(client, "saved=red", ann) == set()
        check_problem(await client.get(f"{JOBS}?saved=red", headers=bob), 404, "not_found")
        await client.put(path, json={"project": "local"})
        assert await found(client, "saved=red", ann) == set()
        # One's own of this name comes first.
        await client.put(f"{FILTERS}/red", json={"name": "blue"}, headers=ann)
        blue = (
            await client.post(JOBS, json={"name": "blue", "command": ["true"]}, headers=ann)
        ).json()["id"]
        assert await found(client, "saved=red", ann) == {blue}
        assert (await client.delete(path, headers=ann)).status_code == 204
