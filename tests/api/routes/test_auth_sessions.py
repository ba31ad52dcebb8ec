"""Sessions, changes of passwords, and waiting after failures."""

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.schemas.auth import LoggedIn, SessionPage
from cortex.settings import Settings
from tests.api.logins import AUTH, OTHER, PASSWORD, bearing, log_in, person, try_login
from tests.api.routes.test_auth import audited, earlier, next_of, refreshed, refused_soon
from tests.api.support import JOBS, check_problem, client_of

SESSIONS = f"{AUTH}/sessions"


class TestSessions:
    async def test_logging_out_ends_it_at_once(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login, other = await log_in(client), await log_in(client)
        assert (await client.get(JOBS, headers=bearing(login))).status_code == 200
        answer = await client.post(f"{AUTH}/logout", headers=bearing(login))
        assert answer.status_code == 204, answer.text
        assert "was logged out at" in await refused_soon(client, login)
        check_problem(await refreshed(client, login.refresh_token), 401, "not_logged_in")
        assert (await client.get(JOBS, headers=bearing(other))).status_code == 200
        assert (await audited(database, "session.logout")) == [("ann", "session.logout", "done")]
        check_problem(await client.post(f"{AUTH}/logout"), 409, "conflict")

    async def test_in_another_process_too(
        self, settings: Settings, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        async with client_of(settings) as other:
            assert (await other.get(JOBS, headers=bearing(login))).status_code == 200
            await client.post(f"{AUTH}/logout", headers=bearing(login))
            assert "was logged out at" in await refused_soon(other, login)

    async def test_own_ones_are_listed_and_ended_one_by_one(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        await person(client, database, "bob")
        first, second, of_bob = (
            await log_in(client),
            await log_in(client),
            await log_in(client, "bob"),
        )
        ann = bearing(second)
        page = SessionPage.model_validate_json((await client.get(SESSIONS, headers=ann)).content)
        assert [each.id for each in page.items] == [second.session.id, first.session.id]
        assert page.current == second.session.id
        assert page.items[0].client.startswith("python-httpx")
        for _ in range(2):
            answer = await client.delete(f"{SESSIONS}/{first.session.id}", headers=ann)
            assert answer.status_code == 204
        assert "was revoked at" in await refused_soon(client, first)
        assert len(await audited(database, "session.revoke")) == 1
        missing = await client.delete(f"{SESSIONS}/ses_0", headers=ann)
        foreign = await client.delete(f"{SESSIONS}/{of_bob.session.id}", headers=ann)
        for answer in (missing, foreign):
            assert "there is no session" in check_problem(answer, 404, "not_found").detail
        problem = await client.get(f"{SESSIONS}?user=bob", headers=ann)
        assert "own sessions only" in check_problem(problem, 403, "forbidden").detail

    async def test_an_admin_sees_and_ends_everybodys(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        page = (await client.get(f"{SESSIONS}?user=ann")).json()
        assert ([each["id"] for each in page["items"]], page["current"]) == (
            [login.session.id],
            None,
        )
        assert len((await client.get(SESSIONS)).json()["items"]) == 1
        assert (await client.delete(f"{SESSIONS}/{login.session.id}")).status_code == 204
        assert "was revoked" in await refused_soon(client, login)
        assert (await client.get(SESSIONS)).json()["items"] == []


class TestPassword:
    async def change(
        self, client: httpx.AsyncClient, login: LoggedIn, old: str = PASSWORD, new: str = OTHER
    ) -> httpx.Response:
        body = {"old_password": old, "new_password": new}
        return await client.post(f"{AUTH}/password", json=body, headers=bearing(login))

    async def test_the_other_sessions_end(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        here, there = await log_in(client), await log_in(client)
        assert (await self.change(client, here)).status_code == 204
        assert "when the password was changed" in await refused_soon(client, there)
        assert (await client.get(JOBS, headers=bearing(here))).status_code == 200
        check_problem(await try_login(client), 401, "login_refused")
        await log_in(client, password=OTHER)
        assert await audited(database, "user.password") == [("ann", "user.password", "done")]

    async def test_it_needs_the_old_one(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        check_problem(await self.change(client, login, old=OTHER), 403, "wrong_password")
        await log_in(client)

    @pytest.mark.parametrize(
        ("password", "words"),
        [
            ("short", "must have at least 10 characters"),
            ("password1234", "is easy to guess (1 of 4): this is a very common password"),
            ("ann-ann-ann-1", "is easy to guess"),
            ("cortexcortex", "is easy to guess"),
        ],
    )
    async def test_a_weak_one_is_refused_with_the_reason(
        self, client: httpx.AsyncClient, database: Database, password: str, words: str
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        problem = check_problem(
            await self.change(client, login, new=password), 422, "invalid_request"
        )
        assert words in problem.detail
        assert problem.errors[0].field == "new_password"
        assert password not in problem.detail
        await log_in(client)

    async def test_whoever_has_none_cannot_change_it(self, client: httpx.AsyncClient) -> None:
        body = {"old_password": PASSWORD, "new_password": OTHER}
        problem = check_problem(await client.post(f"{AUTH}/password", json=body), 409, "conflict")
        assert "the key is in the settings" in problem.detail


class TestLockout:
    async def test_after_some_failures_one_has_to_wait(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        async with database.transaction() as tx:  # as from an address that is not known
            await tx.connection.execute(text("UPDATE sessions SET source = '192.0.2.9'"))
        for _ in range(5):
            check_problem(await try_login(client, password=OTHER), 401, "login_refused")
        answer = await try_login(client)
        problem = check_problem(answer, 429, "locked_out")
        seconds = int(answer.headers["retry-after"])
        assert problem.detail == f"too many logins as `ann` have failed; try again in {seconds} s"
        assert 1 <= seconds <= 60
        # Neither a session nor a key of hers is held up.
        assert (await client.get(JOBS, headers=bearing(login))).status_code == 200
        await next_of(client, login)
        body = {"name": "ci", "user": "ann"}
        key = (await client.post("/api/v1/keys", json=body)).json()["key"]
        assert (await client.get(JOBS, headers={"authorization": f"Bearer {key}"})).is_success
        await earlier(database, "login_attempts", "locked_until", "61 s")
        await log_in(client)

    async def test_guessing_the_old_password_counts_too(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        async with database.transaction() as tx:
            await tx.connection.execute(text("UPDATE sessions SET source = '192.0.2.9'"))
        body = {"old_password": OTHER, "new_password": PASSWORD}
        answers = [
            await client.post(f"{AUTH}/password", json=body, headers=bearing(login))
            for _ in range(6)
        ]
        assert [answer.status_code for answer in answers] == [403] * 5 + [429]
