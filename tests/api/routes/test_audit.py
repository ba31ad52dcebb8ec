"""The audit log through the API: what is in it, who may read it, in which forms."""

import csv
import io
import json

import httpx
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.schemas.audit import AuditPage, AuditVerification
from tests.api.groups import GROUPS
from tests.api.groups import submit as submit_group
from tests.api.support import JOBS, check_problem, spec, submit
from tests.api.test_access import being, settings
from tests.support import eventually

__all__ = ["settings"]
AUDIT = "/api/v1/audit"


async def entries(client: httpx.AsyncClient, **wanted: str) -> AuditPage:
    answer = await client.get(AUDIT, params=wanted)
    assert answer.status_code == 200, answer.text
    return AuditPage.model_validate_json(answer.content)


async def test_a_change_is_told_with_who_where_and_which_request(
    client: httpx.AsyncClient,
) -> None:
    job_id = await submit(client)
    answer = await client.post(
        f"{JOBS}/{job_id}/cancel", json={"reason": "why not"}, headers={"x-request-id": "r-4711"}
    )
    assert answer.status_code == 202
    (entry,) = (await entries(client, action="job.cancel")).items
    assert (entry.actor, entry.subject, entry.outcome) == ("local", job_id, "done")
    assert (entry.source, entry.request_id) == ("127.0.0.1", "r-4711")
    assert entry.data == {"name": "hello", "project": "local", "reason": "why not"}
    assert (await entries(client, request="r-4711")).items == (entry,)


class TestSubmissions:
    async def test_a_job(self, client: httpx.AsyncClient) -> None:
        """Who, from where, in which request, and what: with its name and project alone."""
        headers = {"x-request-id": "r-1", "idempotency-key": "once"}
        body = spec(secret_env={"TOKEN": "hush"}, env={"A": "loud"})
        for _ in range(2):
            answer = await client.post(JOBS, json=body, headers=headers)
            assert answer.status_code == 202, answer.text
        (entry,) = (await entries(client, action="job.submit")).items
        assert (entry.actor, entry.source, entry.request_id) == ("local", "127.0.0.1", "r-1")
        assert entry.subject == answer.json()["id"]
        assert entry.data == {"name": "hello", "project": "local"}

    async def test_each_of_a_batch(self, client: httpx.AsyncClient) -> None:
        jobs = [spec(name=f"j{number}") for number in range(30)]
        answer = await client.post(f"{JOBS}/batch", json={"jobs": jobs})
        made = (await entries(client, action="job.submit")).items
        ids = [job["id"] for job in answer.json()["jobs"]]
        assert [entry.subject for entry in reversed(made)] == ids
        assert [entry.data["name"] for entry in reversed(made)] == [job["name"] for job in jobs]

    async def test_a_group_with_its_end(self, client: httpx.AsyncClient) -> None:
        """One entry: its jobs are those of the group."""
        made = await submit_group(client)
        await client.post(f"{GROUPS}/{made.id}/cancel", json={"reason": "r"})
        cancelled, submitted = (await entries(client, subject=made.id)).items
        about = {"name": made.name, "project": "local"}
        assert (submitted.action, submitted.actor) == ("group.submit", "local")
        assert submitted.data == {**about, "members": 3}
        assert (cancelled.action, cancelled.data) == ("group.cancel", {**about, "reason": "r"})
        assert (await entries(client, action="job.submit")).items == ()

    async def test_from_a_template(self, client: httpx.AsyncClient) -> None:
        body = {"name": "t", "job": {"name": "made", "command": ["x"]}}
        template = (await client.post("/api/v1/templates", json=body)).json()["id"]
        answer = await client.post(f"/api/v1/templates/{template}/submit", json={})
        assert answer.status_code == 202, answer.text
        (entry,) = (await entries(client, action="job.submit")).items
        assert (entry.data["name"], entry.data["template"]["id"]) == ("made", template)

    async def test_what_is_refused_is_none(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(JOBS, json=spec(duration="9000h"))
        assert answer.status_code == 422
        assert (await entries(client)).items == ()


async def test_what_was_submitted_is_sealed_within_seconds(
    client: httpx.AsyncClient, database: Database
) -> None:
    await submit(client)

    async def sealed() -> bool:
        async with database.reading() as tx:
            return (await tx.audit.head()).seq == 1

    await eventually(sealed)


async def test_a_budget_as_it_was_and_as_it_is(client: httpx.AsyncClient) -> None:
    body = {"name": "lab", "amount": "10 USD"}
    budget = (await client.post("/api/v1/budgets", json=body)).json()["id"]
    await client.patch(f"/api/v1/budgets/{budget}", json={"amount": "20 USD"})
    await client.delete(f"/api/v1/budgets/{budget}")
    removed, changed, made = (await entries(client, subject=budget)).items
    assert (made.data["before"], made.data["after"]["amount"]) == ({}, "10 USD")
    assert changed.data["before"] == {"amount": "10 USD"}
    assert changed.data["after"] == {"amount": "20 USD"}
    assert (removed.data["before"]["amount"], removed.data["after"]) == ("20 USD", {})


async def test_a_denied_attempt_is_told_too(client: httpx.AsyncClient) -> None:
    check_problem(await client.get(AUDIT, headers=being("operator")), 403, "forbidden")
    wrong = {"authorization": "Bearer no-key-of-anybody"}
    check_problem(await client.get(f"{JOBS}?limit=1", headers=wrong), 401, "not_authenticated")

    async def told() -> bool:
        return len((await entries(client, outcome="denied")).items) == 2

    await eventually(told)
    unknown, refused = (await entries(client, outcome="denied")).items
    assert (refused.actor, refused.action) == ("operator", "audit.read")
    assert refused.subject == f"GET {AUDIT}"
    assert (unknown.actor, unknown.action, unknown.subject) == ("", "authenticate", f"GET {JOBS}")
    assert "no-key-of-anybody" not in unknown.model_dump_json()
    assert unknown.source == "127.0.0.1"


async def test_pages_and_exports(client: httpx.AsyncClient, database: Database) -> None:
    fill = """INSERT INTO audit_log (actor, action, subject, data)
        SELECT '=cmd()', 'job.cancel', 'job-' || n, '{"reason": "a,b"}'
        FROM generate_series(1, 2500) AS n"""
    async with database.statement() as tx:
        await tx.connection.execute(text(fill))
    page = await entries(client, limit="1000")
    seen = list(page.items)
    while page.next_cursor is not None:
        page = await entries(client, limit="1000", cursor=page.next_cursor)
        seen += page.items
    assert [entry.subject for entry in seen] == [f"job-{n}" for n in range(2500, 0, -1)]

    answer = await client.get(AUDIT, params={"format": "jsonl", "subject": "job-7"})
    assert answer.headers["content-type"] == "application/jsonl"
    assert [json.loads(line)["data"] for line in answer.text.splitlines()] == [{"reason": "a,b"}]
    sheet = list(csv.reader(io.StringIO((await client.get(f"{AUDIT}?format=csv")).text)))
    assert len(sheet) == 2501
    assert sheet[1][2] == "'=cmd()"
    assert sheet[1][-1] == '{"reason": "a,b"}'


async def test_verification(client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    await client.post(f"{JOBS}/{job_id}/cancel")
    answer = await client.get(f"{AUDIT}/verification")
    verification = AuditVerification.model_validate_json(answer.content)
    assert verification.ok
    assert verification.head is not None
    again = await client.get(f"{AUDIT}/verification", params={"known": verification.head})
    assert again.json()["ok"] is True
    other = verification.head[:-1] + ("0" if verification.head[-1] != "0" else "1")
    again = await client.get(f"{AUDIT}/verification", params={"known": other})
    assert [problem["message"] for problem in again.json()["problems"]] == [
        "the seal is another than was known of it"
    ]
    problem = check_problem(
        await client.get(f"{AUDIT}/verification", params={"known": "1:xyz"}), 422, "invalid_request"
    )
    assert problem.errors[0].field == "known"


async def test_bad_input_names_the_field(client: httpx.AsyncClient) -> None:
    for name, value in (
        ("outcome", "maybe"),
        ("since", "yesterday"),
        ("limit", "0"),
        ("cursor", "x"),
        ("format", "xml"),
    ):
        answer = await client.get(AUDIT, params={name: value})
        problem = check_problem(answer, 422, "invalid_request")
        assert problem.errors[0].field == name
