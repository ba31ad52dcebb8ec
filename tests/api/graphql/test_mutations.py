"""Mutations: they do what REST does, with its errors, its idempotency and its audit entries."""

import httpx
import pytest

from cortex.db.engine import Database
from tests.api.graphql.support import ask, data, refusal
from tests.api.groups import GROUPS, group
from tests.api.support import JOBS, spec, submit
from tests.api.test_access import audited

SUBMIT = """mutation ($spec: JSON!, $key: String, $project: String) {
    submitJob(spec: $spec, idempotencyKey: $key, project: $project) {
        id replayed job { id state spec } } }"""
GROUP = """mutation ($spec: JSON!, $key: String) {
    submitGroup(spec: $spec, idempotencyKey: $key) { id replayed group { id total state } } }"""


class TestSubmitting:
    async def test_a_job(self, client: httpx.AsyncClient) -> None:
        made = (await data(client, SUBMIT, spec=spec(resources={"cpu": 0.5})))["submitJob"]
        view = (await client.get(f"{JOBS}/{made['id']}")).json()
        assert made["job"]["spec"] == view["spec"]
        assert view["spec"]["resources"]["cpu"] == "0.5"
        assert (made["replayed"], made["job"]["state"]) == (False, "PENDING")

    async def test_as_yaml_and_as_a_literal(self, client: httpx.AsyncClient) -> None:
        text = "name: yes\ncommand: [echo, hello]\nresources: {memory: 1GiB}\n"
        made = (await data(client, SUBMIT, spec=text))["submitJob"]
        assert made["job"]["spec"]["name"] == "yes"
        literal = """mutation {
            submitJob(spec: {name: "x", command: ["true"], retries: {on_lost: 2}}) {
                job { name spec } } }"""
        job = (await data(client, literal))["submitJob"]["job"]
        assert (job["name"], job["spec"]["retries"]["on_lost"]) == ("x", 2)

    async def test_with_a_key_it_is_done_once(self, client: httpx.AsyncClient) -> None:
        first = (await data(client, SUBMIT, spec=spec(), key="k"))["submitJob"]
        again = (await data(client, SUBMIT, spec=spec(), key="k"))["submitJob"]
        assert again == {**first, "replayed": True}
        rest = await client.post(JOBS, json=spec(), headers={"idempotency-key": "k"})
        assert rest.json()["id"] == first["id"]
        error = await refusal(client, SUBMIT, spec=spec(name="other"), key="k")
        assert (error["code"], error["status"]) == ("idempotency_key_reused", 409)

    @pytest.mark.parametrize(
        ("wrong", "code", "field"),
        [
            (spec(resources={"cpu": "many"}), "invalid_request", "resources.cpu"),
            (spec(colour="red"), "invalid_request", "colour"),
            ("name: [", "malformed_body", None),
            ([1], "malformed_body", None),
            (7, "malformed_body", None),
            (spec(resources={"memory": "900GiB"}), "no_provider", "local"),
        ],
    )
    async def test_the_errors_are_those_of_rest(
        self, client: httpx.AsyncClient, wrong: object, code: str, field: str | None
    ) -> None:
        error = await refusal(client, SUBMIT, spec=wrong)
        assert error["code"] == code
        if isinstance(wrong, dict):
            rest = (await client.post(JOBS, json=wrong)).json()
            assert error["message"] == rest["detail"]
            assert error["errors"] == rest["errors"]
            assert field in [each["field"] for each in error["errors"]]

    async def test_numbers_beyond_all_bounds(self, client: httpx.AsyncClient) -> None:
        for number in ("1e999", "9" * 400, "-9223372036854775809"):
            literal = f'mutation {{ submitJob(spec: {{name: "x", retries: {number}}}) {{ id }} }}'
            error = await refusal(client, literal)
            assert error["code"] in ("invalid_request", "malformed_body"), number

    async def test_a_project_that_is_not_there(self, client: httpx.AsyncClient) -> None:
        error = await refusal(client, SUBMIT, spec=spec(), project="nothing")
        assert (error["code"], error["message"]) == (
            "not_found",
            "there is no project `nothing`",
        )

    async def test_a_group(self, client: httpx.AsyncClient) -> None:
        first = (await data(client, GROUP, spec=group(), key="k"))["submitGroup"]
        assert first["group"]["total"] == 3
        again = (await data(client, GROUP, spec=group(), key="k"))["submitGroup"]
        assert again == {**first, "replayed": True}
        broken = group(jobs=[{"name": "a", "command": ["true"], "after": "b"}])
        error = await refusal(client, GROUP, spec=broken)
        rest = (await client.post(GROUPS, json=broken)).json()
        assert (error["code"], error["errors"]) == (rest["code"], rest["errors"])


class TestChanging:
    async def test_cancel_and_extend(self, client: httpx.AsyncClient, database: Database) -> None:
        job_id = await submit(client)
        extend = """mutation ($id: ID!, $duration: String!) {
            extendJob(id: $id, duration: $duration, idempotencyKey: "e") {
                replayed job { extension } } }"""
        for replayed in (False, True):
            found = (await data(client, extend, id=job_id, duration="2m"))["extendJob"]
            assert found == {"replayed": replayed, "job": {"extension": 120}}
        error = await refusal(client, extend, id=job_id, duration="soon")
        assert [each["field"] for each in error["errors"]] == ["duration"]
        cancel = """mutation ($id: ID!, $reason: String!) {
            cancelJob(id: $id, reason: $reason) { job { state cancelRequestedAt } } }"""
        found = (await data(client, cancel, id=job_id, reason="enough"))["cancelJob"]
        assert found["job"]["state"] == "CANCELLING"
        error = await refusal(client, cancel, id=job_id, reason="x" * 501)
        assert [each["field"] for each in error["errors"]] == ["reason"]
        assert await audited(database) == [
            ("local", "job.extend", job_id, "127.0.0.1"),
            ("local", "job.cancel", job_id, "127.0.0.1"),
        ]

    async def test_a_group_is_cancelled(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        made = (await data(client, GROUP, spec=group()))["submitGroup"]
        cancel = """mutation ($id: ID!) {
            one: cancelGroup(id: $id) { group { cancelRequestedAt } }
            two: cancelGroup(id: $id) { group { cancelRequestedAt } } }"""
        found = await data(client, cancel, id=made["id"])
        assert found["one"]["group"]["cancelRequestedAt"]
        assert found["one"] == found["two"]
        assert await audited(database) == [("local", "group.cancel", made["id"], "127.0.0.1")]

    async def test_each_sees_what_was_changed_before_it(self, client: httpx.AsyncClient) -> None:
        made = (await data(client, GROUP, spec=group()))["submitGroup"]
        job_id = (await client.get(f"{GROUPS}/{made['id']}")).json()["members"]["items"][0]["id"]
        both = """mutation ($group: ID!, $job: ID!) {
            cancelJob(id: $job) { job { group { counts } } }
            cancelGroup(id: $group) { group { cancelRequestedAt counts } } }"""
        found = await data(client, both, group=made["id"], job=job_id)
        assert found["cancelJob"]["job"]["group"]["counts"]["cancelling"] == 1
        assert found["cancelGroup"]["group"]["cancelRequestedAt"]


class TestBudgets:
    async def test_made_changed_and_removed(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        make = """mutation { createBudget(name: "all", amount: "10 USD", action: STOP) {
            id budget { name action version amount { amount currency } } } }"""
        made = (await data(client, make))["createBudget"]
        budget = (await client.get(f"/api/v1/budgets/{made['id']}")).json()
        assert made["budget"]["amount"] == budget["amount"]
        assert (budget["action"], made["budget"]["action"]) == ("stop", "STOP")
        change = """mutation ($id: ID!, $version: String) {
            updateBudget(id: $id, amount: "20 USD", ifVersion: $version) {
                budget { amount { amount } version } } }"""
        version = made["budget"]["version"]
        found = (await data(client, change, id=made["id"], version=version))["updateBudget"]
        assert found["budget"]["amount"] == {"amount": "20"}
        remove = """mutation ($id: ID!, $version: String) {
            deleteBudget(id: $id, ifVersion: $version) { id } }"""
        error = await refusal(client, remove, id=made["id"], version=version)
        assert (error["code"], error["status"]) == ("precondition_failed", 412)
        await data(client, remove, id=made["id"], version=found["budget"]["version"])
        error = await refusal(client, remove, id=made["id"])
        assert error["code"] == "not_found"
        assert [entry[1] for entry in await audited(database)] == [
            *("budget.create", "budget.update", "budget.remove")
        ]

    async def test_what_is_not_taken(self, client: httpx.AsyncClient) -> None:
        make = """mutation ($amount: String!, $scope: BudgetScope!) {
            createBudget(name: "x", amount: $amount, scope: $scope) { id } }"""
        error = await refusal(client, make, amount="-1 USD", scope="SYSTEM")
        assert (error["code"], error["errors"][0]["field"]) == ("invalid_request", "amount")
        error = await refusal(client, make, amount="1 USD", scope="USER")
        assert "must name the user" in error["message"]
        answer = await ask(client, make, amount="1 USD", scope="GALAXY")
        assert answer["errors"][0]["extensions"]["code"] == "invalid_request"
