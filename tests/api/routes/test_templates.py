"""Templates through the API: versions, parameters, overrides, what is recorded."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.templates import Template
from cortex.schemas.jobs import JobView
from cortex.schemas.templates import TemplatePreview
from tests.api.routes.test_projects import joined, made, someone
from tests.api.support import JOBS, check_problem, submit

TEMPLATES = "/api/v1/templates"
JOB: dict[str, Any] = {
    "name": "greet",
    "command": ["echo", "hello ${{ who }}", "$${{ who }}"],
    "env": {"LOUD": "${{ loud }}", "TIMES": "${{ times }}"},
    "resources": {"cpu": "${{ cpu }}", "pids": "${{ times }}"},
    "labels": {"team": "${{ team }}"},
}
PARAMETERS: dict[str, Any] = {
    "who": {"type": "string", "pattern": "[a-z]+", "description": "Whom to greet."},
    "loud": {"type": "boolean", "default": False},
    "times": {"type": "integer", "default": 3, "min": 1, "max": 9},
    "cpu": {"type": "number", "default": 0.1},
    "team": {"type": "choice", "choices": ["ml", "web"], "required": False},
}
GREET: dict[str, Any] = {"name": "greet", "parameters": PARAMETERS, "job": JOB}


async def template(client: httpx.AsyncClient, project: str = "", **values: Any) -> Template:
    params = {"project": project} if project else {}
    answer = await client.post(TEMPLATES, json={**GREET, **values}, params=params)
    assert answer.status_code == 201, answer.text
    stored = Template.model_validate_json(answer.content)
    assert answer.headers["location"] == f"{TEMPLATES}/{stored.id}"
    return stored


async def preview(client: httpx.AsyncClient, template_id: str, **values: Any) -> TemplatePreview:
    answer = await client.post(f"{TEMPLATES}/{template_id}/preview", json=values)
    assert answer.status_code == 200, answer.text
    return TemplatePreview.model_validate_json(answer.content)


class TestVersions:
    async def test_made_changed_read_and_taken_away(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        first = await template(client)
        assert (first.project, first.owner, first.version, first.kind) == (
            "local",
            "local",
            1,
            "job",
        )
        path = f"{TEMPLATES}/{first.id}"
        answer = await client.get(path)
        tag = answer.headers["etag"]
        again = await client.get(path, headers={"if-none-match": tag})
        assert again.status_code == 304
        change = {"job": {**JOB, "name": "salute"}}
        answer = await client.patch(path, json=change, headers={"if-match": tag})
        second = Template.model_validate_json(answer.content)
        assert (second.version, second.latest, second.job) == (2, 2, change["job"])
        assert second.parameters == first.parameters
        answer = await client.patch(path, json=change, headers={"if-match": tag})
        check_problem(answer, 412, "precondition_failed")
        answer = await client.patch(path, json=change)
        assert answer.json()["version"] == 2  # nothing is otherwise
        old = (await client.get(path, params={"version": 1})).json()
        assert (old["version"], old["latest"], old["job"]["name"]) == (1, 2, "greet")
        check_problem(await client.get(path, params={"version": 3}), 404, "not_found")
        page = (await client.get(f"{path}/versions?limit=1")).json()
        assert [each["version"] for each in page["items"]] == [2]
        page = (await client.get(f"{path}/versions?cursor={page['next_cursor']}")).json()
        assert ([each["version"] for each in page["items"]], page["next_cursor"]) == ([1], None)
        assert (await client.delete(path)).status_code == 204
        check_problem(await client.get(path), 404, "not_found")
        async with database.reading() as tx:
            rows = await tx.connection.execute(
                text("SELECT action, data FROM audit_log ORDER BY id")
            )
            entries = rows.all()
        assert [action for action, _ in entries] == [
            f"template.{what}" for what in ("create", "update", "delete")
        ]
        assert entries[1][1]["before"]["version"] == 1
        assert entries[1][1]["after"]["version"] == 2

    async def test_changes_at_the_same_time_are_made_one_after_another(
        self, client: httpx.AsyncClient
    ) -> None:
        stored = await template(client)
        answers = await asyncio.gather(
            *(
                client.patch(f"{TEMPLATES}/{stored.id}", json={"description": f"{number}"})
                for number in range(6)
            )
        )
        assert [answer.status_code for answer in answers] == [200] * 6
        assert sorted(answer.json()["version"] for answer in answers) == list(range(2, 8))

    async def test_names_are_those_of_a_project(self, client: httpx.AsyncClient) -> None:
        await template(client)
        check_problem(await client.post(TEMPLATES, json=GREET), 409, "conflict")
        await made(client, "vision")
        theirs = await template(client, "vision")
        listed = (await client.get(TEMPLATES, params={"project": "vision"})).json()["items"]
        assert [each["id"] for each in listed] == [theirs.id]
        both = (await client.get(TEMPLATES, params={"name": "greet", "limit": 1})).json()
        rest = await client.get(TEMPLATES, params={"cursor": both["next_cursor"]})
        assert len(rest.json()["items"]) == 1
        assert (await client.get(TEMPLATES, params={"name": "x"})).json()["items"] == []

    @pytest.mark.parametrize(
        ("values", "field", "message"),
        [
            ({"job": {"command": ["${{ nope }}"]}}, "job.command[0]", "is no parameter"),
            (
                {"job": {"command": ["x"]}, "parameters": {"a": {"type": "string"}}},
                "parameters.a",
                "used nowhere",
            ),
            (
                {"parameters": {**PARAMETERS, "times": {"type": "integer", "default": "many"}}},
                "parameters.times",
                "`default` must be a number",
            ),
            (
                {"job": {**JOB, "resources": {"cpu": "${{ cpu }}", "gpus": 2}}},
                "job.resources.gpus",
                "is not a known field",
            ),
            ({"job": {**JOB, "workdir": "${{ who"}}, "job.workdir", "without the name"),
            (
                {"job": {**JOB, "secret_env": {"TOKEN": "abc"}}},
                "job.secret_env.TOKEN",
                "stored in clear",
            ),
            ({"group": {"jobs": []}}, "group", "cannot stand beside a `job`"),
            ({"job": None}, "job", "is required, or a `group` instead"),
        ],
    )
    async def test_what_could_never_be_submitted(
        self, client: httpx.AsyncClient, values: dict[str, Any], field: str, message: str
    ) -> None:
        answer = await client.post(TEMPLATES, json={**GREET, **values})
        problem = check_problem(answer, 422, "invalid_request")
        told = {error.field: error.message for error in problem.errors}
        assert message in told[field], told


class TestSubmitting:
    async def test_types_text_and_what_is_left_out(self, client: httpx.AsyncClient) -> None:
        stored = await template(client)
        shown = (await preview(client, stored.id, params={"who": "ann"})).spec
        assert shown["command"] == ["echo", "hello ann", "${{ who }}"]
        assert shown["env"] == {"LOUD": "false", "TIMES": "3"}
        assert (shown["resources"]["cpu"], shown["resources"]["pids"]) == ("0.1", 3)
        assert shown.get("labels", {}) == {}
        told = await preview(
            client,
            stored.id,
            params={"who": "ann", "team": "ml", "times": "4", "loud": True},
            overrides={"resources": {"memory": "1Gi"}, "env": {"LOUD": None}, "name": "other"},
        )
        assert told.spec["labels"] == {"team": "ml"}
        assert told.spec["env"] == {"TIMES": "4"}
        assert told.spec["name"] == "other"
        assert told.job is not None
        assert [each.provider_id for each in told.job.estimates] == ["local"]
        assert told.spec["resources"]["memory"] == "1Gi"
        assert told.spec["resources"]["cpu"] == "0.1"

    async def test_what_is_put_in_is_not_read_again(self, client: httpx.AsyncClient) -> None:
        parameters = {"a": {"type": "string"}, "b": {"type": "string", "default": "secret"}}
        job = {"command": ["echo", "${{ a }}", "${{ b }}"]}
        stored = await template(client, parameters=parameters, job=job)
        shown = (await preview(client, stored.id, params={"a": "${{ b }}"})).spec
        assert shown["command"] == ["echo", "${{ b }}", "secret"]

    async def test_the_job_says_what_it_was_made_from(self, client: httpx.AsyncClient) -> None:
        first = await template(client)
        path = f"{TEMPLATES}/{first.id}"
        await client.patch(path, json={"description": "newer"})
        for version, wanted in ((2, {}), (1, {"version": 1})):
            answer = await client.post(f"{path}/submit", json={"params": {"who": "ann"}, **wanted})
            assert answer.status_code == 202, answer.text
            job = answer.json()
            assert job["template"] == {"id": first.id, "name": "greet", "version": version}
            assert answer.headers["location"] == f"{JOBS}/{job['id']}"
            # As models: a time may be written with or without a last zero.
            read = JobView.model_validate_json((await client.get(f"{JOBS}/{job['id']}")).content)
            made = JobView.model_validate(job)
            assert read == made.model_copy(update={"temporal_url": read.temporal_url})
        plain = await submit(client)
        assert (await client.get(f"{JOBS}/{plain}")).json()["template"] is None

    async def test_a_group(self, client: httpx.AsyncClient) -> None:
        group = {
            "name": "sweep",
            "jobs": [
                {"name": "try", "command": ["echo", "{index}", "${{ who }}"], "count": "${{ n }}"}
            ],
        }
        parameters = {"who": {"type": "string"}, "n": {"type": "integer", "default": 2}}
        body = {"name": "sweep", "parameters": parameters, "group": group}
        answer = await client.post(TEMPLATES, json=body)
        assert answer.status_code == 201, answer.text
        path = f"{TEMPLATES}/{answer.json()['id']}"
        answer = await client.post(f"{path}/preview", json={"params": {"who": "x"}})
        assert answer.json()["group"]["total"] == 2
        answer = await client.post(f"{path}/submit", json={"params": {"who": "x", "n": 3}})
        assert answer.status_code == 202, answer.text
        made_group = answer.json()
        assert (made_group["total"], made_group["template"]["name"]) == (3, "sweep")
        member = (await client.get(f"{JOBS}/{made_group['members']['items'][2]['id']}")).json()
        assert member["spec"]["command"] == ["echo", "2", "x"]
        assert member["template"] == made_group["template"]

    async def test_the_same_key_gives_the_same_job(self, client: httpx.AsyncClient) -> None:
        stored = await template(client)
        path = f"{TEMPLATES}/{stored.id}"
        body, head = {"params": {"who": "ann"}}, {"idempotency-key": "k1"}
        first = await client.post(f"{path}/submit", json=body, headers=head)
        # It would become another job by now.
        await client.patch(path, json={"job": {**JOB, "name": "salute"}})
        again = await client.post(f"{path}/submit", json=body, headers=head)
        assert again.json()["id"] == first.json()["id"]
        assert again.headers["idempotency-replayed"] == "true"
        answer = await client.post(f"{path}/submit", json={"params": {"who": "bob"}}, headers=head)
        check_problem(answer, 409, "idempotency_key_reused")

    async def test_a_secret_is_given_and_not_kept_in_the_template(
        self, client: httpx.AsyncClient
    ) -> None:
        parameters = {"token": {"type": "string"}}
        job = {"command": ["env"], "secret_env": {"TOKEN": "${{ token }}"}}
        stored = await template(client, parameters=parameters, job=job)
        body = {"params": {"token": "hush-hush"}}
        for verb in ("preview", "submit"):
            answer = await client.post(f"{TEMPLATES}/{stored.id}/{verb}", json=body)
            assert answer.status_code in (200, 202), answer.text
            assert answer.json()["spec"]["secret_env"] == {"TOKEN": "**********"}
            assert "hush-hush" not in answer.text

    @pytest.mark.parametrize(
        ("body", "field", "message"),
        [
            ({}, "params.who", "is required"),
            ({"params": {"who": "Ann"}}, "params.who", "must match `[a-z]+`"),
            ({"params": {"who": "ann", "times": 10}}, "params.times", "must be at most 9"),
            ({"params": {"who": "ann", "times": 1.5}}, "params.times", "whole number"),
            ({"params": {"who": "ann", "loud": "yes"}}, "params.loud", "`true` or `false`"),
            ({"params": {"who": "ann", "team": "x"}}, "params.team", "one of `ml`, `web`"),
            ({"params": {"who": "ann", "x": 1}}, "params.x", "is no parameter"),
            (
                {"params": {"who": "ann"}, "overrides": {"resources": {"cpus": 1}}},
                "resources.cpus",
                "is not a known field",
            ),
        ],
    )
    async def test_what_does_not_fit(
        self, client: httpx.AsyncClient, body: dict[str, Any], field: str, message: str
    ) -> None:
        stored = await template(client)
        for verb in ("preview", "submit"):
            answer = await client.post(f"{TEMPLATES}/{stored.id}/{verb}", json=body)
            problem = check_problem(answer, 422, "invalid_request")
            told = {error.field: error.message for error in problem.errors}
            assert message in told[field], told

    async def test_yaml_keeps_what_was_written(self, client: httpx.AsyncClient) -> None:
        body = """
name: greet
parameters:
  cpu: {type: number, default: 0.10}
  tag: {type: string, default: 1.10}
job:
  command: [echo, "${{ tag }}"]
  env: {VERSION: 3.10}
  resources: {cpu: "${{ cpu }}"}
"""
        head = {"content-type": "application/yaml"}
        answer = await client.post(TEMPLATES, content=body, headers=head)
        assert answer.status_code == 201, answer.text
        shown = (await preview(client, answer.json()["id"])).spec
        assert shown["command"] == ["echo", "1.10"]
        assert shown["env"] == {"VERSION": "3.10"}
        assert shown["resources"]["cpu"] == "0.1"


class TestRights:
    async def test_members_use_it_and_its_maker_changes_it(self, client: httpx.AsyncClient) -> None:
        ann, bob = await someone(client, "ann"), await someone(client, "bob")
        await made(client, "vision")
        for name in ("ann", "bob"):
            await joined(client, name)
        answer = await client.post(TEMPLATES, json=GREET, params={"project": "vision"}, headers=ann)
        path = f"{TEMPLATES}/{answer.json()['id']}"
        body = {"params": {"who": "bob"}}
        answer = await client.post(f"{path}/submit", json=body, headers=bob)
        assert (answer.json()["owner"], answer.json()["project"]) == ("bob", "vision")
        answer = await client.patch(path, json={"description": "x"}, headers=bob)
        problem = check_problem(answer, 403, "forbidden")
        assert "own templates only" in problem.detail
        assert (await client.patch(path, json={"description": "x"}, headers=ann)).status_code == 200
        await client.delete("/api/v1/projects/vision/members/bob")
        for verb in ("preview", "submit"):
            answer = await client.post(f"{path}/{verb}", json=body, headers=bob)
            check_problem(answer, 404, "not_found")
        await client.patch("/api/v1/projects/vision", json={"archived": True})
        answer = await client.post(f"{path}/submit", json=body, headers=ann)
        check_problem(answer, 409, "conflict")
