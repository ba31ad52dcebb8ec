"""What runs by a schedule with secrets of its project is decided by those who may use them."""

from typing import Any

import httpx
import pytest

from cortex.domain.rights import Role
from tests.api.groups import group, job
from tests.api.routes.test_projects import USERS, joined, made, someone
from tests.api.routes.test_schedules import NIGHTLY, SCHEDULES, schedule, trigger
from tests.api.routes.test_templates import TEMPLATES
from tests.api.support import JOBS, check_problem, spec

WHERE = {"project": "vision"}
REFERS: dict[str, Any] = {"TOKEN": {"secret": "t"}}
SECRETIVE = spec(secret_env=REFERS)
SPAN = {"start": "2026-11-01T00:00:00Z", "end": "2026-11-02T00:00:00Z"}


@pytest.fixture
async def ann(client: httpx.AsyncClient) -> dict[str, str]:
    """In the project that has the secret `t`."""
    head = await someone(client, "ann")
    await made(client, "vision")
    await joined(client, "ann")
    answer = await client.put("/api/v1/secrets/t", json={"value": "v"}, params=WHERE)
    assert answer.status_code == 200, answer.text
    return head


@pytest.fixture
async def eve(client: httpx.AsyncClient) -> dict[str, str]:
    """An operator of the server who is not in the project."""
    await client.post(USERS, json={"name": "eve", "role": Role.OPERATOR.value})
    return await someone(client, "eve")


async def template(client: httpx.AsyncClient, ann: dict[str, str], **values: Any) -> str:
    body = {"name": "nightly", **values}
    answer = await client.post(TEMPLATES, json=body, params=WHERE, headers=ann)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def of_ann(client: httpx.AsyncClient, ann: dict[str, str], **values: Any) -> str:
    body = {**NIGHTLY, **values}
    if "template" in body:
        del body["job"]
    answer = await client.post(SCHEDULES, json=body, params=WHERE, headers=ann)
    assert answer.status_code == 201, answer.text
    return f"{SCHEDULES}/{answer.json()['id']}"


def refused(answer: httpx.Response) -> None:
    told = check_problem(answer, 403, "forbidden").detail
    assert "`named-secrets.use` in the project `vision`" in told


class TestWhoIsNotInTheProject:
    async def test_gives_no_schedule_a_secret(
        self, client: httpx.AsyncClient, ann: dict[str, str], eve: dict[str, str]
    ) -> None:
        path = await of_ann(client, ann)
        theirs = {"name": "theirs", "job": SECRETIVE}
        await template(client, ann, **theirs)
        unknown = spec(secret_env={"A": {"secret": "no-such"}})
        for change in ({"job": SECRETIVE}, {"job": unknown}, {"template": "theirs"}):
            refused(await client.patch(path, json=change, headers=eve))
            body: dict[str, Any] = {"name": "eves", "cron": "0 3 * * *", **change}
            refused(await client.post(SCHEDULES, json=body, params=WHERE, headers=eve))
        changed = await client.patch(path, json={"job": spec(name="plain")}, headers=eve)
        assert changed.status_code == 200, changed.text

    async def test_changes_nothing_of_what_runs_with_one(
        self, client: httpx.AsyncClient, ann: dict[str, str], eve: dict[str, str]
    ) -> None:
        """Whoever put the reference there; when it runs may be changed."""
        which = {"which": {"type": "string", "default": "a"}}
        job_spec = spec(command=["${{ which }}"], secret_env=REFERS)
        await template(client, ann, parameters=which, job=job_spec)
        path = await of_ann(client, ann, template="nightly")
        for change in (
            {"overrides": {"command": ["env"]}},
            {"params": {"which": "env"}},
            {"template_version": 1},
        ):
            refused(await client.patch(path, json=change, headers=eve))
            mine = await client.patch(path, json=change, headers=ann)
            assert mine.status_code == 200, mine.text
        answer = await client.patch(path, json={"cron": "0 4 * * *"}, headers=eve)
        assert answer.status_code == 200, answer.text
        answer = await client.post(f"{path}/trigger", headers=eve)
        made_job = (await client.get(f"{JOBS}/{answer.json()['made']}")).json()
        assert (made_job["owner"], made_job["spec"]["secret_env"]) == ("ann", REFERS)

    async def test_nor_of_its_template(
        self, client: httpx.AsyncClient, ann: dict[str, str], eve: dict[str, str]
    ) -> None:
        """Not either if it is the schedule's overrides that refer to the secret."""
        plain = group(jobs=[job("x")])
        shape = await template(client, ann, group=plain)
        changed = {"group": group(jobs=[job("x", command=["env"])])}
        await of_ann(client, ann, template="nightly", name="pinned", template_version=1)
        for overrides in (
            {"defaults": {"secret_env": REFERS}},
            {"jobs": [job("x", secret_env=REFERS)]},
        ):
            path = await of_ann(client, ann, template="nightly", name="latest", overrides=overrides)
            refused(await client.patch(f"{TEMPLATES}/{shape}", json=changed, headers=eve))
            assert (await client.delete(path)).status_code == 204
        answer = await client.patch(f"{TEMPLATES}/{shape}", json=changed, headers=eve)
        assert answer.status_code == 200, answer.text


class TestKeysWithScopes:
    @pytest.mark.parametrize("scopes", [["schedules:change"], ["schedules:*"]])
    async def test_nothing_runs_without_the_scope_to_submit(
        self, client: httpx.AsyncClient, scopes: list[str]
    ) -> None:
        ann = await someone(client, "ann")
        answer = await client.post(SCHEDULES, json=NIGHTLY, headers=ann)
        path = f"{SCHEDULES}/{answer.json()['id']}"
        head = await someone(client, "ann", scopes=scopes)
        for method, where, body in (
            ("POST", SCHEDULES, {**NIGHTLY, "name": "other"}),
            ("PATCH", path, {"job": spec(command=["env"])}),
            ("POST", f"{path}/trigger", None),
            ("POST", f"{path}/backfill", SPAN),
            ("POST", f"{path}/resume", None),
        ):
            answer = await client.request(method, where, json=body, headers=head)
            told = check_problem(answer, 403, "forbidden").detail
            assert "`jobs:submit`" in told, (method, where)
        for where, body in ((path, {"cron": "0 4 * * *"}), (f"{path}/pause", {})):
            method = "PATCH" if where == path else "POST"
            answer = await client.request(method, where, json=body, headers=head)
            assert answer.status_code == 200, answer.text
        assert (await client.get(f"{path}/runs")).json()["items"] == []

    async def test_no_secrets_without_the_scope_to_use_them(
        self, client: httpx.AsyncClient, ann: dict[str, str]
    ) -> None:
        path = await of_ann(client, ann)
        head = await someone(client, "ann", scopes=["schedules:*", "jobs:submit"])
        body = {**NIGHTLY, "name": "other", "job": SECRETIVE}
        for answer in (
            await client.post(SCHEDULES, json=body, params=WHERE, headers=head),
            await client.patch(path, json={"job": SECRETIVE}, headers=head),
        ):
            assert "`named-secrets:use`" in check_problem(answer, 403, "forbidden").detail
        answer = await client.patch(path, json={"job": spec(name="plain")}, headers=head)
        assert answer.status_code == 200, answer.text


class TestWhatATemplateBecomes:
    async def test_whoever_lets_it_run_may_use_secrets(
        self, client: httpx.AsyncClient, ann: dict[str, str], eve: dict[str, str]
    ) -> None:
        """The template refers to none yet; it may, by the time that the schedule fires."""
        which = {"which": {"type": "string", "default": "a"}}
        await template(client, ann, parameters=which, job=spec(command=["${{ which }}"]))
        path = await of_ann(client, ann, template="nightly")
        key = await someone(client, "ann", scopes=["schedules:*", "jobs:submit"])
        change: dict[str, Any] = {"params": {"which": "env"}}
        refused(await client.patch(path, json=change, headers=eve))
        told = check_problem(await client.patch(path, json=change, headers=key), 403, "forbidden")
        assert "`named-secrets:use`" in told.detail
        for who in (eve, key):
            pinned = {**change, "template_version": 1}
            assert (await client.patch(path, json=pinned, headers=who)).status_code == 200
        assert (await client.patch(path, json=change, headers=ann)).status_code == 200


class TestSecretsThatAreNotThere:
    async def test_are_told_at_once(self, client: httpx.AsyncClient) -> None:
        view = await schedule(client)
        wanted = {"job": spec(secret_env={"A": {"secret": "no-such"}})}
        for answer in (
            await client.post(SCHEDULES, json={**NIGHTLY, "name": "other", **wanted}),
            await client.patch(f"{SCHEDULES}/{view.id}", json=wanted),
        ):
            (error,) = check_problem(answer, 422, "invalid_request").errors
            assert error.field == "job.secret_env.A.secret"
            assert error.message == "there is no secret `no-such` in the project `local`"

    async def test_of_a_template_too(self, client: httpx.AsyncClient) -> None:
        """In the words of its preview."""
        members = group(jobs=[job("x"), job("y", secret_env={"B": {"secret": "none"}})])
        answer = await client.post(TEMPLATES, json={"name": "both", "group": members})
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = {**NIGHTLY, "template": "both"}
        del body["job"]
        (error,) = check_problem(
            await client.post(SCHEDULES, json=body), 422, "invalid_request"
        ).errors
        assert error.field == "jobs[1].secret_env.B.secret"

    async def test_overrides_hold_no_values(self, client: httpx.AsyncClient) -> None:
        for shape, overrides, field in (
            ({"job": spec()}, {"secret_env": {"A": "hush"}}, "secret_env.A"),
            (
                {"group": group(jobs=[job("x")])},
                {"defaults": {"secret_env": {"A": "hush"}}},
                "defaults.secret_env.A",
            ),
        ):
            stored = await client.post(TEMPLATES, json={"name": "shape", **shape})
            assert stored.status_code == 201, stored.text
            body: dict[str, Any] = {**NIGHTLY, "template": "shape", "overrides": overrides}
            del body["job"]
            answer = await client.post(SCHEDULES, json=body)
            (error,) = check_problem(answer, 422, "invalid_request").errors
            assert (error.field, "hush" in answer.text) == (f"overrides.{field}", False)
            await client.delete(f"{TEMPLATES}/{stored.json()['id']}")

    async def test_overrides_may_name_one(self, client: httpx.AsyncClient) -> None:
        await client.put("/api/v1/secrets/t", json={"value": "v"})
        await client.post(TEMPLATES, json={"name": "shape", "job": spec()})
        view = await schedule(client, job=None, template="shape", overrides={"secret_env": REFERS})
        run = await trigger(client, view.id)
        assert (await client.get(f"{JOBS}/{run.made}")).json()["spec"]["secret_env"] == REFERS
