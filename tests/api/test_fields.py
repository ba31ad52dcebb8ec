"""Lists with some fields only."""

import httpx
import pytest

from api.app import create_app
from cortex.schemas.groups import GroupSummary
from cortex.schemas.jobs import JobSummary
from cortex.settings import Settings
from tests.api.groups import group
from tests.api.support import JOBS, check_problem, submit

GROUPS = "/api/v1/groups"


class TestJobs:
    async def test_only_those_and_as_they_are(self, client: httpx.AsyncClient) -> None:
        for number in range(3):
            await submit(client, name=f"job-{number}", labels={"n": str(number)})
        whole = (await client.get(JOBS)).json()["items"]
        for fields in ("name", "state,name,id", "labels,cost,created_at", "cost_so_far,name,name"):
            page = (await client.get(JOBS, params={"fields": fields})).json()
            assert page["next_cursor"] is None
            names = set(fields.split(","))
            assert page["items"] == [{name: job[name] for name in names} for job in whole]

    async def test_each_and_all(self, client: httpx.AsyncClient) -> None:
        await submit(client)
        whole = (await client.get(JOBS)).json()["items"]
        for fields in [*JobSummary.model_fields, ",".join(JobSummary.model_fields)]:
            shown = (await client.get(JOBS, params={"fields": fields})).json()["items"]
            assert shown == [{name: whole[0][name] for name in fields.split(",")}]

    async def test_pages_go_on(self, client: httpx.AsyncClient) -> None:
        jobs = [await submit(client, name=f"job-{number}") for number in range(5)]
        names, cursor = [], None
        for _ in range(3):
            params = {"fields": "name", "limit": "2", "state": "pending"}
            if cursor:
                params["cursor"] = cursor
            page = (await client.get(JOBS, params=params)).json()
            names += [job["name"] for job in page["items"]]
            cursor = page["next_cursor"]
        assert (len(names), cursor) == (len(jobs), None)
        assert names == [f"job-{number}" for number in (4, 3, 2, 1, 0)]


class TestGroups:
    async def test_only_those_and_as_they_are(self, client: httpx.AsyncClient) -> None:
        for _ in range(2):
            assert (await client.post(GROUPS, json=group())).status_code == 202
        whole = (await client.get(GROUPS)).json()["items"]
        for fields in (
            "name,state",
            "counts,id",
            "cost",
            "total,labels",
            *GroupSummary.model_fields,
        ):
            page = (await client.get(GROUPS, params={"fields": fields, "limit": 2})).json()
            names = set(fields.split(","))
            assert page["items"] == [{name: each[name] for name in names} for each in whole]


@pytest.mark.parametrize("path", [JOBS, GROUPS])
@pytest.mark.parametrize(
    "fields", ["", "colour", "id,colour", "id,", ",id", "id, name", "ID", "spec", "id\n", "j.id"]
)
async def test_unknown_ones_are_refused(client: httpx.AsyncClient, path: str, fields: str) -> None:
    answer = await client.get(path, params={"fields": fields})
    problem = check_problem(answer, 422, "invalid_request")
    assert [error.field for error in problem.errors] == ["fields"]
    assert "of id, name, owner" in problem.detail


def test_the_document_says_that_some_may_be_missing(settings: Settings) -> None:
    document = create_app(settings).openapi()
    parts = document["components"]["schemas"]
    answer = document["paths"][JOBS]["get"]["responses"]["200"]["content"]["application/json"]
    assert [each["$ref"].rpartition("/")[2] for each in answer["schema"]["anyOf"]] == [
        "JobPage",
        "SomeJobPage",
    ]
    assert parts["JobSummary"]["required"]
    assert "required" not in parts["SomeJobSummary"]
    assert parts["SomeJobSummary"]["properties"] == parts["JobSummary"]["properties"]
