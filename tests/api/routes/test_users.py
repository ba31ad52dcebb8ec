"""Invitations and resets: one-time links by which somebody sets a password."""

import asyncio

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.links import LinkToken
from cortex.schemas.auth import Invitation
from cortex.settings import Settings, SmtpSettings
from tests.api.logins import AUTH, OTHER, PASSWORD, bearing, log_in, person, try_login
from tests.api.support import check_problem

USERS = "/api/v1/users"


async def invited(client: httpx.AsyncClient, name: str = "ann", **values: str) -> Invitation:
    answer = await client.post(f"{USERS}/{name}/invitation", json=values)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return Invitation.model_validate_json(answer.content)


async def redeemed(
    client: httpx.AsyncClient, token: str, password: str = PASSWORD
) -> httpx.Response:
    return await client.post(f"{AUTH}/redeem", json={"token": token, "password": password})


async def added(client: httpx.AsyncClient, name: str = "ann", **values: str) -> None:
    body = {"name": name, "role": "developer", **values}
    assert (await client.post(USERS, json=body)).status_code == 201


class TestInvitation:
    async def test_it_sets_the_first_password_once(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await added(client)
        invitation = await invited(client)
        assert (invitation.user, invitation.kind) == ("ann", "invitation")
        assert (await redeemed(client, invitation.token)).status_code == 204
        await log_in(client)
        answer = await redeemed(client, invitation.token, OTHER)
        assert "was used already" in check_problem(answer, 401, "not_logged_in").detail
        await log_in(client)
        async with database.reading() as tx:
            query = text("SELECT actor, action, data FROM audit_log WHERE action LIKE 'user.%'")
            rows = (await tx.connection.execute(query)).all()
            stored = str((await tx.connection.execute(text("SELECT * FROM login_links"))).all())
        assert [(row.actor, row.action) for row in rows] == [
            ("local", "user.create"),
            ("local", "user.invite"),
            ("ann", "user.redeem"),
        ]
        assert invitation.token not in stored + str(rows)

    async def test_two_at_once_are_one(self, client: httpx.AsyncClient) -> None:
        await added(client)
        token = (await invited(client)).token
        answers = await asyncio.gather(
            *(redeemed(client, token, password) for password in (PASSWORD, OTHER))
        )
        assert sorted(answer.status_code for answer in answers) == [204, 401]

    async def test_a_weak_password_does_not_use_it_up(self, client: httpx.AsyncClient) -> None:
        await added(client)
        token = (await invited(client)).token
        problem = check_problem(await redeemed(client, token, "annannann1"), 422, "invalid_request")
        assert problem.errors[0].field == "password"
        assert (await redeemed(client, token)).status_code == 204

    async def test_a_newer_one_takes_its_place(self, client: httpx.AsyncClient) -> None:
        await added(client)
        older, newer = await invited(client), await invited(client)
        answer = await redeemed(client, older.token)
        assert "a newer one took its place" in check_problem(answer, 401, "not_logged_in").detail
        assert (await redeemed(client, newer.token)).status_code == 204

    async def test_one_that_expired_and_a_user_who_is_off(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await added(client)
        await added(client, "bob")
        of_ann, of_bob = await invited(client, expires_in="1h"), await invited(client, "bob")
        async with database.statement() as tx:
            await tx.connection.execute(
                text("UPDATE login_links SET expires_at = expires_at - interval '1 hour'")
            )
        await client.patch(f"{USERS}/bob", json={"active": False})
        for token, words in (
            (of_ann.token, "has expired"),
            (of_bob.token, "`bob` is switched off"),
            (LinkToken.make().text, "is not known"),
        ):
            answer = await redeemed(client, token)
            assert words in check_problem(answer, 401, "not_logged_in").detail

    async def test_who_cannot_be_invited(self, client: httpx.AsyncClient) -> None:
        await added(client, "bot", kind="service")
        await added(client, "off")
        await client.patch(f"{USERS}/off", json={"active": False})
        for name, status, code in (
            ("bot", 409, "conflict"),
            ("off", 409, "conflict"),
            ("eve", 404, "not_found"),
        ):
            check_problem(await client.post(f"{USERS}/{name}/invitation"), status, code)

    @pytest.mark.parametrize("lifetime", ["59s", "31d", "soon", "-1h"])
    async def test_how_long_it_may_be_good(self, client: httpx.AsyncClient, lifetime: str) -> None:
        await added(client)
        answer = await client.post(f"{USERS}/ann/invitation", json={"expires_in": lifetime})
        problem = check_problem(answer, 422, "invalid_request")
        assert problem.errors[0].field == "expires_in"


class TestReset:
    async def test_it_ends_what_was_open(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login = await log_in(client)
        for _ in range(6):
            await try_login(client, password=OTHER)
        reset = await invited(client)
        assert reset.kind == "reset"
        assert (await redeemed(client, reset.token, OTHER)).status_code == 204
        answer = await client.post(f"{AUTH}/refresh", json={"refresh_token": login.refresh_token})
        check_problem(answer, 401, "not_logged_in")
        # What failed before is forgotten.
        await log_in(client, password=OTHER)

    async def test_a_change_of_the_password_voids_it(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        login, reset = await log_in(client), await invited(client)
        body = {"old_password": PASSWORD, "new_password": OTHER}
        answer = await client.post(f"{AUTH}/password", json=body, headers=bearing(login))
        assert answer.status_code == 204
        check_problem(await redeemed(client, reset.token), 401, "not_logged_in")

    async def test_only_an_admin_makes_one(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database, role="operator")
        login = await log_in(client)
        answer = await client.post(f"{USERS}/ann/invitation", headers=bearing(login))
        check_problem(answer, 403, "forbidden")


class TestByMail:
    """Where the server sends mail; that a worker sends it is tested in `tests/notices`."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        smtp = SmtpSettings(host="localhost", sender="cortex@example.com")
        return settings.model_copy(update={"smtp": smtp})

    async def test_the_answer_says_whom_it_is_sent_to(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await added(client, email="ann@example.com")
        invitation = await invited(client)
        assert (invitation.token, invitation.sent_to) == ("", "ann@example.com")
        async with database.reading() as tx:
            query = text("SELECT recipient, channel, kind FROM messages")
            rows = (await tx.connection.execute(query)).all()
            query = text("SELECT data FROM audit_log WHERE action = 'user.invite'")
            data = (await tx.connection.execute(query)).scalar_one()
        assert [tuple(row) for row in rows] == [("ann", "email", "invitation")]
        assert data["after"]["by_email"] is True

    async def test_it_is_shown_where_that_is_asked_for_or_there_is_no_address(
        self, client: httpx.AsyncClient
    ) -> None:
        await added(client, email="ann@example.com")
        answer = await client.post(f"{USERS}/ann/invitation", json={"by_email": False})
        token = answer.json()["token"]
        assert (await redeemed(client, token)).status_code == 204
        await added(client, "bob")
        assert (await invited(client, "bob")).token
        answer = await client.post(f"{USERS}/bob/invitation", json={"by_email": True})
        assert "`bob` has no address" in check_problem(answer, 409, "conflict").detail

    async def test_an_address_is_changed_and_removed(self, client: httpx.AsyncClient) -> None:
        await added(client)
        for address in ("ann@example.com", ""):
            answer = await client.patch(f"{USERS}/ann", json={"email": address})
            assert (answer.status_code, answer.json()["email"]) == (200, address)
        answer = await client.patch(f"{USERS}/ann", json={"email": "a@b\r\nBcc: c@d"})
        assert check_problem(answer, 422, "invalid_request").errors[0].field == "email"
