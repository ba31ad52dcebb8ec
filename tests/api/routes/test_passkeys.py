"""Passkeys as a second factor: registered, asked for, used once each, named, removed."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.schemas.auth import LoggedIn
from cortex.settings import Settings
from tests.api.logins import AUTH, OTHER, PASSWORD, bearing, log_in, person, try_login
from tests.api.routes.test_second_factors import confirmed
from tests.api.support import check_problem, client_of
from tests.support.authenticator import Authenticator, encoded

PASSKEYS = f"{AUTH}/passkeys"


async def begun(client: httpx.AsyncClient, login: LoggedIn) -> dict[str, Any]:
    body = {"password": PASSWORD}
    answer = await client.post(f"{PASSKEYS}/options", json=body, headers=bearing(login))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    options: dict[str, Any] = answer.json()["publicKey"]
    return options


async def try_register(
    client: httpx.AsyncClient, login: LoggedIn, device: Authenticator, name: str = "blue key"
) -> httpx.Response:
    body = {"name": name, "credential": device.create(await begun(client, login))}
    return await client.post(PASSKEYS, json=body, headers=bearing(login))


async def registered(
    client: httpx.AsyncClient, login: LoggedIn, device: Authenticator, name: str = "blue key"
) -> dict[str, Any]:
    answer = await try_register(client, login, device, name)
    assert answer.status_code == 201, answer.text
    added: dict[str, Any] = answer.json()
    return added


async def asked(client: httpx.AsyncClient, name: str = "ann") -> dict[str, Any]:
    """What a browser gets that wants to log in with a passkey."""
    body = {"name": name, "password": PASSWORD}
    answer = await client.post(f"{AUTH}/login/passkey", json=body)
    assert answer.status_code == 200, answer.text
    options: dict[str, Any] = answer.json()["publicKey"]
    return options


async def refused(client: httpx.AsyncClient, credential: dict[str, Any]) -> str:
    answer = await try_login(client, passkey=credential)
    return check_problem(answer, 401, "second_factor_needed").detail


class TestRegistration:
    async def test_logins_need_it_from_then_on(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login, device = await log_in(client), Authenticator()
        added = await registered(client, login, device)
        assert added["passkey"]["name"] == "blue key"
        assert len(added["recovery_codes"]) == 10
        problem = check_problem(await try_login(client), 401, "second_factor_needed")
        assert "a passkey, or a code" in problem.detail
        again = await log_in(client, passkey=device.get(await asked(client)))
        state = (await client.get(f"{AUTH}/second-factor", headers=bearing(again))).json()
        assert state == {"confirmed_at": None, "recovery_codes_left": 10, "passkeys": 1}
        (shown,) = (await client.get(PASSKEYS, headers=bearing(again))).json()["items"]
        assert shown["last_used_at"] is not None
        async with database.reading() as tx:
            query = text("SELECT action FROM audit_log WHERE actor = 'ann' ORDER BY id")
            actions = (await tx.connection.execute(query)).scalars().all()
        assert actions == ["session.login", "passkey.create", "session.login"]

    async def test_it_needs_the_password(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        answer = await client.post(
            f"{PASSKEYS}/options", json={"password": OTHER}, headers=bearing(login)
        )
        check_problem(answer, 403, "wrong_password")

    async def test_what_the_browser_is_told(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login, device = await log_in(client), Authenticator()
        await registered(client, login, device)
        options = await begun(client, login)
        assert options["rp"] == {"id": "localhost", "name": "Cortex"}
        assert options["user"]["name"] == "ann"
        known = [each["id"] for each in options["excludeCredentials"]]
        assert known == [encoded(device.credential_id)]

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda device: setattr(device, "origin", "https://evil.test"),
            lambda device: setattr(device, "rp_id", "evil.test"),
            lambda device: setattr(device, "present", False),
            lambda device: setattr(device, "kind", "webauthn.get"),
            lambda device: setattr(device, "other_challenge", encoded(b"x" * 32)),
        ],
        ids=["origin", "site", "nobody there", "kind", "challenge"],
    )
    async def test_what_is_not_good(
        self,
        client: httpx.AsyncClient,
        database: Database,
        spoil: Callable[[Authenticator], None],
    ) -> None:
        await person(client, database)
        login, device = await log_in(client), Authenticator()
        spoil(device)
        check_problem(await try_register(client, login, device), 403, "invalid_code")
        await log_in(client)  # nothing is asked for

    async def test_a_challenge_is_good_once_and_for_who_asked(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        await person(client, database, "bob")
        ann, bob = await log_in(client), await log_in(client, "bob")
        options = await begun(client, ann)
        body = {"name": "a", "credential": Authenticator().create(options)}
        answer = await client.post(PASSKEYS, json=body, headers=bearing(bob))
        check_problem(answer, 403, "invalid_code")
        answer = await client.post(PASSKEYS, json=body, headers=bearing(ann))
        check_problem(answer, 403, "invalid_code")  # it is used up

    async def test_one_that_is_registered_already(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login, device = await log_in(client), Authenticator()
        await registered(client, login, device)
        check_problem(await try_register(client, login, device), 409, "conflict")


class TestLogin:
    @pytest.mark.parametrize(
        "spoil",
        [
            lambda device: setattr(device, "origin", "https://evil.test"),
            lambda device: setattr(device, "rp_id", "evil.test"),
            lambda device: setattr(device, "present", False),
            lambda device: setattr(device, "kind", "webauthn.create"),
            lambda device: setattr(device, "other_challenge", encoded(b"x" * 32)),
            lambda device: setattr(device, "_key", Authenticator()._key),
            lambda device: setattr(device, "credential_id", b"x" * 32),
        ],
        ids=["origin", "site", "nobody there", "kind", "challenge", "signature", "another one"],
    )
    async def test_what_is_not_good(
        self,
        client: httpx.AsyncClient,
        database: Database,
        spoil: Callable[[Authenticator], None],
    ) -> None:
        await person(client, database)
        device = Authenticator()
        await registered(client, await log_in(client), device)
        spoil(device)
        detail = await refused(client, device.get(await asked(client)))
        assert "the passkey is not taken" in detail

    async def test_an_answer_is_taken_once(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        device = Authenticator()
        await registered(client, await log_in(client), device)
        credential = device.get(await asked(client))
        answers = await asyncio.gather(*(try_login(client, passkey=credential) for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [200, 401, 401]

    async def test_a_challenge_is_over_after_minutes(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        device = Authenticator()
        await registered(client, await log_in(client), device)
        credential = device.get(await asked(client))
        async with database.transaction() as tx:
            await tx.connection.execute(text("UPDATE passkey_challenges SET expires_at = now()"))
        assert "used before" in await refused(client, credential)

    async def test_a_counter_that_went_back(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        """As that of a copy does, which was used less often."""
        await person(client, database)
        device = Authenticator(count=10)
        await registered(client, await log_in(client), device)
        await log_in(client, passkey=device.get(await asked(client)))
        device.count = 9
        assert "counter went back" in await refused(client, device.get(await asked(client)))
        device.count = 11
        await log_in(client, passkey=device.get(await asked(client)))

    async def test_one_that_does_not_count(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        device = Authenticator(count=None)
        await registered(client, await log_in(client), device)
        for _ in range(2):
            await log_in(client, passkey=device.get(await asked(client)))

    async def test_only_who_knows_the_password_is_asked(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        for name, password in (("ann", OTHER), ("nobody", PASSWORD)):
            body = {"name": name, "password": password}
            answer = await client.post(f"{AUTH}/login/passkey", json=body)
            check_problem(answer, 401, "login_refused")
        answer = await client.post(
            f"{AUTH}/login/passkey", json={"name": "ann", "password": PASSWORD}
        )
        check_problem(answer, 409, "conflict")

    async def test_wrong_ones_count_as_failed_logins(
        self, client: httpx.AsyncClient, database: Database, settings: Settings
    ) -> None:
        await person(client, database)
        device = Authenticator()
        await registered(client, await log_in(client), device)
        credential = device.get(await asked(client))
        await log_in(client, passkey=credential)
        async with database.transaction() as tx:  # they have logged in from here, too
            await tx.connection.execute(text("UPDATE sessions SET source = '192.0.2.1'"))
        for _ in range(settings.lockout.account_free):
            await refused(client, credential)
        check_problem(await try_login(client, passkey=credential), 429, "locked_out")


class TestBesideTheApp:
    async def test_recovery_codes_stay_with_the_last_factor(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login, device = await log_in(client), Authenticator()
        added = await registered(client, login, device)
        code = added["recovery_codes"][0]
        await log_in(client, code=code)
        check_problem(await try_login(client, code=code), 401, "second_factor_needed")
        problem = check_problem(await try_login(client, code="123456"), 401, "second_factor_needed")
        assert "no app" in problem.detail
        passkey = added["passkey"]["id"]
        body = {"password": PASSWORD}
        path = f"{PASSKEYS}/{passkey}/remove"
        answer = await client.post(path, json={"password": OTHER}, headers=bearing(login))
        check_problem(answer, 403, "wrong_password")
        assert (await client.post(path, json=body, headers=bearing(login))).status_code == 204
        await log_in(client)  # nothing is asked for any more
        state = (await client.get(f"{AUTH}/second-factor", headers=bearing(login))).json()
        assert (state["recovery_codes_left"], state["passkeys"]) == (0, 0)

    async def test_either_is_enough(self, client: httpx.AsyncClient, database: Database) -> None:
        await person(client, database)
        login, device = await log_in(client), Authenticator()
        _, codes = await confirmed(client, database, login)
        added = await registered(client, login, device)
        assert added["recovery_codes"] is None  # those that there are stay
        await log_in(client, passkey=device.get(await asked(client)))
        await log_in(client, code=codes.recovery_codes[0])
        body = {"password": PASSWORD}
        answer = await client.post(
            f"{AUTH}/second-factor/disable", json=body, headers=bearing(login)
        )
        assert answer.status_code == 204
        check_problem(await try_login(client), 401, "second_factor_needed")
        await log_in(client, code=codes.recovery_codes[1])

    async def test_an_admin_removes_all(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        await registered(client, await log_in(client), Authenticator())
        assert (await client.delete("/api/v1/users/ann/second-factor")).status_code == 204
        await log_in(client)


class TestOwn:
    async def test_names(self, client: httpx.AsyncClient, database: Database) -> None:
        await person(client, database)
        login = await log_in(client)
        added = await registered(client, login, Authenticator())
        path = f"{PASSKEYS}/{added['passkey']['id']}"
        answer = await client.patch(path, json={"name": "red key"}, headers=bearing(login))
        assert answer.json()["name"] == "red key"

    async def test_those_of_others_are_not_there(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        await person(client, database, "bob")
        added = await registered(client, await log_in(client), Authenticator())
        bob = await log_in(client, "bob")
        path = f"{PASSKEYS}/{added['passkey']['id']}"
        answer = await client.patch(path, json={"name": "mine"}, headers=bearing(bob))
        check_problem(answer, 404, "not_found")
        body = {"password": PASSWORD}
        answer = await client.post(f"{path}/remove", json=body, headers=bearing(bob))
        check_problem(answer, 404, "not_found")
        assert (await client.get(PASSKEYS, headers=bearing(bob))).json() == {"items": []}

    async def test_a_bounded_number(self, client: httpx.AsyncClient, database: Database) -> None:
        await person(client, database)
        login = await log_in(client)
        await registered(client, login, Authenticator())
        async with database.transaction() as tx:
            await tx.connection.execute(
                text(
                    "INSERT INTO passkeys SELECT n::text, user_id, int4send(n), public_key, 0, "
                    "name, false FROM passkeys, generate_series(1, 19) n"
                )
            )
        answer = await client.post(
            f"{PASSKEYS}/options", json={"password": PASSWORD}, headers=bearing(login)
        )
        check_problem(answer, 409, "conflict")


async def test_the_site_of_the_settings(
    settings: Settings, database: Database, providers: None
) -> None:
    api = settings.api.model_copy(update={"public_url": "https://cortex.test"})
    rules = settings.passkeys.model_copy(update={"require_verification": True})
    chosen = settings.model_copy(update={"api": api, "passkeys": rules})
    async with client_of(chosen) as client:
        await person(client, database)
        login = await log_in(client)
        options = await begun(client, login)
        assert options["rp"]["id"] == "cortex.test"
        assert options["authenticatorSelection"]["userVerification"] == "required"
        elsewhere = Authenticator(origin="http://localhost:8700")
        check_problem(await try_register(client, login, elsewhere), 403, "invalid_code")
        await registered(client, login, Authenticator(origin="https://cortex.test"))
