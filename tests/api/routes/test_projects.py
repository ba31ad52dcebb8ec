"""Projects: made, joined, archived; where submissions go; keys of one project."""

from typing import Any

import httpx
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.projects import Project
from cortex.domain.rights import Role
from cortex.schemas.accounts import KeyCreated
from tests.api.groups import GROUPS, group
from tests.api.support import JOBS, check_problem, eventually, spec

PROJECTS, USERS, KEYS = "/api/v1/projects", "/api/v1/users", "/api/v1/keys"


async def made(client: httpx.AsyncClient, name: str = "vision", **values: Any) -> Project:
    answer = await client.post(PROJECTS, json={"name": name, **values})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{PROJECTS}/{name}"
    return Project.model_validate_json(answer.content)


async def joined(
    client: httpx.AsyncClient, member: str, role: Role = Role.DEVELOPER, project: str = "vision"
) -> Project:
    answer = await client.put(f"{PROJECTS}/{project}/members/{member}", json={"role": role.value})
    assert answer.status_code == 200, answer.text
    return Project.model_validate_json(answer.content)


async def someone(client: httpx.AsyncClient, name: str, **key: Any) -> dict[str, str]:
    """A user, and what they send."""
    answer = await client.post(USERS, json={"name": name, "role": "developer"})
    assert answer.status_code in (201, 409), answer.text
    answer = await client.post(KEYS, json={"name": "k", "user": name, **key})
    assert answer.status_code == 201, answer.text
    return {"authorization": f"Bearer {KeyCreated.model_validate_json(answer.content).key}"}


class TestMaking:
    async def test_one_with_members(self, client: httpx.AsyncClient, database: Database) -> None:
        await someone(client, "ann")
        await made(client, description="pictures")
        project = await joined(client, "ann", Role.OPERATOR)
        assert project.description == "pictures"
        assert [(each.name, each.role) for each in project.members] == [("ann", Role.OPERATOR)]
        project = await joined(client, "ann", Role.VIEWER)
        assert [each.role for each in project.members] == [Role.VIEWER]
        gone = await client.delete(f"{PROJECTS}/vision/members/ann")
        assert gone.status_code == 204
        check_problem(await client.delete(f"{PROJECTS}/vision/members/ann"), 404, "not_found")
        async with database.reading() as tx:
            query = text("SELECT action, data FROM audit_log WHERE subject = 'vision' ORDER BY id")
            entries = (await tx.connection.execute(query)).all()
        assert [action for action, _ in entries] == ["project.create", *["project.member"] * 3]
        assert entries[2][1]["before"] == {"role": "operator"}
        assert entries[2][1]["after"] == {"role": "viewer"}

    async def test_names_are_nobody_elses(self, client: httpx.AsyncClient) -> None:
        await someone(client, "ann")
        for name in ("ann", "local"):
            problem = check_problem(
                await client.post(PROJECTS, json={"name": name}), 409, "conflict"
            )
            assert "personal project" in problem.detail
        await made(client)
        check_problem(await client.post(PROJECTS, json={"name": "vision"}), 409, "conflict")
        answer = await client.post(USERS, json={"name": "vision", "role": "viewer"})
        assert "is the name of a project" in check_problem(answer, 409, "conflict").detail
        problem = check_problem(
            await client.post(PROJECTS, json={"name": "Not This"}), 422, "invalid_request"
        )
        assert problem.errors[0].field == "name"
        for words in ("\x1b[31mred", "red\u202e", "two\nlines"):
            answer = await client.patch(f"{PROJECTS}/vision", json={"description": words})
            problem = check_problem(answer, 422, "invalid_request")
            assert "without control characters" in problem.errors[0].message

    async def test_only_users_are_let_in(self, client: httpx.AsyncClient) -> None:
        await made(client)
        answer = await client.put(f"{PROJECTS}/vision/members/bob", json={"role": "viewer"})
        assert "no user `bob`" in check_problem(answer, 404, "not_found").detail

    async def test_its_own_admin_lets_others_in(self, client: httpx.AsyncClient) -> None:
        ann, bob = await someone(client, "ann"), await someone(client, "bob")
        await made(client)
        check_problem(await client.get(f"{PROJECTS}/vision", headers=ann), 404, "not_found")
        await joined(client, "ann", Role.ADMIN)

        async def may() -> bool:
            answer = await client.put(
                f"{PROJECTS}/vision/members/bob", json={"role": "developer"}, headers=ann
            )
            return answer.status_code == 200

        await eventually(may)

        async def sees() -> bool:
            listed = (await client.get(PROJECTS, headers=bob)).json()["items"]
            return [each["name"] for each in listed] == ["vision"]

        await eventually(sees)
        gone = await client.delete(f"{PROJECTS}/vision/members/ann", headers=ann)
        assert gone.status_code == 204
        # From the very next request on, and not by a way back.
        check_problem(await client.get(f"{PROJECTS}/vision", headers=ann), 404, "not_found")
        answer = await client.put(
            f"{PROJECTS}/vision/members/ann", json={"role": "admin"}, headers=ann
        )
        check_problem(answer, 403, "forbidden")
        answer = await client.patch(f"{PROJECTS}/vision", json={"description": "x"}, headers=bob)
        check_problem(answer, 403, "forbidden")
        check_problem(
            await client.post(PROJECTS, json={"name": "a"}, headers=ann), 403, "forbidden"
        )


class TestSubmitting:
    async def test_to_a_project_of_ones_own(self, client: httpx.AsyncClient) -> None:
        ann = await someone(client, "ann")
        await made(client)
        await joined(client, "ann")
        for path, body in ((JOBS, spec()), (GROUPS, group())):
            here = await client.post(path, json=body, headers=ann)
            assert here.json()["project"] == "ann"
            there = await client.post(path, json=body, headers=ann, params={"project": "vision"})
            assert (there.json()["project"], there.json()["owner"]) == ("vision", "ann")
            listed = await client.get(path, params={"project": "vision"}, headers=ann)
            assert [each["id"] for each in listed.json()["items"]][-1] == there.json()["id"]
            both = await client.get(path, headers=ann)
            assert {each["project"] for each in both.json()["items"]} == {"ann", "vision"}
        batch = await client.post(
            f"{JOBS}/batch", json={"jobs": [spec()]}, headers=ann, params={"project": "vision"}
        )
        job = await client.get(f"{JOBS}/{batch.json()['jobs'][0]['id']}", headers=ann)
        assert job.json()["project"] == "vision"

    async def test_where_one_may_not(self, client: httpx.AsyncClient) -> None:
        ann = await someone(client, "ann")
        await made(client)
        await made(client, "sound")
        await joined(client, "ann", Role.VIEWER, "sound")
        for project, status, code in (
            ("vision", 404, "not_found"),
            ("nothing", 404, "not_found"),
            ("local", 404, "not_found"),
            ("sound", 403, "forbidden"),
        ):
            for path, body in ((JOBS, spec()), (GROUPS, group())):
                answer = await client.post(
                    path, json=body, headers=ann, params={"project": project}
                )
                check_problem(answer, status, code)
        answer = await client.post(JOBS, json=spec(), params={"project": "nothing"})
        check_problem(answer, 404, "not_found")  # for an admin as well

    async def test_an_archived_one_takes_nothing_new(self, client: httpx.AsyncClient) -> None:
        await made(client)
        old = await client.post(JOBS, json=spec(), params={"project": "vision"})
        assert old.status_code == 202
        answer = await client.patch(f"{PROJECTS}/vision", json={"archived": True})
        assert Project.model_validate_json(answer.content).archived_at is not None
        answer = await client.post(JOBS, json=spec(), params={"project": "vision"})
        assert "archived" in check_problem(answer, 409, "conflict").detail
        assert (await client.get(f"{JOBS}/{old.json()['id']}")).status_code == 200
        await client.patch(f"{PROJECTS}/vision", json={"archived": False})
        answer = await client.post(JOBS, json=spec(), params={"project": "vision"})
        assert answer.status_code == 202

    async def test_the_same_key_in_two_projects_is_a_conflict(
        self, client: httpx.AsyncClient
    ) -> None:
        await made(client)
        key = {"idempotency-key": "once"}
        first = await client.post(JOBS, json=spec(), headers=key)
        again = await client.post(JOBS, json=spec(), headers=key, params={"project": "local"})
        assert again.json()["id"] == first.json()["id"]
        other = await client.post(JOBS, json=spec(), headers=key, params={"project": "vision"})
        check_problem(other, 409, "idempotency_key_reused")

    async def test_inputs_come_from_what_one_may_see(self, client: httpx.AsyncClient) -> None:
        ann = await someone(client, "ann")
        hidden = (await client.post(JOBS, json=spec())).json()["id"]
        wanted = spec(inputs=[{"from": hidden, "path": "out"}])
        for path in (JOBS, f"{JOBS}/validate"):
            problem = check_problem(
                await client.post(path, json=wanted, headers=ann), 422, "invalid_request"
            )
            assert problem.errors[0].message == f"there is no job `{hidden}`"
        problem = check_problem(
            await client.post(f"{JOBS}/batch", json={"jobs": [wanted]}, headers=ann),
            422,
            "invalid_request",
        )
        assert problem.errors[0].message == f"there is no job `{hidden}`"


class TestKeysOfOneProject:
    async def test_it_opens_nothing_else(self, client: httpx.AsyncClient) -> None:
        ann = await someone(client, "ann")
        await made(client)
        answer = await client.post(KEYS, json={"name": "k", "project": "vision"}, headers=ann)
        problem = check_problem(answer, 422, "invalid_request")
        assert problem.errors[0].message == "`ann` is not in the project `vision`"
        await joined(client, "ann")
        bound = await someone(client, "ann", project="vision")
        home = (await client.post(JOBS, json=spec(), headers=ann)).json()["id"]
        job = (await client.post(JOBS, json=spec(), headers=bound)).json()
        assert job["project"] == "vision"
        listed = (await client.get(JOBS, headers=bound)).json()["items"]
        assert [each["id"] for each in listed] == [job["id"]]
        check_problem(await client.get(f"{JOBS}/{home}", headers=bound), 404, "not_found")
        answer = await client.post(JOBS, json=spec(), headers=bound, params={"project": "ann"})
        check_problem(answer, 404, "not_found")
        check_problem(await client.get(KEYS, headers=bound), 403, "forbidden")


class TestMoney:
    async def test_a_budget_of_a_project(self, client: httpx.AsyncClient) -> None:
        ann, bob = await someone(client, "ann"), await someone(client, "bob")
        await made(client)
        await joined(client, "ann")
        body = {
            "name": "little",
            "scope": "project",
            "scope_value": "vision",
            "amount": "0.000001 USD",
            "action": "stop",
        }
        answer = await client.post("/api/v1/budgets", json=body)
        assert answer.status_code == 201, answer.text
        budget = answer.json()["id"]
        answer = await client.post(JOBS, json=spec(), headers=ann, params={"project": "vision"})
        problem = check_problem(answer, 402, "over_budget")
        assert "for jobs in project vision" in problem.detail
        answer = await client.post(GROUPS, json=group(), headers=ann, params={"project": "vision"})
        check_problem(answer, 402, "over_budget")
        assert (await client.post(JOBS, json=spec(), headers=ann)).status_code == 202
        assert [
            each["id"] for each in (await client.get("/api/v1/budgets", headers=ann)).json()
        ] == [budget]
        assert (await client.get("/api/v1/budgets", headers=bob)).json() == []
        there = f"/api/v1/budgets/{budget}"
        assert (await client.get(there, headers=ann)).status_code == 200
        check_problem(await client.get(there, headers=bob), 404, "not_found")
        answer = await client.post("/api/v1/budgets", json={**body, "scope_value": "a,b"})
        check_problem(answer, 422, "invalid_request")
