"""Passwords and sessions: logging in, refreshing, logging out, changing the password."""

import asyncio
import json
import time
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.passwords import PasswordRules
from cortex.domain.sessions import RefreshToken
from cortex.schemas.auth import LoggedIn, SessionPage
from cortex.schemas.server import Info
from cortex.settings import Settings
from tests.api.logins import AUTH, OTHER, PASSWORD, bearing, log_in, person, try_login
from tests.api.support import JOBS, check_problem, client_of, submit
from tests.support import eventually

SESSIONS = f"{AUTH}/sessions"


async def refreshed(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post(f"{AUTH}/refresh", json={"refresh_token": token})


async def next_of(client: httpx.AsyncClient, login: LoggedIn) -> LoggedIn:
    answer = await refreshed(client, login.refresh_token)
    assert answer.status_code == 200, answer.text
    return LoggedIn.model_validate_json(answer.content)


async def refused_soon(client: httpx.AsyncClient, login: LoggedIn) -> str:
    """Wait until its access token opens nothing; why."""

    async def refused() -> bool:
        return (await client.get(JOBS, headers=bearing(login))).status_code == 401

    await eventually(refused, within=8)
    answer = await client.get(JOBS, headers=bearing(login))
    return check_problem(answer, 401, "not_logged_in").detail


async def audited(database: Database, pattern: str) -> list[tuple[str, str, str]]:
    query = text(
        "SELECT actor, action, outcome FROM audit_log WHERE action LIKE :pattern ORDER BY id"
    )
    async with database.reading() as tx:
        rows = await tx.connection.execute(query, {"pattern": pattern})
        return [(row.actor, row.action, row.outcome) for row in rows]


async def earlier(database: Database, table: str, column: str, by: str) -> None:
    async with database.transaction() as tx:
        await tx.connection.execute(
            text(f"UPDATE {table} SET {column} = {column} - CAST(:by AS interval)"), {"by": by}
        )


class TestLogin:
    async def test_whoever_has_logged_in_is_that_user(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        assert (login.token_type, login.expires_in) == ("Bearer", 600)
        assert (login.session.user, login.session.source) == ("ann", "127.0.0.1")
        answer = await client.get("/api/v1/info", headers=bearing(login))
        info = Info.model_validate_json(answer.content)
        assert (info.user, info.role) == ("ann", "developer")
        client.headers.update(bearing(login))
        job_id = await submit(client)
        assert (await client.get(f"{JOBS}/{job_id}")).json()["owner"] == "ann"
        assert await audited(database, "session.%") == [("ann", "session.login", "done")]

    async def test_every_refusal_is_the_same(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        """Unknown, without a password, switched off, wrong: nobody learns which."""
        await person(client, database)
        await person(client, database, "off")
        await client.patch("/api/v1/users/off", json={"active": False})
        await client.post("/api/v1/users", json={"name": "new", "role": "viewer"})
        await client.post(
            "/api/v1/users", json={"name": "bot", "role": "viewer", "kind": "service"}
        )
        tried = [("ann", OTHER), *((name, PASSWORD) for name in ("eve", "off", "new", "bot"))]
        answers = [await try_login(client, *each) for each in tried]
        problems = [check_problem(answer, 401, "login_refused") for answer in answers]
        assert {problem.detail for problem in problems} == {"the name or the password is wrong"}
        assert all(answer.headers["www-authenticate"] == "Bearer" for answer in answers)

    async def test_an_unknown_user_takes_as_long_as_a_wrong_password(
        self, settings: Settings, client: httpx.AsyncClient, database: Database
    ) -> None:
        rules = PasswordRules(memory=16 * 2**20, rounds=1)
        dear = settings.model_copy(update={"passwords": rules})
        async with client_of(dear) as slow:
            await person(slow, database, rules=rules)
            await log_in(slow)  # all is loaded, and there is a signing key

            async def took(name: str) -> float:
                """Seconds of processor time: other programs do not count."""
                began = time.process_time()
                await try_login(slow, name, OTHER)
                return time.process_time() - began

            pairs = [(await took("ann"), await took("eve")) for _ in range(4)]
            known, unknown = (min(seconds) for seconds in zip(*pairs, strict=True))
            # One hash is most of it; without one the answer takes a fraction.
            assert unknown > 0.6 * known

    async def test_failures_are_in_the_audit_log(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        await try_login(client, "ann", OTHER)

        async def written() -> bool:
            return await audited(database, "session.%") == [("", "session.login", "denied")]

        await eventually(written)
        async with database.reading() as tx:
            query = text("SELECT subject FROM audit_log WHERE action = 'session.login'")
            assert (await tx.connection.execute(query)).scalar_one() == "ann"

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"name": "A B"}, "name"),
            ({"password": ""}, "password"),
            ({"password": "x" * 257}, "password"),
            ({"password": 7}, "password"),
            ({"password": "a\0b"}, "password"),
            ({"password": "\ud800 half a character"}, "password"),
            ({"role": "admin"}, "role"),
        ],
    )
    async def test_bad_input_names_the_field(
        self, client: httpx.AsyncClient, values: dict[str, object], field: str
    ) -> None:
        body = json.dumps({"name": "ann", "password": PASSWORD, **values})
        headers = {"content-type": "application/json"}
        answer = await client.post(f"{AUTH}/login", content=body, headers=headers)
        assert answer.status_code in (400, 422), answer.text
        assert answer.json()["errors"][0]["field"] == field
        assert PASSWORD not in answer.text

    async def test_costs_that_change_are_taken_over_at_the_next_login(
        self, settings: Settings, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        rules = PasswordRules(memory=16 * 2**10, rounds=2)
        async with client_of(settings.model_copy(update={"passwords": rules})) as newer:
            await log_in(newer)
        query = text("SELECT password_hash FROM users")
        async with database.reading() as tx:
            stored = (await tx.connection.execute(query)).scalar_one()
        assert "m=16,t=2" in stored
        await log_in(client)

    async def test_without_encryption_keys_nobody_logs_in(
        self, settings: Settings, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        async with client_of(settings.model_copy(update={"encryption_keys": None})) as bare:
            problem = check_problem(await try_login(bare), 503, "service_unavailable")
            assert "no `encryption_keys` are configured" in problem.detail
            assert (await bare.get(JOBS)).status_code == 200

    async def test_the_same_letters_are_the_same_password(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database, password="h\u00e9ron cendr\u00e9 huit")
        await log_in(client, password="he\u0301ron cendre\u0301 huit")

    async def test_where_the_settings_have_no_key(
        self, settings: Settings, client: httpx.AsyncClient, database: Database
    ) -> None:
        """Nobody must log in to use their own machine; whoever does is that user."""
        await person(client, database)
        alone = settings.model_copy(update={"api": settings.api.model_copy(update={"key": None})})
        async with client_of(alone) as local:
            del local.headers["authorization"]
            login = await log_in(local)
            infos = [await local.get("/api/v1/info", headers=h) for h in ({}, bearing(login))]
            assert [info.json()["user"] for info in infos] == ["local", "ann"]
            elsewhere = {"origin": "http://evil.test"}
            body = {"name": "ann", "password": PASSWORD}
            answer = await local.post(f"{AUTH}/login", json=body, headers=elsewhere)
            check_problem(answer, 401, "not_authenticated")


class TestRefresh:
    async def test_each_token_gives_the_next_one(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        second = await next_of(client, login)
        third = await next_of(client, second)
        assert len({each.refresh_token for each in (login, second, third)}) == 3
        assert {each.session.id for each in (login, second, third)} == {login.session.id}
        for each in (login, second, third):
            assert (await client.get(JOBS, headers=bearing(each))).status_code == 200

    async def test_two_tabs_at_once_get_the_same_next_one(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        both = await asyncio.gather(*(next_of(client, login) for _ in range(4)))
        assert len({each.refresh_token for each in both}) == 1
        await next_of(client, both[0])
        assert (await client.get(JOBS, headers=bearing(login))).status_code == 200

    async def test_a_used_one_that_comes_later_ends_the_session(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login, other = await log_in(client), await log_in(client)
        newer = await next_of(client, login)
        await earlier(database, "refresh_tokens", "used_at", "61 s")
        answer = await refreshed(client, login.refresh_token)
        assert "somebody else may have it" in check_problem(answer, 401, "not_logged_in").detail
        answer = await refreshed(client, newer.refresh_token)
        assert "the session has ended" in check_problem(answer, 401, "not_logged_in").detail
        assert "because a refresh token came twice" in await refused_soon(client, newer)
        assert (await client.get(JOBS, headers=bearing(other))).status_code == 200
        assert ("ann", "session.reuse", "denied") in await audited(database, "session.%")

    async def test_what_is_none(self, client: httpx.AsyncClient, database: Database) -> None:
        answer = await refreshed(client, RefreshToken.make().text)
        check_problem(answer, 401, "not_logged_in")
        check_problem(await refreshed(client, "ctr_x"), 422, "invalid_request")
        await person(client, database)
        login = await log_in(client)
        check_problem(await refreshed(client, login.access_token), 422, "invalid_request")
        answer = await client.get(JOBS, headers={"x-api-key": login.refresh_token})
        assert answer.status_code == 200  # the client's own key counts, the header is no access
        headers = {"authorization": f"Bearer {login.refresh_token}"}
        check_problem(await client.get(JOBS, headers=headers), 401, "not_authenticated")

    async def test_one_that_was_not_used_for_long_and_a_user_who_is_off(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        idle, off = await log_in(client), await log_in(client)
        async with database.transaction() as tx:
            await tx.connection.execute(
                text("UPDATE refresh_tokens SET expires_at = now() WHERE session_id = :id"),
                {"id": idle.session.id},
            )
        answer = await refreshed(client, idle.refresh_token)
        assert "was not used for too long" in check_problem(answer, 401, "not_logged_in").detail
        await client.patch("/api/v1/users/ann", json={"active": False})
        answer = await refreshed(client, off.refresh_token)
        assert "is switched off" in check_problem(answer, 401, "not_logged_in").detail
        assert await refused_soon(client, off) == "`ann` is switched off"

    async def test_a_session_lasts_no_longer_than_it_may(
        self, settings: Settings, client: httpx.AsyncClient, database: Database
    ) -> None:
        rules = settings.sessions.model_copy(update={"longest": timedelta(days=1)})
        async with client_of(settings.model_copy(update={"sessions": rules})) as short:
            await person(short, database)
            login = await log_in(short)
            later = await next_of(short, login)
            assert later.session.expires_at == login.session.expires_at
            assert login.session.expires_at - login.session.created_at < timedelta(
                days=1, minutes=1
            )

    async def test_no_row_and_no_answer_has_a_token(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await next_of(client, await log_in(client))
        secrets = (login.refresh_token[4:], login.access_token, PASSWORD)
        seen = [(await client.get(path)).text for path in (SESSIONS, "/api/v1/audit")]
        async with database.reading() as tx:
            for table in ("sessions", "refresh_tokens", "users", "audit_log", "signing_keys"):
                rows = await tx.connection.execute(text(f"SELECT * FROM {table}"))
                seen.append(str(rows.all()))
        assert not [secret for secret in secrets if secret in "".join(seen)]


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
