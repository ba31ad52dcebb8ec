"""The second factor: enrolled, asked for, used once, recovered from, removed."""

import asyncio
import base64
import os
import time

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from activities.secrets import rotate_secrets
from cortex.db.engine import Database
from cortex.schemas.auth import Enrolment, LoggedIn, RecoveryCodes
from cortex.security import totp
from cortex.security.keyring import KeyRing
from cortex.settings import Settings
from tests.api.logins import AUTH, OTHER, PASSWORD, bearing, log_in, person, try_login
from tests.api.support import check_problem, client_of

FACTOR = f"{AUTH}/second-factor"


async def enrolled(client: httpx.AsyncClient, login: LoggedIn) -> Enrolment:
    answer = await client.post(FACTOR, json={"password": PASSWORD}, headers=bearing(login))
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return Enrolment.model_validate_json(answer.content)


async def confirmed(
    client: httpx.AsyncClient, database: Database, login: LoggedIn
) -> tuple[str, RecoveryCodes]:
    """The secret of an app, and recovery codes; as if it had been confirmed long ago."""
    secret = (await enrolled(client, login)).secret
    body = {"code": code_of(secret)}
    answer = await client.post(f"{FACTOR}/confirm", json=body, headers=bearing(login))
    assert answer.status_code == 200, answer.text
    async with database.transaction() as tx:
        await tx.connection.execute(text("UPDATE totp_seeds SET last_step = 0"))
    return secret, RecoveryCodes.model_validate_json(answer.content)


def code_of(secret: str) -> str:
    """What the app shows; a step later it is taken as well."""
    return totp.code_at(secret, time.time())


class TestEnrolment:
    async def test_it_is_asked_for_once_it_is_confirmed(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        enrolment = await enrolled(client, login)
        assert f"secret={enrolment.secret}" in enrolment.uri
        await log_in(client)  # not asked for yet
        for code, status in (("000000", 403), (code_of(enrolment.secret), 200)):
            body = {"code": code}
            answer = await client.post(f"{FACTOR}/confirm", json=body, headers=bearing(login))
            assert answer.status_code == status, answer.text
        assert len(set(answer.json()["recovery_codes"])) == 10
        state = (await client.get(FACTOR, headers=bearing(login))).json()
        assert (state["confirmed_at"] is not None, state["recovery_codes_left"]) == (True, 10)
        problem = check_problem(await try_login(client), 401, "second_factor_needed")
        assert "a code of your second factor is needed" in problem.detail
        # Only to whoever knows the password it is told that there is one.
        check_problem(await try_login(client, password=OTHER), 401, "login_refused")
        async with database.reading() as tx:
            query = text("SELECT action FROM audit_log WHERE action LIKE 'second%' ORDER BY id")
            actions = (await tx.connection.execute(query)).scalars().all()
        assert actions == ["second_factor.enrol", "second_factor.confirm"]

    async def test_it_needs_the_password(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        answer = await client.post(FACTOR, json={"password": OTHER}, headers=bearing(login))
        check_problem(answer, 403, "wrong_password")
        check_problem(await client.post(FACTOR, json={"password": PASSWORD}), 409, "conflict")

    async def test_there_is_one_at_most(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        first, second = await enrolled(client, login), await enrolled(client, login)
        assert first.secret != second.secret  # the first was not confirmed
        body = {"code": code_of(first.secret)}
        answer = await client.post(f"{FACTOR}/confirm", json=body, headers=bearing(login))
        check_problem(answer, 403, "invalid_code")
        await confirmed(client, database, login)
        answer = await client.post(FACTOR, json={"password": PASSWORD}, headers=bearing(login))
        check_problem(answer, 409, "conflict")
        answer = await client.post(
            f"{FACTOR}/confirm", json={"code": "123456"}, headers=bearing(login)
        )
        check_problem(answer, 409, "conflict")

    async def test_the_secret_is_sealed_and_rotated(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        secret, codes = await confirmed(client, database, await log_in(client))
        old, new = b"0" * 32, os.urandom(32)
        await rotate_secrets(database, KeyRing({"k2": new, "k1": old}))
        async with database.reading() as tx:
            query = text("SELECT s.id, s.sealed FROM totp_seeds s")
            row = (await tx.connection.execute(query)).one()
            rest = str((await tx.connection.execute(text("SELECT * FROM recovery_codes"))).all())
        opened = KeyRing({"k2": new}).decrypt(bytes(row.sealed), f"totp:{row.id}")
        assert opened == {"secret": secret}
        assert not [code for code in codes.recovery_codes if code in rest]


class TestCodes:
    async def test_a_code_works_once(self, client: httpx.AsyncClient, database: Database) -> None:
        await person(client, database)
        secret, _ = await confirmed(client, database, await log_in(client))
        code = code_of(secret)
        await log_in(client, code=code)
        problem = check_problem(await try_login(client, code=code), 401, "second_factor_needed")
        assert "was used already" in problem.detail

    async def test_two_logins_at_once_cannot_share_one(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        secret, _ = await confirmed(client, database, await log_in(client))
        code = code_of(secret)
        answers = await asyncio.gather(*(try_login(client, code=code) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]

    async def test_wrong_codes_are_slowed_down(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        secret, _ = await confirmed(client, database, await log_in(client))
        async with database.transaction() as tx:
            await tx.connection.execute(text("UPDATE sessions SET source = '192.0.2.9'"))
        wrong = f"{(int(code_of(secret)) + 7) % 10**6:06}"
        for _ in range(5):
            check_problem(await try_login(client, code=wrong), 401, "second_factor_needed")
        check_problem(await try_login(client, code=code_of(secret)), 429, "locked_out")

    async def test_asking_without_a_code_is_no_failure(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        secret, _ = await confirmed(client, database, await log_in(client))
        for _ in range(8):
            check_problem(await try_login(client), 401, "second_factor_needed")
        await log_in(client, code=code_of(secret))

    async def test_a_recovery_code_works_once(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        _, codes = await confirmed(client, database, await log_in(client))
        one, other = codes.recovery_codes[:2]
        login = await log_in(client, code=one)
        check_problem(await try_login(client, code=one), 401, "second_factor_needed")
        await log_in(client, code=other)
        state = (await client.get(FACTOR, headers=bearing(login))).json()
        assert state["recovery_codes_left"] == 8
        async with database.reading() as tx:
            query = text("SELECT actor FROM audit_log WHERE action = 'second_factor.recovery'")
            assert (await tx.connection.execute(query)).scalars().all() == ["ann", "ann"]

    @pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "1" * 19])
    async def test_what_is_no_code(self, client: httpx.AsyncClient, code: str) -> None:
        problem = check_problem(await try_login(client, code=code), 422, "invalid_request")
        assert problem.errors[0].field == "code"


class TestRemoval:
    async def test_it_needs_the_password(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        await confirmed(client, database, login)
        for password, status in ((OTHER, 403), (PASSWORD, 204), (PASSWORD, 204)):
            answer = await client.post(
                f"{FACTOR}/disable", json={"password": password}, headers=bearing(login)
            )
            assert answer.status_code == status, answer.text
        await log_in(client)
        await confirmed(client, database, login)  # and another one is no problem

    async def test_an_admin_removes_that_of_somebody_else(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        await confirmed(client, database, login)
        path = "/api/v1/users/ann/second-factor"
        check_problem(await client.delete(path, headers=bearing(login)), 403, "forbidden")
        for _ in range(2):
            assert (await client.delete(path)).status_code == 204
        check_problem(await client.delete("/api/v1/users/eve/second-factor"), 404, "not_found")
        await log_in(client)
        async with database.reading() as tx:
            query = text(
                "SELECT actor, subject FROM audit_log WHERE action = 'second_factor.reset'"
            )
            assert (await tx.connection.execute(query)).all() == [("local", "ann")]

    async def test_a_new_password_keeps_it(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        secret, _ = await confirmed(client, database, await log_in(client))
        token = (await client.post("/api/v1/users/ann/invitation")).json()["token"]
        body = {"token": token, "password": OTHER}
        assert (await client.post(f"{AUTH}/redeem", json=body)).status_code == 204
        answer = await try_login(client, password=OTHER)
        check_problem(answer, 401, "second_factor_needed")
        await log_in(client, password=OTHER, code=code_of(secret))

    async def test_without_its_encryption_key_recovery_codes_are_left(
        self, settings: Settings, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        secret, codes = await confirmed(client, database, await log_in(client))
        other = SecretStr(f"k9:{base64.b64encode(os.urandom(32)).decode()}")
        async with client_of(settings.model_copy(update={"encryption_keys": other})) as changed:
            problem = check_problem(
                await try_login(changed, code=code_of(secret)), 503, "service_unavailable"
            )
            assert "encryption key `k1` is not configured" in problem.detail
            await log_in(changed, code=codes.recovery_codes[0])

    async def test_without_encryption_keys_there_is_none(
        self, settings: Settings, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        async with client_of(settings.model_copy(update={"encryption_keys": None})) as bare:
            answer = await bare.post(FACTOR, json={"password": PASSWORD}, headers=bearing(login))
            problem = check_problem(answer, 503, "service_unavailable")
            assert "second factors cannot be stored" in problem.detail
