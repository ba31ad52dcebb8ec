"""Queries over real rows: what they show is what REST shows."""

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from tests.api.graphql.support import data, refusal
from tests.api.groups import GROUPS, group
from tests.api.routes.test_metrics import measured, running
from tests.api.support import JOBS, eventually, submit
from tests.db.jobs.test_metrics import end

_JOB = """query ($id: ID!) { job(id: $id) {
  id name owner project state reason message exitCode attempt providerId progress labels
  cost { amount currency } createdAt startedAt groupId member spec extension losses failures
  logBytes temporalUrl
  leases { key attempt providerId state pricePerHour { amount currency } provider { id status } }
  history { state attempt message time }
  charges { id kind amount { amount currency } usdRate jobId }
  events { nodes { type subject position data } pageInfo { hasNextPage endCursor } }
} }"""
_METRICS = """query ($id: ID!) { job(id: $id) {
  metrics { reported note since until step nodes { time attempt cpu { min avg max }
    memory { max } cpuSeconds networkSent } }
  resourcesUsed { cpuSeconds memoryPeak }
} }"""


async def billed(database: Database, job_id: str, amount: str) -> None:
    async with database.transaction() as tx:
        for statement in (
            "INSERT INTO leases (key, job_id, attempt, provider_id, state, offer, currency) "
            "VALUES (:job || '-1', :job, 1, 'local', 'released', "
            """'{"price_per_hour": {"amount": "1", "currency": "USD"}}', 'USD')""",
            "INSERT INTO ledger (id, job_id, lease_key, provider_id, kind, amount, currency, "
            "usd_rate) VALUES ('led_' || :job, :job, :job || '-1', 'local', 'charge', "
            "CAST(:amount AS numeric), 'USD', 1)",
        ):
            await tx.connection.execute(text(statement), {"job": job_id, "amount": amount})


class TestJob:
    async def test_is_the_one_of_rest(self, client: httpx.AsyncClient, database: Database) -> None:
        job_id = await submit(client, labels={"team": "a"}, secret_env={"TOKEN": "hush"})
        await billed(database, job_id, "0.25")
        rest = (await client.get(f"{JOBS}/{job_id}")).json()
        job = (await data(client, _JOB, id=job_id))["job"]
        for name in ("id", "name", "owner", "project", "message", "attempt", "labels", "spec"):
            assert job[name] == rest[name], name
        assert (job["state"], job["temporalUrl"]) == ("PENDING", rest["temporal_url"])
        assert job["createdAt"] == rest["created_at"]
        assert "hush" not in str(job)
        (lease,) = job["leases"]
        assert lease["key"] == f"{job_id}-1"
        assert lease["state"] == "RELEASED"
        assert lease["provider"]["id"] == "local"
        assert [change["state"] for change in job["history"]] == ["PENDING"]
        (charge,) = job["charges"]
        assert charge["amount"] == {"amount": "0.25", "currency": "USD"}
        assert charge["kind"] == "CHARGE"

        async def told() -> bool:  # once every transaction that began before has ended
            events = (await data(client, _JOB, id=job_id))["job"]["events"]["nodes"]
            return [event["type"] for event in events] == ["cortex.job.submitted"]

        await eventually(told)

    @pytest.mark.parametrize("name", ["job_00000000000000000000000000", "x", "", "grp_1"])
    async def test_one_that_is_not_there(self, client: httpx.AsyncClient, name: str) -> None:
        error = await refusal(client, "query ($id: ID!) { job(id: $id) { id } }", id=name)
        assert error["code"] == "not_found"
        assert error["message"] == f"there is no job `{name}`"
        assert error["correlation_id"]


class TestJobs:
    async def test_pages_are_those_of_rest(self, client: httpx.AsyncClient) -> None:
        ids = [await submit(client, name=f"n{number}") for number in range(5)]
        query = """query ($after: String) { jobs(first: 2, after: $after) {
            nodes { id } edges { cursor node { id } } pageInfo { hasNextPage endCursor } } }"""
        walked: list[str] = []
        after: str | None = None
        while True:
            page = (await data(client, query, after=after))["jobs"]
            walked += [node["id"] for node in page["nodes"]]
            assert [edge["node"] for edge in page["edges"]] == page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                break
            after = page["pageInfo"]["endCursor"]
            assert after == page["edges"][-1]["cursor"]
            rest = (await client.get(JOBS, params={"cursor": after, "limit": 500})).json()
            assert [job["id"] for job in rest["items"]] == list(reversed(ids))[len(walked) :]
        assert walked == list(reversed(ids))

    async def test_are_narrowed(self, client: httpx.AsyncClient) -> None:
        made = (await client.post(GROUPS, json=group())).json()
        other = await submit(client, name="other", labels={"team": "b"})

        async def found(arguments: str) -> list[str]:
            page = (await data(client, f"{{ jobs({arguments}) {{ nodes {{ id }} }} }}"))["jobs"]
            return [node["id"] for node in page["nodes"]]

        assert await found('labels: ["team=b"]') == [other]
        assert await found('name: "other", states: [PENDING, FAILED]') == [other]
        assert await found("states: [FAILED]") == []
        assert await found('owner: "nobody"') == []
        assert await found('createdAfter: "1h", name: "other"') == [other]
        assert await found('createdBefore: "2020-01-01"') == []
        members = {member["id"] for member in made["members"]["items"]}
        assert set(await found(f'group: "{made["id"]}"')) == members

    @pytest.mark.parametrize(
        ("arguments", "field"),
        [
            ("first: 0", "first"),
            ("first: 501", "first"),
            ('after: "x"', "after"),
            ('labels: ["x"]', "label"),
            ('createdAfter: "yesterday"', "createdAfter"),
        ],
    )
    async def test_what_is_not_understood(
        self, client: httpx.AsyncClient, arguments: str, field: str
    ) -> None:
        error = await refusal(client, f"{{ jobs({arguments}) {{ nodes {{ id }} }} }}")
        assert (error["code"], error["status"]) == ("invalid_request", 422)
        assert [each["field"] for each in error["errors"]] == [field]


class TestGroups:
    async def test_a_group_with_its_members(self, client: httpx.AsyncClient) -> None:
        made = (await client.post(GROUPS, json=group())).json()
        query = """query ($id: ID!) { group(id: $id) {
            id name state total counts waiting gangs { gang members } spec temporalUrl
            members(first: 1) { nodes { id member job { id group { id } } }
                pageInfo { hasNextPage endCursor } } } }"""
        found = (await data(client, query, id=made["id"]))["group"]
        for name in ("id", "name", "total", "counts", "waiting", "spec"):
            assert found[name] == made[name], name
        assert found["temporalUrl"] == made["temporal_url"]
        (member,) = found["members"]["nodes"]
        first = made["members"]["items"][0]
        assert (member["id"], member["member"]) == (first["id"], first["member"])
        assert member["job"] == {"id": first["id"], "group": {"id": made["id"]}}
        assert found["members"]["pageInfo"] == {"hasNextPage": True, "endCursor": first["id"]}
        listed = (await data(client, "{ groups { nodes { id gangs { gang } } } }"))["groups"]
        assert [each["id"] for each in listed["nodes"]] == [made["id"]]

    async def test_events_of_a_group(self, client: httpx.AsyncClient) -> None:
        made = (await client.post(GROUPS, json=group())).json()
        await submit(client)
        query = "query ($id: ID) { events(group: $id, first: 500) { nodes { subject } } }"
        members = {member["id"] for member in made["members"]["items"]}

        async def told() -> bool:
            nodes = (await data(client, query, id=made["id"]))["events"]["nodes"]
            return {node["subject"] for node in nodes} == {made["id"], *members}

        await eventually(told)


class TestEvents:
    async def test_go_on_after_a_position(self, client: httpx.AsyncClient) -> None:
        ids = [await submit(client) for _ in range(3)]
        query = """query ($after: String) { events(first: 2, after: $after) {
            nodes { subject } pageInfo { hasNextPage endCursor } } }"""

        async def all_there() -> bool:
            whole = (await data(client, "{ events { nodes { subject } } }"))["events"]
            return len(whole["nodes"]) == len(ids)

        await eventually(all_there)
        page = (await data(client, query))["events"]
        assert page["pageInfo"]["hasNextPage"] is True
        rest = (await data(client, query, after=page["pageInfo"]["endCursor"]))["events"]
        seen = [node["subject"] for node in page["nodes"] + rest["nodes"]]
        assert seen == ids
        assert rest["pageInfo"]["hasNextPage"] is False
        assert rest["pageInfo"]["endCursor"]


class TestMoney:
    async def test_ledger_costs_and_budgets(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        first, second = await submit(client), await submit(client)
        await billed(database, first, "2")
        await billed(database, second, "0.5")
        body = {"name": "all", "amount": "100 USD"}
        budget = (await client.post("/api/v1/budgets", json=body)).json()
        query = """query ($job: ID) {
            ledger(job: $job) { nodes { jobId amount { amount } } }
            costs(groupBy: "job") { totalUsd rows { keys charged { amount currency } } }
            budgets { id name amount { amount } spent { amount } used forecast { method } version }
        }"""
        found = await data(client, query, job=first)
        assert found["ledger"]["nodes"] == [{"jobId": first, "amount": {"amount": "2"}}]
        assert found["costs"]["totalUsd"] == "2.5"
        assert {row["keys"][0] for row in found["costs"]["rows"]} == {first, second}
        (shown,) = found["budgets"]
        assert (shown["id"], shown["spent"]) == (budget["id"], {"amount": "2.5"})
        one = "query ($id: ID!) { budget(id: $id) { version } }"
        assert (await data(client, one, id=budget["id"]))["budget"] == {"version": shown["version"]}


class TestServer:
    async def test_who_asks_and_providers(self, client: httpx.AsyncClient) -> None:
        query = """{ me { user role project }
            providers { id type enabled capabilities prices { cpuHour currency } circuit { state } }
            provider(id: "local") { id } }"""
        found = await data(client, query)
        assert found["me"] == {"user": "local", "role": "ADMIN", "project": None}
        assert {each["id"] for each in found["providers"]} == {"local", "docker"}
        assert found["provider"] == {"id": "local"}
        error = await refusal(client, '{ provider(id: "none") { id } }')
        assert error["code"] == "not_found"


class TestMetrics:
    async def test_are_those_of_rest(self, client: httpx.AsyncClient, database: Database) -> None:
        job_id, began = await running(client, database)
        await measured(database, job_id, began, 1.0, 2.0)
        rest = (await client.get(f"{JOBS}/{job_id}/metrics")).json()
        job = (await data(client, _METRICS, id=job_id))["job"]
        assert job["metrics"]["reported"] == rest["reported"] == ["cpu", "memory"]
        assert job["metrics"]["since"] == rest["since"]
        assert [point["time"] for point in job["metrics"]["nodes"]] == [
            point["time"] for point in rest["points"]
        ]
        assert job["metrics"]["nodes"][-1]["cpu"]["max"] == 2.0
        assert job["resourcesUsed"] is None
        await end(database, job_id)
        assert (await data(client, _METRICS, id=job_id))["job"]["resourcesUsed"] is None

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [("first: 0", "first"), ("first: 1001", "first"), ('since: "soon"', "since")],
    )
    async def test_what_is_not_understood(
        self, client: httpx.AsyncClient, arguments: str, named: str
    ) -> None:
        job_id = await submit(client)
        query = f'{{ job(id: "{job_id}") {{ metrics({arguments}) {{ note }} }} }}'
        assert f"`{named}`" in (await refusal(client, query))["message"]

    async def test_points_count_as_what_may_be_given(self, client: httpx.AsyncClient) -> None:
        query = "{ jobs(first: 500) { nodes { metrics(first: 1000) { nodes { time } } } } }"
        assert (await refusal(client, query))["code"] == "query_too_complex"
