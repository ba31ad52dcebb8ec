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
from cortex.schemas.auth import LoggedIn
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
