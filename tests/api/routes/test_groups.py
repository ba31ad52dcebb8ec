"""Groups: what is accepted and stored, what is refused, what a cancel does."""

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.schemas.groups import GroupValidation, GroupView
from cortex.schemas.jobs import JobPage, JobView
from tests.api.groups import GROUPS, group, job, rows, submit
from tests.api.support import JOBS, check_problem
from tests.support import soon
from tests.support.budgets import add_budget, state_of


async def nothing_stored(database: Database) -> bool:
    tables = ("jobs", "job_groups", "job_gangs", "job_needs", "events", "commands")
    counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
    return set((await rows(database, f"SELECT {counts}"))[0]) == {0}


class TestAccepting:
    async def test_it_is_stored_whole(self, client: httpx.AsyncClient, database: Database) -> None:
        view = await submit(client, group(labels={"team": "x"}))
        assert (view.state, view.total, view.waiting) == ("pending", 3, 3)
        assert view.counts == {"pending": 3}
        assert [gang.members for gang in view.gangs] == [1, 2]
        assert [member.member for member in view.members.items] == ["prep", "train[0]", "train[1]"]
        assert view.members.items[2].needs == ("prep",)
        assert view.temporal_url == (f"http://ui.test/namespaces/cortex/workflows/{view.id}")
        stored = await rows(
            database, "SELECT held, state, group_id, member, gang FROM jobs ORDER BY id"
        )
        assert stored == [
            (True, "pending", view.id, "prep", 0),
            (True, "pending", view.id, "train[0]", 1),
            (True, "pending", view.id, "train[1]", 1),
        ]
        commands = await rows(database, "SELECT kind, job_id, group_id FROM commands")
        assert commands == [("start_group", None, view.id)]
        events = await rows(database, "SELECT type, subject, data FROM events ORDER BY seq")
        assert [event.type for event in events] == ["group.submitted"] + ["job.submitted"] * 3
        assert {event.data["group_id"] for event in events} == {view.id}
        assert events[3].data["member"] == "train[1]"

    async def test_a_member_is_a_job(self, client: httpx.AsyncClient) -> None:
        trio = await submit(client)
        page = JobPage.model_validate_json(
            (await client.get(JOBS, params={"group": trio.id})).content
        )
        assert {job.member for job in page.items} == {"prep", "train[0]", "train[1]"}
        member = trio.members.items[1]
        view = JobView.model_validate_json((await client.get(f"{JOBS}/{member.id}")).content)
        assert (view.group_id, view.member, view.name) == (trio.id, "train[0]", "train-0")
        assert view.spec.env["CORTEX_GROUP_ID"] == trio.id
        assert view.spec.env["CORTEX_COUNT"] == "2"

    async def test_inputs_come_from_job_ids(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await database_takes_files(database)
        spec = group()
        spec["jobs"][1]["inputs"] = [{"from": "prep", "path": "data", "to": "in"}]
        trio = await submit(client, spec)
        prep, train = trio.members.items[:2]
        view = JobView.model_validate_json((await client.get(f"{JOBS}/{train.id}")).content)
        assert [(source.source, source.to) for source in view.spec.inputs] == [(prep.id, "in")]

    async def test_yaml(self, client: httpx.AsyncClient) -> None:
        body = "jobs:\n- name: a\n  command: [echo, '{index}']\n  count: 2\n"
        answer = await client.post(
            GROUPS, content=body, headers={"content-type": "application/yaml"}
        )
        assert answer.status_code == 202
        assert GroupView.model_validate_json(answer.content).total == 2

    async def test_secrets_are_stored_encrypted_only(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        spec = group(defaults={"secret_env": {"A": "hush-1"}})
        spec["jobs"][0]["secret_env"] = {"B": "hush-2"}
        answer = await client.post(GROUPS, json=spec)
        assert "hush" not in answer.text
        dump = await rows(
            database,
            "SELECT (SELECT json_agg(g)::text FROM job_groups g),"
            " (SELECT json_agg(j)::text FROM jobs j), (SELECT json_agg(e)::text FROM events e)",
        )
        assert "hush" not in str(dump)
        assert GroupView.model_validate_json(answer.content).spec["jobs"][0]["secret_env"] == {
            "B": "**********"
        }
        sealed = await rows(database, "SELECT secrets FROM jobs WHERE secrets IS NOT NULL")
        assert len(sealed) == 3

    async def test_a_thousand_members(self, client: httpx.AsyncClient, database: Database) -> None:
        spec = {
            "policy": "best_effort",
            "jobs": [job("a", count=999, secret_env={"S": "x"}), job("z", after="a")],
        }
        with soon(5):
            view = await submit(client, spec)
        assert (view.total, len(view.members.items)) == (1000, 100)
        assert await rows(database, "SELECT count(*) FROM job_needs") == [(999,)]

    async def test_the_same_key_is_the_same_group(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        headers = {"Idempotency-Key": "k1"}
        answers = await asyncio.gather(
            *(client.post(GROUPS, json=group(), headers=headers) for _ in range(4))
        )
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert sum("idempotency-replayed" in answer.headers for answer in answers) == 3
        assert await rows(database, "SELECT count(*) FROM jobs") == [(3,)]
        other = await client.post(GROUPS, json=group(name="h"), headers=headers)
        check_problem(other, 409, "idempotency_key_reused")
        secret = group(defaults={"secret_env": {"A": "1"}})
        headers = {"Idempotency-Key": "k2"}
        await client.post(GROUPS, json=secret, headers=headers)
        secret["defaults"]["secret_env"]["A"] = "2"
        changed = await client.post(GROUPS, json=secret, headers=headers)
        check_problem(changed, 409, "idempotency_key_reused")


async def database_takes_files(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.connection.execute(
            text("UPDATE providers SET capabilities = capabilities || '{\"inputs\": true}'")
        )


class TestRefusing:
    async def test_a_budget_that_has_not_enough_for_all(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        # One core at the cheapest provider costs 0.02 an hour; the dear one runs images only.
        spec = group(defaults={"duration": "1h", "resources": {"cpu": 1}})
        budget = await add_budget(database, "0.1 USD")
        await submit(client, spec)
        assert (await state_of(database, budget)).spending.total == Decimal("0.06")
        problem = check_problem(await client.post(GROUPS, json=spec), 402, "over_budget")
        assert "the 3 jobs are not accepted" in problem.detail
        assert await rows(database, "SELECT count(*) FROM job_groups") == [(1,)]
        reserves = await rows(database, "SELECT usd FROM job_reserves")
        assert reserves == [(Decimal("0.02"),)] * 3

    async def test_a_member_that_nobody_can_run(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        spec = group()
        spec["jobs"].append(job("big-{n}", matrix={"n": [1, 2]}, resources={"memory": "64Gi"}))
        for path in (GROUPS, f"{GROUPS}/validate"):
            problem = check_problem(await client.post(path, json=spec), 422, "no_provider")
            assert problem.detail.startswith("member `big[n=1]`: no provider can run this job")
            assert {error.field for error in problem.errors} == {"jobs[2]"}
            assert "`big[n=1]` at local: `resources.memory`: it has 8Gi" in str(problem.errors)
        assert await nothing_stored(database)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"jobs": []}, "jobs"),
            ({"colour": 1}, "colour"),
            ({"concurrency": 2}, "concurrency"),
            ({"jobs": [job("a", after="x")]}, "jobs[0].after"),
            ({"jobs": [job("a", duration="60d")]}, "jobs[0].duration"),
            (
                {"jobs": [job("a", placement={"providers": ["mars"]})]},
                "jobs[0].placement.providers",
            ),
            ({"jobs": [job("a", command=["{x}"])]}, "jobs[0].command"),
            ({"jobs": [job("a", inputs=[{"from": "b"}]), job("b")]}, "jobs[0].inputs[0].from"),
        ],
    )
    async def test_a_bad_field_is_named(
        self, client: httpx.AsyncClient, database: Database, change: dict[str, Any], field: str
    ) -> None:
        for path in (GROUPS, f"{GROUPS}/validate"):
            answer = await client.post(path, json=group(**change))
            problem = check_problem(answer, 422, "invalid_request")
            assert [error.field for error in problem.errors] == [field]
        assert await nothing_stored(database)

    async def test_a_cycle(self, client: httpx.AsyncClient) -> None:
        spec = group(jobs=[job("a", after="b"), job("b", after="a")])
        problem = check_problem(await client.post(GROUPS, json=spec), 422, "invalid_request")
        assert "a -> b -> a" in problem.detail

    async def test_unknown_groups(self, client: httpx.AsyncClient) -> None:
        for group_id in ("grp_01k2x000000000000000000000", "x"):
            for path in ("", "/events"):
                check_problem(await client.get(f"{GROUPS}/{group_id}{path}"), 404, "not_found")


class TestValidate:
    async def test_it_shows_what_jobs_become(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        spec = group(defaults={"duration": "1h", "resources": {"cpu": 1}})
        answer = await client.post(f"{GROUPS}/validate", json=spec)
        validation = GroupValidation.model_validate_json(answer.content)
        assert (validation.total, validation.gangs, validation.policy) == (3, 2, "all_or_nothing")
        assert [(member.member, member.gang, member.needs) for member in validation.members] == [
            ("prep", 0, ()),
            ("train[0]", 1, ("prep",)),
            ("train[1]", 1, ("prep",)),
        ]
        assert validation.members[0].cheapest is not None
        assert [str(amount) for amount in validation.most] == ["0.06 USD"]
        assert await nothing_stored(database)


class TestCancel:
    async def test_it_is_written_down_once(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        made = await submit(client)
        for _ in range(2):
            answer = await client.post(f"{GROUPS}/{made.id}/cancel", json={"reason": "enough"})
            assert answer.status_code == 202, answer.text
            view = GroupView.model_validate_json(answer.content)
            assert view.cancel_requested_at is not None
        events = await rows(
            database, "SELECT data FROM events WHERE type = 'group.cancel.requested'"
        )
        assert [event.data["reason"] for event in events] == ["enough"]
        audit = await rows(database, "SELECT actor, action FROM audit_log ORDER BY id")
        assert audit == [("local", "group.submit"), ("local", "group.cancel")]
        kinds = await rows(database, "SELECT kind FROM commands ORDER BY id")
        assert kinds[0] == ("start_group",)
        assert ("nudge",) in kinds

    async def test_too_late(self, client: httpx.AsyncClient, database: Database) -> None:
        view = await submit(client)
        await rows(database, "UPDATE job_groups SET state = 'completed' RETURNING 1")
        answer = await client.post(f"{GROUPS}/{view.id}/cancel")
        check_problem(answer, 409, "group_already_ended")

    async def test_unknown(self, client: httpx.AsyncClient) -> None:
        for group_id in ("grp_01k2x000000000000000000000", "x"):
            check_problem(await client.post(f"{GROUPS}/{group_id}/cancel"), 404, "not_found")


class TestCancelOfAMember:
    async def test_one_that_was_never_started_is_left_to_its_group(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        view = await submit(client)
        member = view.members.items[0]
        for _ in range(2):
            answer = await client.post(f"{JOBS}/{member.id}/cancel")
            assert answer.status_code == 202, answer.text
            assert JobView.model_validate_json(answer.content).state == "cancelling"
        commands = await rows(database, "SELECT kind, job_id, group_id FROM commands ORDER BY id")
        assert commands == [("start_group", None, view.id), ("nudge", None, view.id)]
