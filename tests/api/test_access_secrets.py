"""Every route about named secrets with every role, over own, shared and foreign ones.

What is expected is written down once more, in another form than the policy.
"""

from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr

from cortex.domain.rights import Role
from cortex.settings import ApiKey, Settings
from tests.api.support import JOBS, client_of, spec
from tests.api.test_access import being

SECRETS = "/api/v1/secrets"
SERVER = {role.value: role for role in Role}
MEMBERS = {f"in-{role}": role for role in Role}
"""Developers of the server that have a role in the project `team`."""

# Of a project that one is in by this role; `own`: what one has set there oneself.
MAY: dict[Role, dict[str, str]] = {
    Role.ADMIN: {"read": "all", "change": "all", "use": "all"},
    Role.OPERATOR: {"read": "all", "change": "all", "use": "all"},
    Role.DEVELOPER: {"read": "all", "change": "own", "use": "all"},
    Role.VIEWER: {"read": "all"},
    Role.BILLING: {},
}
# Of projects that one is not in.
ELSEWHERE: dict[Role, set[str]] = {
    Role.ADMIN: {"read", "change", "use"},
    Role.OPERATOR: {"read"},
    Role.DEVELOPER: set(),
    Role.VIEWER: {"read"},
    Role.BILLING: set(),
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    people = SERVER | dict.fromkeys([*MEMBERS, "dora"], Role.DEVELOPER)
    keys = {
        name: ApiKey(key=SecretStr(f"key-of-{name:>16}"), role=role)
        for name, role in people.items()
    }
    api = settings.api.model_copy(update={"keys": keys})
    return settings.model_copy(update={"api": api})


@pytest.fixture
async def client(settings: Settings, providers: None) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(settings) as http:
        for name, members in {"team": [*MEMBERS, "dora"], "other": ["dora"]}.items():
            await http.post("/api/v1/projects", json={"name": name})
            for member in members:
                role = MEMBERS.get(member, Role.DEVELOPER)
                path = f"/api/v1/projects/{name}/members/{member}"
                assert (await http.put(path, json={"role": role.value})).status_code == 200
            answer = await put(http, "doras", name, "dora")
            assert answer.status_code == 200, answer.text
        yield http


async def put(client: httpx.AsyncClient, name: str, project: str, who: str) -> httpx.Response:
    where = {"project": project}
    path = f"{SECRETS}/{name}"
    return await client.put(path, json={"value": "v"}, params=where, headers=being(who))


def expected(who: str, project: str, what: str, *, own: bool = False) -> bool:
    if project == "team" and who in MEMBERS:
        reach = MAY[MEMBERS[who]].get(what)
    elif project == who:
        reach = MAY[SERVER.get(who, Role.DEVELOPER)].get(what)
    else:
        reach = None
    elsewhere = what in ELSEWHERE[SERVER.get(who, Role.DEVELOPER)]
    return elsewhere or reach == "all" or (reach == "own" and own)


async def test_every_role_and_owner(
    client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    walked = 0
    for who in (*SERVER, *MEMBERS):
        for project in ("team", "other", who):
            walked += await _walk(client, who, project)
    with capsys.disabled():
        print(f"\n{walked} cases of route, role and owner as the policy says")  # noqa: T201
    assert walked >= 200


async def _walk(client: httpx.AsyncClient, who: str, project: str) -> int:
    where, head = {"project": project}, being(who)
    names = ["mine"] if project == who else ["mine", "doras"]
    cases = 0
    sees = expected(who, project, "read")
    for method, path in (("GET", SECRETS), ("GET", f"{SECRETS}/doras")):
        answer = await client.request(method, path, params=where, headers=head)
        told = (who, project, method, path, answer.text)
        if sees:
            missing = path != SECRETS and "doras" not in names
            assert answer.status_code == (404 if missing else 200), told
        else:
            assert answer.status_code in (403, 404), told
            assert project not in ("other",) or "doras" not in answer.text.replace(path, ""), told
        cases += 1
    for name in names:
        changes = expected(who, project, "change", own=name == "mine")
        answer = await put(client, name, project, who)
        told = (who, project, "PUT", name, answer.text)
        assert (answer.status_code == 200) == changes, told
        assert changes or answer.status_code in (403, 404), told
        uses = expected(who, project, "use")
        body = spec(secret_env={"T": {"secret": name}})
        answer = await client.post(JOBS, json=body, params=where, headers=head)
        there = name == "doras" or changes
        told = (who, project, "use", name, answer.text)
        if uses:
            assert answer.status_code == (202 if there else 422), told
        else:
            assert answer.status_code in (403, 404), told
        cases += 2
    for name in names:
        changes = expected(who, project, "change", own=name == "mine")
        answer = await client.delete(f"{SECRETS}/{name}", params=where, headers=head)
        told = (who, project, "DELETE", name, answer.text)
        assert (answer.status_code == 204) == changes, told
        if name == "doras" and changes:
            await put(client, name, project, "dora")
        cases += 1
    return cases


async def test_a_foreign_project_is_like_none(client: httpx.AsyncClient) -> None:
    ann = being("in-admin")
    for method, path in (
        ("GET", SECRETS),
        ("GET", f"{SECRETS}/doras"),
        ("GET", f"{SECRETS}/none"),
        ("PUT", f"{SECRETS}/doras"),
        ("DELETE", f"{SECRETS}/doras"),
        ("DELETE", f"{SECRETS}/none"),
    ):
        told = []
        for project in ("other", "nothing"):
            answer = await client.request(
                method,
                path,
                params={"project": project},
                headers=ann,
                json={"value": "v"} if method == "PUT" else None,
            )
            told.append((answer.status_code, answer.json()["detail"].replace(project, "P")))
        assert told == [(404, "there is no project `P`")] * 2, (method, path)
