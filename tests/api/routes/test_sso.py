"""Logins by another service over HTTP: let in, linked, given roles; and all that is refused."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.rights import Role
from cortex.domain.sso import OidcProvider
from cortex.schemas.auth import LoggedIn
from cortex.settings import Settings
from tests.api.logins import AUTH, bearing, person
from tests.api.support import check_problem, client_of, eventually
from tests.support.issuer import CLIENT, Issuer, issuing

START = f"{AUTH}/oidc/corp/start"


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Issuer]:
    async with issuing() as issuer:
        yield issuer


@pytest.fixture
def issuer(running: Issuer) -> Issuer:
    running.reset()
    return running


@pytest.fixture
def settings(settings: Settings, issuer: Issuer) -> Settings:
    return offering(settings, issuer, default_role=Role.DEVELOPER)


def offering(settings: Settings, issuer: Issuer, **values: Any) -> Settings:
    corp = OidcProvider(issuer=issuer.url, client_id=CLIENT, title="The Corp", **values)
    return settings.model_copy(update={"oidc": {"corp": corp}})


async def sent_back(client: httpx.AsyncClient, start: str = START) -> str:
    """Where the service sends the browser back to, which keeps its cookies in `client`."""
    answer = await client.get(start)
    assert answer.status_code == 303, answer.text
    assert answer.headers["cache-control"] == "no-store"
    async with httpx.AsyncClient() as elsewhere:
        back = await elsewhere.get(answer.headers["location"])
    return back.headers["location"]


async def try_sso(client: httpx.AsyncClient) -> httpx.Response:
    return await client.get(await sent_back(client))


async def sso(client: httpx.AsyncClient) -> LoggedIn:
    answer = await try_sso(client)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return LoggedIn.model_validate_json(answer.content)


async def users(client: httpx.AsyncClient) -> dict[str, tuple[str, bool]]:
    items = (await client.get("/api/v1/users")).json()["items"]
    return {each["name"]: (each["role"], each["active"]) for each in items}


async def audited(database: Database, outcome: str = "done") -> list[tuple[str, str, str]]:
    async with database.reading() as tx:
        query = text(
            "SELECT actor, action, COALESCE(data->>'via', data->>'reason', '') FROM audit_log "
            "WHERE outcome = :outcome ORDER BY id"
        )
        return [tuple(row) for row in await tx.connection.execute(query, {"outcome": outcome})]


class TestLogin:
    async def test_a_session_as_by_password(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        offered = (await client.get(f"{AUTH}/oidc")).json()
        assert offered == {"items": [{"name": "corp", "title": "The Corp"}]}
        login = await sso(client)
        assert login.session.user == "ann"
        info = (await client.get("/api/v1/info", headers=bearing(login))).json()
        assert (info["user"], info["role"]) == ("ann", "developer")
        body = {"refresh_token": login.refresh_token}
        assert (await client.post(f"{AUTH}/refresh", json=body)).status_code == 200
        assert await audited(database) == [
            ("ann", "user.create", "oidc:corp"),
            ("ann", "user.link", "oidc:corp"),
            ("ann", "session.login", "oidc:corp"),
        ]

    async def test_the_same_person_is_the_same_user(
        self, client: httpx.AsyncClient, issuer: Issuer
    ) -> None:
        await sso(client)
        issuer.claims = {"preferred_username": "renamed", "email": "new@example.org"}
        assert (await sso(client)).session.user == "ann"
        assert list(await users(client)) == ["ann"]

    async def test_what_is_sent_and_kept(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        answer = await client.get(START)
        wanted = parse_qs(urlsplit(answer.headers["location"]).query)
        assert wanted["response_type"] == ["code"]
        assert wanted["code_challenge_method"] == ["S256"]
        assert wanted["scope"] == ["openid profile email"]
        assert wanted["redirect_uri"] == ["http://127.0.0.1/api/v1/auth/oidc/corp/callback"]
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        async with database.reading() as tx:
            stored = str((await tx.connection.execute(text("SELECT * FROM sso_logins"))).all())
        secret = cookie.partition("=")[2].partition(";")[0]
        assert len(secret) == 43
        for word in (secret, wanted["state"][0], wanted["nonce"][0]):
            assert word not in stored

    async def test_behind_tls(self, settings: Settings, issuer: Issuer, providers: None) -> None:
        api = settings.api.model_copy(update={"public_url": "https://cortex.test"})
        async with client_of(settings.model_copy(update={"api": api})) as client:
            answer = await client.get(START)
        wanted = parse_qs(urlsplit(answer.headers["location"]).query)
        assert wanted["redirect_uri"] == ["https://cortex.test/api/v1/auth/oidc/corp/callback"]
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-cortex-login-")
        assert "Secure" in cookie
        assert "Path=/;" in cookie
        assert "Domain" not in cookie

    async def test_a_host_that_is_not_here_is_not_believed(self, client: httpx.AsyncClient) -> None:
        answer = await client.get(START, headers={"host": "evil.test"})
        check_problem(answer, 503, "service_unavailable")

    async def test_two_at_once_in_one_browser(self, client: httpx.AsyncClient) -> None:
        first, second = await sent_back(client), await sent_back(client)
        assert (await client.get(first)).status_code == 200
        assert (await client.get(second)).status_code == 200


class TestRefused:
    async def test_the_same_answer_twice(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        back = await sent_back(client)
        await client.get(back)
        problem = check_problem(await client.get(back), 401, "sso_refused")
        assert "finished already" in problem.detail

        async def noted() -> bool:
            return [row[:2] for row in await audited(database, "denied")] == [("", "session.login")]

        await eventually(noted)

    async def test_another_browser(self, client: httpx.AsyncClient) -> None:
        back = await sent_back(client)
        client.cookies.clear()
        problem = check_problem(await client.get(back), 401, "sso_refused")
        assert "another browser" in problem.detail

    async def test_another_service(
        self, settings: Settings, issuer: Issuer, providers: None
    ) -> None:
        both = {**settings.oidc, "other": settings.oidc["corp"]}
        async with client_of(settings.model_copy(update={"oidc": both})) as client:
            back = (await sent_back(client)).replace("/corp/", "/other/")
            problem = check_problem(await client.get(back), 401, "sso_refused")
        assert "another service" in problem.detail

    async def test_too_late(self, client: httpx.AsyncClient, database: Database) -> None:
        back = await sent_back(client)
        async with database.transaction() as tx:
            await tx.connection.execute(text("UPDATE sso_logins SET expires_at = now()"))
        problem = check_problem(await client.get(back), 401, "sso_refused")
        assert "within 10 minutes" in problem.detail

    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            ({"iss": "https://other.test"}, "comes from another service"),
            ({"code": "made-up"}, "did not take the code: invalid_grant"),
            ({"code": None}, "no code came back"),
            (
                {"code": None, "error": "access_denied", "error_description": "not\ttoday"},
                "let nobody in: not?today",
            ),
        ],
        ids=["mix-up", "code", "no code", "denied"],
    )
    async def test_an_answer_that_is_not_good(
        self, client: httpx.AsyncClient, issuer: Issuer, answer: dict[str, Any], why: str
    ) -> None:
        issuer.answer = answer
        problem = check_problem(await try_sso(client), 401, "sso_refused")
        assert why in problem.detail
        assert await users(client) == {}

    async def test_who_must_say_where_it_comes_from(
        self, client: httpx.AsyncClient, issuer: Issuer
    ) -> None:
        issuer.about = {"authorization_response_iss_parameter_supported": True}
        issuer.answer = {"iss": None}
        problem = check_problem(await try_sso(client), 401, "sso_refused")
        assert "does not say which service" in problem.detail

    async def test_a_token_for_another_login(
        self, client: httpx.AsyncClient, issuer: Issuer
    ) -> None:
        issuer.claims = {"nonce": "another"}
        problem = check_problem(await try_sso(client), 401, "sso_refused")
        assert "made for another login" in problem.detail

    async def test_claims_about_somebody_else(
        self, client: httpx.AsyncClient, issuer: Issuer
    ) -> None:
        issuer.info = {"sub": "eve"}
        problem = check_problem(await try_sso(client), 401, "sso_refused")
        assert "somebody else" in problem.detail

    async def test_no_such_service(self, client: httpx.AsyncClient) -> None:
        check_problem(await client.get(f"{AUTH}/oidc/none/start"), 404, "not_found")

    async def test_too_many_begun(self, client: httpx.AsyncClient, database: Database) -> None:
        await client.get(START)
        async with database.transaction() as tx:
            await tx.connection.execute(
                text(
                    "INSERT INTO sso_logins SELECT n::text, provider, browser, source, NULL, "
                    "now(), expires_at FROM sso_logins, generate_series(1, 99) n"
                )
            )
        check_problem(await client.get(START), 429, "too_many_requests")


class TestUsers:
    async def test_a_user_of_the_same_name_is_not_taken_over(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database, "ann", "admin")
        problem = check_problem(await try_sso(client), 401, "sso_refused")
        assert "there is a user `ann` already" in problem.detail

    async def test_unless_the_settings_say_so(
        self, settings: Settings, issuer: Issuer, database: Database, providers: None
    ) -> None:
        async with client_of(offering(settings, issuer, link_by="name")) as client:
            await person(client, database, "ann", "admin")
            login = await sso(client)
            info = (await client.get("/api/v1/info", headers=bearing(login))).json()
            assert info["role"] == "admin"
            issuer.claims = {"sub": "another"}  # of the same name, later
            problem = check_problem(await try_sso(client), 401, "sso_refused")
            assert "as somebody else" in problem.detail

    async def test_an_address_links_only_where_it_is_verified(
        self, settings: Settings, issuer: Issuer, providers: None
    ) -> None:
        """By another service first, then by this one."""
        async with issuing() as second:
            values = {"client_id": CLIENT, "default_role": Role.VIEWER, "link_by": "email"}
            both = {
                "corp": OidcProvider(issuer=issuer.url, **values),
                "other": OidcProvider(issuer=second.url, **values),
            }
            async with client_of(settings.model_copy(update={"oidc": both})) as client:
                await sso(client)
                second.claims = {"preferred_username": "eve", "email_verified": False}
                other = START.replace("corp", "other")
                answer = await client.get(await sent_back(client, other))
                assert answer.json()["session"]["user"] == "eve"
                second.claims = {"sub": "2", "preferred_username": "bob"}
                answer = await client.get(await sent_back(client, other))
                assert answer.json()["session"]["user"] == "ann"

    @pytest.mark.parametrize(
        ("values", "claims", "why"),
        [
            ({"create_users": False}, {}, "nobody here is known"),
            ({"default_role": None}, {}, "give new users no role"),
            ({}, {"preferred_username": "!"}, "gives no name"),
            ({}, {"preferred_username": "local"}, "the owner of the plain `api.key`"),
            ({"require_verified_email": True}, {"email_verified": False}, "not verified"),
            ({"roles_claim": "groups", "default_role": None}, {}, "none of the roles"),
        ],
        ids=["no new users", "no role", "no name", "a name of ours", "address", "no such role"],
    )
    async def test_who_is_not_let_in(
        self,
        settings: Settings,
        issuer: Issuer,
        providers: None,
        values: dict[str, Any],
        claims: dict[str, Any],
        why: str,
    ) -> None:
        issuer.claims = claims
        told = {"default_role": Role.VIEWER, **values}
        async with client_of(offering(settings, issuer, **told)) as client:
            problem = check_problem(await try_sso(client), 401, "sso_refused")
            assert why in problem.detail
            assert await users(client) == {}

    async def test_who_is_switched_off(self, client: httpx.AsyncClient) -> None:
        await sso(client)
        await client.patch("/api/v1/users/ann", json={"active": False})
        problem = check_problem(await try_sso(client), 401, "sso_refused")
        assert "`ann` is switched off" in problem.detail

    async def test_roles_follow_the_service(
        self, settings: Settings, issuer: Issuer, database: Database, providers: None
    ) -> None:
        roles = {"root": Role.ADMIN, "dev": Role.DEVELOPER}
        values = {"roles_claim": "realm.groups", "roles": roles}
        async with client_of(offering(settings, issuer, **values)) as client:
            issuer.info = {"realm": {"groups": ["root", "dev"]}}
            first = await sso(client)
            assert (await client.get("/api/v1/users", headers=bearing(first))).status_code == 200
            issuer.info = {"realm": {"groups": ["dev"]}}
            second = await sso(client)
            for login in (first, second):  # at once, and for what is open already
                answer = await client.get("/api/v1/users", headers=bearing(login))
                check_problem(answer, 403, "forbidden")
            assert ("ann", "user.update", "oidc:corp") in await audited(database)
            issuer.info = {"realm": {"groups": []}}
            check_problem(await try_sso(client), 401, "sso_refused")

    async def test_without_such_a_claim_admins_set_them(self, client: httpx.AsyncClient) -> None:
        await sso(client)
        await client.patch("/api/v1/users/ann", json={"role": "viewer"})
        await sso(client)
        assert await users(client) == {"ann": ("viewer", True)}


async def test_a_service_that_is_away(settings: Settings, providers: None) -> None:
    away = OidcProvider(issuer="http://127.0.0.1:1", client_id=CLIENT)
    async with client_of(settings.model_copy(update={"oidc": {"corp": away}})) as client:
        problem = check_problem(await client.get(START), 503, "service_unavailable")
    assert "nobody can log in by `corp` now" in problem.detail
