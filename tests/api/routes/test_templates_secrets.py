"""A template that refers to secrets of its project is made and changed by who may use them."""

from typing import Any

import httpx
import pytest

from tests.api.groups import group, job
from tests.api.routes.test_projects import USERS, joined, made, someone
from tests.api.routes.test_templates import TEMPLATES
from tests.api.support import check_problem, spec

WHERE = {"project": "vision"}
REFERS: dict[str, Any] = {"TOKEN": {"secret": "t"}}
BODIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "job": ({"job": spec(secret_env=REFERS)}, {"job": spec()}),
    "defaults": (
        {"group": group(defaults={"secret_env": REFERS}, jobs=[job("x")])},
        {"group": group(jobs=[job("x")])},
    ),
    "member": (
        {"group": group(jobs=[job("x", secret_env=REFERS)])},
        {"group": group(jobs=[job("x")])},
    ),
}


async def stored(client: httpx.AsyncClient, head: dict[str, str], **values: Any) -> str:
    answer = await client.post(
        TEMPLATES, json={"name": "nightly", **values}, params=WHERE, headers=head
    )
    assert answer.status_code == 201, answer.text
    return f"{TEMPLATES}/{answer.json()['id']}"


@pytest.fixture
async def ann(client: httpx.AsyncClient) -> dict[str, str]:
    head = await someone(client, "ann")
    await made(client, "vision")
    await joined(client, "ann")
    return head


@pytest.mark.parametrize("what", BODIES)
async def test_an_operator_who_is_not_in_the_project(
    client: httpx.AsyncClient, ann: dict[str, str], what: str
) -> None:
    await client.post(USERS, json={"name": "eve", "role": "operator"})
    eve = await someone(client, "eve")
    refers, plain = BODIES[what]
    answers = [
        await client.post(TEMPLATES, json={"name": "eves", **refers}, params=WHERE, headers=eve)
    ]
    path = await stored(client, ann, **refers)
    for change in ({"description": "Mine."}, plain):
        answers.append(await client.patch(path, json=change, headers=eve))
    assert (await client.patch(path, json=plain, headers=ann)).status_code == 200
    answers.append(await client.patch(path, json=refers, headers=eve))
    for answer in answers:
        told = check_problem(answer, 403, "forbidden").detail
        assert "`named-secrets.use` in the project `vision`" in told
    answer = await client.patch(path, json={"description": "Mine."}, headers=eve)
    assert answer.status_code == 200, answer.text


async def test_a_name_that_a_parameter_gives(
    client: httpx.AsyncClient, ann: dict[str, str]
) -> None:
    await client.post(USERS, json={"name": "eve", "role": "operator"})
    eve = await someone(client, "eve")
    body = {
        "parameters": {"which": {"type": "string"}},
        "job": spec(secret_env={"TOKEN": {"secret": "${{ which }}"}}),
    }
    path = await stored(client, ann, **body)
    change = {"job": {**body["job"], "command": ["env"]}}
    check_problem(await client.patch(path, json=change, headers=eve), 403, "forbidden")


async def test_keys_with_scopes(client: httpx.AsyncClient, ann: dict[str, str]) -> None:
    refers, plain = BODIES["job"]
    path = await stored(client, ann, **refers)
    for scopes, change, missing in (
        (["templates:change"], {"job": spec(command=["env"])}, "jobs:submit"),
        (["templates:change"], {"description": "Mine."}, "named-secrets:use"),
        (["templates:change", "jobs:submit"], plain, "named-secrets:use"),
        (["templates:change", "jobs:submit", "named-secrets:use"], plain, None),
        (["templates:change"], {"parameters": {}, "job": spec(command=["env"])}, "jobs:submit"),
        (["templates:change"], {"description": "Mine."}, None),
    ):
        head = await someone(client, "ann", scopes=scopes)
        answer = await client.patch(path, json=change, headers=head)
        if missing is None:
            assert answer.status_code == 200, answer.text
        else:
            assert f"`{missing}`" in check_problem(answer, 403, "forbidden").detail
