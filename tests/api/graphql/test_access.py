"""Every field with every role over own, shared and foreign things, as the policy says."""

import httpx
import pytest
import strawberry
from graphql import (
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_required_argument,
)

from api.graphql.access import Needs, Unguarded, check_schema, guarded, needed, plain, roots, shown
from api.graphql.context import Asked
from api.graphql.schema import CORE
from cortex.db.engine import Database
from cortex.domain.rights import IN_PROJECTS, POLICY, Action, Role
from tests.api import test_access_projects as rest
from tests.api.graphql.support import GRAPHQL, Answer, ask, data, refusal
from tests.api.routes.test_audit import entries
from tests.api.routes.test_projects import someone
from tests.api.support import JOBS, eventually, spec, submit
from tests.api.test_access import being
from tests.api.test_access_projects import MEMBERS, SERVER, Case, Thing, thing
from tests.domain.test_rights import MAY

settings = rest.settings
client = rest.client

_VALUES = {
    "id": '"nothing"',
    "spec": "{}",
    "duration": '"never"',
    "name": '""',
    "amount": '"nothing"',
    "schedule": '"nothing"',
}
"""What gets no further than the check of who may: nothing is changed by it."""
_NARROWED = (
    *("jobs", "groups", "events", "ledger", "costs"),
    *("templates", "schedules", "webhooks"),
)
"""Fields about many that take a `project`."""


def fields() -> list[tuple[str, str, GraphQLField, Needs]]:
    """Those that an operation over HTTP begins with."""
    found = []
    for operation, name, field in roots(CORE):
        need = needed(field)
        assert need is not None, name
        if operation != "subscription":
            found.append((operation, name, field, need))
    assert len(found) > 15
    return found


def operation_of(operation: str, name: str, field: GraphQLField, **given: str) -> str:
    """An operation of one field, with all that it requires."""
    values = {
        key: _VALUES[key] for key, each in field.args.items() if is_required_argument(each)
    } | {key: f'"{value}"' for key, value in given.items()}
    arguments = ", ".join(f"{key}: {value}" for key, value in values.items())
    return f"{operation} {{ {name}{f'({arguments})' if arguments else ''} {{ __typename }} }}"


async def codes(client: httpx.AsyncClient, query: str, who: str) -> tuple[list[str], Answer]:
    answer = await ask(client, query, being(who))
    return [each["extensions"]["code"] for each in answer.get("errors", ())], answer


class TestMatrix:
    async def test_each_with_each_role(self, client: httpx.AsyncClient) -> None:
        for operation, name, field, need in fields():
            for role in Role:
                found, answer = await codes(
                    client, operation_of(operation, name, field), role.value
                )
                if role in MAY[need.action]:
                    assert not {"forbidden", "not_authenticated"} & set(found), (name, role)
                else:
                    assert found == ["forbidden"], (name, role)
                    assert f"`{need.action}`" in answer["errors"][0]["message"]
                    assert answer["data"] == {name: None}
                assert "internal_error" not in found, (name, role)

    async def test_each_field_role_and_owner(
        self, client: httpx.AsyncClient, database: Database, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cases = await self._cases(client, database)
        walked = 0
        for operation, name, field, need in fields():
            for subject in need.subjects:
                for case in cases:
                    await self._walk(client, operation, name, field, need, subject, case)
                    walked += 1
        with capsys.disabled():
            print(f"\n{walked} cases of GraphQL field, role and owner as the policy says")  # noqa: T201
        assert walked > 100

    async def _cases(self, client: httpx.AsyncClient, database: Database) -> list[Case]:
        foreign = await thing(client, database, "dora", "other")
        shared = await thing(client, database, "dora", "team")
        cases: list[Case] = []
        for who, role in SERVER.items():
            own = await thing(client, database, who, who)
            cases += [Case(who, role, role, own), Case(who, role, None, foreign)]
            cases.append(Case(who, role, None, shared))
        for who, role in MEMBERS.items():
            own = await thing(client, database, who, "team")
            cases += [Case(who, Role.DEVELOPER, role, each) for each in (own, shared)]
            cases.append(Case(who, Role.DEVELOPER, None, foreign))
        return cases

    async def _walk(
        self,
        client: httpx.AsyncClient,
        operation: str,
        name: str,
        field: GraphQLField,
        need: Needs,
        argument: str,
        case: Case,
    ) -> None:
        expected = case.reach(need.action)
        if expected == "yes" and name.startswith(("cancel", "submit")):
            return
        kind, subject = _subject(name, argument, case.thing)
        query = operation_of(operation, name, field, **{argument: subject})
        found, answer = await codes(client, query, case.who)
        where = (name, argument, case, answer)
        missing = f"there is no {kind} `{subject}`"
        if expected == "hidden":
            # Also where the role never may: that is said of what one may know of.
            never = not any(
                POLICY[role].get(need.action) for role in rest._roles(case, need.action)
            )
            assert found == (["forbidden"] if never else ["not_found"]), where
            assert never or answer["errors"][0]["message"] == missing, where
            assert answer["data"] == {name: None}, where
        elif expected == "no":
            assert found == ["forbidden"], where
            assert subject not in str(answer), where
        else:
            assert not {"forbidden", "not_authenticated", "internal_error"} & set(found), where
            assert missing not in str(answer), where

    def test_a_field_about_many_is_narrowed(self) -> None:
        """By an argument, or by the projects that one may see: `TestLeaks` asks all of these."""
        many = {
            name
            for _, name, _, need in fields()
            if need.action in IN_PROJECTS and not need.subjects
        }
        lists = {"jobs", "groups", "ledger", "costs", "budgets", "budget"}
        shared = {"templates", "schedules", "projects", "project", "filters", "webhooks"}
        assert many == lists | shared | {"submitJob", "submitGroup"}


class TestLeaks:
    async def test_lists_and_sums(self, client: httpx.AsyncClient, database: Database) -> None:
        hidden = await thing(client, database, "dora", "other")
        mine = await thing(client, database, "in-viewer", "team")
        await rest._billed(database, hidden.job, 7)
        await rest._billed(database, mine.job, 2)
        ann = being("in-viewer")
        everything = """{
            jobs(first: 100) { nodes { id project owner charges { id }
                leases { key } events { nodes { subject } } } }
            byOwner: jobs(owner: "dora") { nodes { id } }
            groups { nodes { id owner members { nodes { id job { id } } } } }
            events(first: 500) { nodes { subject data } }
            ledger { nodes { jobId } }
            costs(groupBy: "job") { totalUsd rows { keys } }
            projects: costs(groupBy: "project,owner") { rows { keys } }
            budgets { name }
            templates { nodes { id project owner } }
            schedules { nodes { id project owner } }
            known: projects { name members { name } }
            filters { name owner }
            webhooks { id project owner }
        }"""
        found = await data(client, everything, ann)
        things = (hidden.job, hidden.group, hidden.template, hidden.schedule, hidden.webhook)
        for secret in (*things, "'other'"):
            assert secret not in str(found)
        assert found["costs"]["totalUsd"] == "2"
        assert mine.job in [node["id"] for node in found["jobs"]["nodes"]]
        assert [node["id"] for node in found["templates"]["nodes"]] == [mine.template]
        assert [node["id"] for node in found["schedules"]["nodes"]] == [mine.schedule]
        of_group = f'{{ jobs(group: "{hidden.group}") {{ nodes {{ id }} }} }}'
        assert (await data(client, of_group, ann))["jobs"]["nodes"] == []
        for project in ("other", "nothing"):
            for field in _NARROWED:
                query = f'{{ {field}(project: "{project}") {{ __typename }} }}'
                error = await refusal(client, query, ann)
                assert error["message"] == f"there is no project `{project}`"
        query = f'{{ ledger(job: "{hidden.job}") {{ nodes {{ id }} }} }}'
        error = await refusal(client, query, ann)
        assert error["message"] == f"there is no job `{hidden.job}`"

    async def test_a_key_for_jobs_alone_sees_no_money(self, client: httpx.AsyncClient) -> None:
        narrow = await someone(client, "ann", scopes=["jobs:read", "jobs:submit"])
        answer = await client.post(JOBS, json=spec(), headers=narrow)
        job_id = answer.json()["id"]
        query = "query ($id: ID!) { job(id: $id) { name charges { id } leases { key } } }"
        answer_ = await ask(client, query, narrow, id=job_id)
        assert answer_["data"]["job"] == {"name": "hello", "charges": None, "leases": []}
        (error,) = answer_["errors"]
        assert error["extensions"]["code"] == "forbidden"
        assert "`money:read`" in error["message"]
        assert error["path"] == ["job", "charges"]

    async def test_who_may_submit_only_sees_no_job(self, client: httpx.AsyncClient) -> None:
        narrow = await someone(client, "ann", scopes=["jobs:submit"])
        submit_it = 'mutation { submitJob(spec: {name: "x", command: ["true"]}) { id job { id } } }'
        answer = await ask(client, submit_it, narrow)
        assert answer["data"]["submitJob"]["id"].startswith("job_")
        assert answer["data"]["submitJob"]["job"] is None
        assert answer["errors"][0]["path"] == ["submitJob", "job"]


class TestDenied:
    async def test_stands_in_the_audit_log(self, client: httpx.AsyncClient) -> None:
        job_id = await submit(client)
        query = f'mutation {{ cancelJob(id: "{job_id}") {{ id }} }}'
        await ask(client, query, being("viewer"))

        async def noted() -> bool:
            denied = (await entries(client, outcome="denied")).items
            return ("viewer", "jobs.cancel", "GRAPHQL cancelJob") in [
                (each.actor, each.action, each.subject) for each in denied
            ]

        await eventually(noted)

    async def test_without_a_key(self, client: httpx.AsyncClient) -> None:
        for key in ("", "Bearer wrong"):
            answer = await client.post(
                GRAPHQL, json={"query": "{ __typename }"}, headers={"authorization": key}
            )
            assert answer.status_code == 401
            assert answer.json()["code"] == "not_authenticated"


class TestCheckSchema:
    """The server does not start with a field that stands under no action, or under two."""

    def test_a_field_without_an_action(self) -> None:
        @strawberry.type
        class Query:
            @strawberry.field
            def anything(self) -> str:
                return "x"

        with pytest.raises(Unguarded, match=r"`query\.anything` names no action"):
            check_schema(strawberry.Schema(query=Query)._schema)

    def test_a_type_without_an_action(self) -> None:
        @strawberry.type
        class Stray:
            name: str

        with pytest.raises(Unguarded, match="type `Stray` names no action"):
            check_schema(_one(Stray))

    def test_a_type_by_a_field_of_another_action(self) -> None:
        @shown(Action.MONEY_READ)
        @strawberry.type
        class Bill:
            amount: str

        @plain
        @strawberry.type
        class Page:
            bill: Bill

        with pytest.raises(Unguarded, match=r"`Page\.bill` needs `jobs\.read`.*`money\.read`"):
            check_schema(_one(Page))

    def test_ours(self) -> None:
        check_schema(CORE)
        seen = [
            f"{kind.name}.{name}"
            for kind in CORE.type_map.values()
            if isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__")
            for name, field in kind.fields.items()
            if isinstance(get_named_type(field.type), GraphQLObjectType)
        ]
        assert len(seen) > 40


def _one(kind: type) -> GraphQLSchema:
    @strawberry.type
    class Query:
        @guarded(Action.JOBS_READ, kind, "It.")
        async def it(self, info: Asked) -> object:
            return {}

    return strawberry.Schema(query=Query)._schema


def _subject(name: str, argument: str, of: Thing) -> tuple[str, str]:
    about = (name if argument == "id" else argument).lower()
    kind = next(
        (each for each in ("group", "template", "schedule", "webhook") if each in about), "job"
    )
    return kind, str(getattr(of, kind))
