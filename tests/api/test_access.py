"""Every route with every role; whose jobs one may change; what is written down about it."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi.routing import APIRoute
from pydantic import SecretStr
from sqlalchemy import text

from api.access import Needs
from api.app import ROUTERS, create_app
from api.middleware import PUBLIC_PATHS
from api.routing import PREFIX
from cortex.db.engine import Database
from cortex.domain.rights import Principal, Role
from cortex.schemas.server import Info
from cortex.settings import ApiKey, Settings
from tests.api.support import JOBS, check_problem, client_of, submit
from tests.domain.test_rights import MAY

# `dora` is a second developer.
PEOPLE = {role.value: role for role in Role} | {"dora": Role.DEVELOPER}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    keys = {
        name: ApiKey(key=SecretStr(f"key-of-{name:>16}"), role=role)
        for name, role in PEOPLE.items()
    }
    return settings.model_copy(update={"api": settings.api.model_copy(update={"keys": keys})})


@pytest.fixture
async def client(settings: Settings, providers: None) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(settings) as http:
        yield http


def being(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer key-of-{name:>16}"}


def api_routes() -> list[APIRoute]:
    routes = [route for router in ROUTERS for route in router.routes]
    assert len(routes) > 25
    return [
        route for route in routes if isinstance(route, APIRoute) and route.path.startswith(PREFIX)
    ]


def guarded_routes() -> list[APIRoute]:
    """All but those where nobody can say yet who asks."""
    return [route for route in api_routes() if route.path not in PUBLIC_PATHS]


def needed(route: APIRoute) -> list[Needs]:
    calls = [dependency.call for dependency in route.dependant.dependencies]
    return [call for call in calls if isinstance(call, Needs)]


class TestRoutes:
    def test_none_is_missed(self, settings: Settings) -> None:
        served = {path for path in create_app(settings).openapi()["paths"] if "/api/" in path}
        assert served <= {route.path_format for route in api_routes()}

    def test_each_names_its_action_or_is_public(self) -> None:
        for route in api_routes():
            names = len(needed(route)) == 1
            told = f"{route.methods} {route.path} names no action"
            assert names != (route.path in PUBLIC_PATHS), told
        assert {route.path for route in api_routes() if not needed(route)} == {
            f"{PREFIX}/auth/{name}"
            for name in (
                *("jwks", "login", "login/passkey", "redeem", "refresh", "unsubscribe"),
                *("oidc", "oidc/{name}/start", "oidc/{name}/callback"),
                *("device", "device/start", "device/token"),
                *("device/login", "device/passkey", "device/sso/{name}", "device/confirm"),
            )
        }

    async def test_each_with_each_role(self, client: httpx.AsyncClient) -> None:
        for route in guarded_routes():
            (need,) = needed(route)
            path = _filled(route)
            for role in Role:
                for method in route.methods or ():
                    # No body and no such id: who may goes on, to an answer about those.
                    answer = await client.request(method, path, headers=being(role.value))
                    if role in MAY[need.action]:
                        assert answer.status_code not in (401, 403), (role, method, path)
                    elif method == "HEAD":
                        assert answer.status_code == 403
                    else:
                        problem = check_problem(answer, 403, "forbidden")
                        assert f"`{need.action}`" in problem.detail
                        assert f"`{next(iter(MAY[need.action]))}`" in problem.detail


class TestOwners:
    async def test_jobs_belong_to_who_submits(self, client: httpx.AsyncClient) -> None:
        client.headers.update(being("dora"))
        job_id = await submit(client)
        assert (await client.get(f"{JOBS}/{job_id}")).json()["owner"] == "dora"

    @pytest.mark.parametrize(("verb", "body"), [("cancel", {}), ("extend", {"duration": "1m"})])
    async def test_only_own_jobs(
        self, client: httpx.AsyncClient, database: Database, verb: str, body: dict[str, str]
    ) -> None:
        client.headers.update(being("dora"))
        job_id = await submit(client)
        path = f"{JOBS}/{job_id}/{verb}"
        answer = await client.post(path, json=body, headers=being("viewer"))
        check_problem(answer, 403, "forbidden")
        answer = await client.post(path, json=body, headers=being("developer"))
        problem = check_problem(answer, 404, "not_found")
        assert problem.detail == f"there is no job `{job_id}`"
        assert (await client.get(f"{JOBS}/{job_id}")).json()["state"] == "pending"
        assert await audited(database) == []
        assert (await client.post(path, json=body)).status_code == 202
        assert await audited(database) == [("dora", f"job.{verb}", job_id, "127.0.0.1")]

    async def test_an_operator_reaches_all(self, client: httpx.AsyncClient) -> None:
        client.headers.update(being("dora"))
        job_id = await submit(client)
        path = f"{JOBS}/{job_id}/cancel"
        assert (await client.post(path, headers=being("operator"))).status_code == 202

    async def test_info_says_who_one_is(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/api/v1/info", headers=being("billing"))
        info = Info.model_validate_json(answer.content)
        assert (info.user, info.role) == ("billing", Role.BILLING)
        info = Info.model_validate_json((await client.get("/api/v1/info")).content)
        assert (info.user, info.role) == ("local", Role.ADMIN)


class TestKeys:
    async def test_named_keys_alone_protect(self, settings: Settings) -> None:
        alone = settings.api.model_copy(update={"key": None})
        async with client_of(settings.model_copy(update={"api": alone})) as client:
            check_problem(await client.get("/api/v1/info"), 401, "not_authenticated")
            ok = await client.get("/api/v1/info", headers=being("viewer"))
            assert ok.status_code == 200

    def test_a_principal_says_no_key(self) -> None:
        assert "key" not in repr(Principal(name="x", role=Role.ADMIN))


async def audited(database: Database) -> list[tuple[str, str, str, str]]:
    """The changes that were made, submissions aside."""
    async with database.transaction() as tx:
        rows = await tx.connection.execute(
            text(
                "SELECT actor, action, subject, source FROM audit_log WHERE outcome = 'done' "
                "AND action NOT LIKE '%.submit' ORDER BY id"
            )
        )
        return [(row.actor, row.action, row.subject, row.source) for row in rows]


def _filled(route: APIRoute) -> str:
    path = route.path_format
    for name in route.param_convertors:
        path = path.replace(f"{{{name}}}", "nothing")
    return path
