"""Logging in a program by a browser: approved once, by whoever has just logged in for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.device import DeviceRules
from cortex.domain.rights import Role
from cortex.domain.sso import OidcProvider
from cortex.schemas.auth import LoggedIn
from cortex.schemas.sso import DeviceLoginStarted
from cortex.settings import Settings
from tests.api.browser import HTML, hidden, sent
from tests.api.logins import AUTH, OTHER, PASSWORD, bearing, log_in, person
from tests.api.routes.test_passkeys import registered
from tests.api.support import check_problem, client_of
from tests.support.authenticator import Authenticator
from tests.support.issuer import CLIENT, issuing

DEVICE = f"{AUTH}/device"
OURS = {"origin": "http://127.0.0.1"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    # Whoever asks again here has always waited long enough, but where a test says otherwise.
    return settings.model_copy(
        update={"device_login": DeviceRules(interval=timedelta(milliseconds=100))}
    )


@pytest.fixture
async def browser(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """Of somebody else than the program, on another machine."""
    transport = client._transport
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as other:
        yield other


async def begun(
    client: httpx.AsyncClient, name: str = "cortex on <b>box</b>"
) -> DeviceLoginStarted:
    answer = await client.post(f"{DEVICE}/start", json={"client": name})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return DeviceLoginStarted.model_validate_json(answer.content)


async def asked(client: httpx.AsyncClient, started: DeviceLoginStarted) -> httpx.Response:
    """What the program hears, as if it had waited for long."""
    await earlier(client)
    return await client.post(f"{DEVICE}/token", json={"device_code": started.device_code})


async def earlier(client: httpx.AsyncClient) -> None:
    app = client._transport.app  # type: ignore[attr-defined]
    async with app.state.services.database.transaction() as tx:
        await tx.connection.execute(
            text("UPDATE device_logins SET asked_at = asked_at - interval '1 h'")
        )


async def shown(browser: httpx.AsyncClient, started: DeviceLoginStarted) -> httpx.Response:
    answer = await browser.get(started.verification_uri_complete, headers=HTML)
    assert answer.status_code == 200, answer.text
    return answer


async def named(
    browser: httpx.AsyncClient, started: DeviceLoginStarted, password: str = PASSWORD
) -> httpx.Response:
    """The page after a login by password."""
    page = await shown(browser, started)
    return await sent(browser, page, name="ann", password=password, code="")


class TestLogin:
    async def test_by_password(
        self, client: httpx.AsyncClient, browser: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        started = await begun(client)
        assert started.verification_uri == f"http://127.0.0.1{DEVICE}"
        check_problem(await asked(client, started), 400, "authorization_pending")
        page = await shown(browser, started)
        assert started.user_code in page.text
        assert "cortex on &lt;b&gt;box&lt;/b&gt;" in page.text
        page = await named(browser, started)
        assert "You are `ann`" in page.text
        # Who has logged in has not approved yet.
        check_problem(await asked(client, started), 400, "authorization_pending")
        page = await sent(browser, page, decision="approve")
        assert (page.status_code, "Go back to the program" in page.text) == (200, True)
        answer = await asked(client, started)
        login = LoggedIn.model_validate_json(answer.content)
        info = (await client.get("/api/v1/info", headers=bearing(login))).json()
        assert info["user"] == "ann"
        check_problem(await asked(client, started), 400, "expired_token")  # it is taken once
        async with database.reading() as tx:
            query = text("SELECT action, data->>'via' FROM audit_log WHERE actor = 'ann'")
            rows = [tuple(row) for row in await tx.connection.execute(query)]
        assert rows == [("session.approve", "password"), ("session.login", "device:password")]

    async def test_by_passkey(
        self, client: httpx.AsyncClient, browser: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        device = Authenticator()
        await registered(client, await log_in(client), device)
        started = await begun(client)
        page = await named(browser, started)
        assert "Use your passkey" in page.text
        policy = page.headers["content-security-policy"]
        assert "script-src 'sha256-" in policy
        assert "unsafe" not in policy
        options = json.loads(hidden(page)["options"])["publicKey"]
        credential = json.dumps(device.get(options))
        answer = await sent(browser, page, credential="{}")
        assert answer.status_code == 401
        shown_page = await sent(browser, page, credential=credential)
        assert "You are `ann`" in shown_page.text
        answer = await sent(browser, page, credential=credential)
        assert (answer.status_code, "used before" in answer.text) == (401, True)
        await sent(browser, shown_page, decision="approve")
        assert (await asked(client, started)).json()["session"]["user"] == "ann"

    @pytest.mark.parametrize("change", ["user", "password", "switched off"])
    async def test_a_passkey_alone_is_not_enough(
        self,
        client: httpx.AsyncClient,
        browser: httpx.AsyncClient,
        database: Database,
        change: str,
    ) -> None:
        """Its challenge is for who knew the password, as long as it is that."""
        await person(client, database)
        await person(client, database, "bob")
        login, device = await log_in(client), Authenticator()
        await registered(client, login, device)
        page = await named(browser, await begun(client))
        credential = json.dumps(device.get(json.loads(hidden(page)["options"])["publicKey"]))
        name = "bob" if change == "user" else "ann"
        if change == "password":
            body = {"old_password": PASSWORD, "new_password": OTHER}
            answer = await client.post(f"{AUTH}/password", json=body, headers=bearing(login))
            assert answer.status_code == 204, answer.text
        elif change == "switched off":
            await client.patch("/api/v1/users/ann", json={"active": False})
        answer = await sent(browser, page, credential=credential, name=name)
        assert answer.status_code == 401, answer.text

    async def test_denied(
        self, client: httpx.AsyncClient, browser: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        started = await begun(client)
        page = await sent(browser, await named(browser, started), decision="deny")
        assert "was not let in" in page.text
        check_problem(await asked(client, started), 400, "access_denied")
        async with database.reading() as tx:
            query = text("SELECT action FROM audit_log WHERE actor = 'ann' AND outcome = 'denied'")
            assert (await tx.connection.execute(query)).scalars().all() == ["session.approve"]

    async def test_by_another_service(
        self, settings: Settings, providers: None, database: Database
    ) -> None:
        async with issuing() as issuer:
            corp = OidcProvider(issuer=issuer.url, client_id=CLIENT, default_role=Role.VIEWER)
            offering = settings.model_copy(update={"oidc": {"corp": corp}})
            async with client_of(offering) as client, httpx.AsyncClient() as elsewhere:
                started = await begun(client)
                page = await shown(client, started)
                link = f"{DEVICE}/sso/corp?user_code={started.user_code}"
                assert f'href="{link}"' in page.text
                away = await client.get(link)
                back = (await elsewhere.get(away.headers["location"])).headers["location"]
                page = await client.get(back, headers=HTML)
                assert "You are `ann`" in page.text
                check_problem(await asked(client, started), 400, "authorization_pending")
                page = await sent(client, page, decision="approve")
                assert page.status_code == 200
                assert (await asked(client, started)).json()["session"]["user"] == "ann"


class TestAsking:
    async def test_too_often(self, client: httpx.AsyncClient, database: Database) -> None:
        started = await begun(client)
        body = {"device_code": started.device_code}
        async with database.transaction() as tx:
            await tx.connection.execute(text("UPDATE device_logins SET interval = 600"))
        check_problem(await client.post(f"{DEVICE}/token", json=body), 400, "authorization_pending")
        problem = check_problem(await client.post(f"{DEVICE}/token", json=body), 400, "slow_down")
        assert "wait 605 s" in problem.detail

    async def test_after_its_time(self, client: httpx.AsyncClient, database: Database) -> None:
        started = await begun(client)
        async with database.transaction() as tx:
            await tx.connection.execute(text("UPDATE device_logins SET expires_at = now()"))
        check_problem(await asked(client, started), 400, "expired_token")

    async def test_with_a_code_that_is_made_up(self, client: httpx.AsyncClient) -> None:
        made_up = await begun(client)
        unknown = made_up.model_copy(update={"device_code": "ctd_" + "x" * 43})
        check_problem(await asked(client, unknown), 400, "expired_token")

    async def test_twice_at_once(
        self, client: httpx.AsyncClient, browser: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        started = await begun(client)
        await sent(browser, await named(browser, started), decision="approve")
        answers = await asyncio.gather(*(asked(client, started) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]

    async def test_whose_user_was_switched_off_meanwhile(
        self, client: httpx.AsyncClient, browser: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        started = await begun(client)
        await sent(browser, await named(browser, started), decision="approve")
        await client.patch("/api/v1/users/ann", json={"active": False})
        check_problem(await asked(client, started), 400, "access_denied")

    async def test_a_bounded_number_waits(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        await begun(client)
        async with database.transaction() as tx:
            await tx.connection.execute(
                text(
                    "INSERT INTO device_logins (id, device, code, client, source, interval, "
                    "expires_at) SELECT n::text, n::text, n::text, '', source, 5, expires_at "
                    "FROM device_logins, generate_series(1, 49) n"
                )
            )
        answer = await client.post(f"{DEVICE}/start", json={})
        check_problem(answer, 429, "too_many_requests")


class TestPages:
    async def test_they_run_nothing(
        self, client: httpx.AsyncClient, browser: httpx.AsyncClient
    ) -> None:
        page = await shown(browser, await begun(client))
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        for rule in ("form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
            assert rule in policy
        assert "unsafe" not in policy
        # `no-referrer` would take the origin away that forms are checked by.
        assert page.headers.get_list("referrer-policy") == ["same-origin"]
        assert "<script" not in page.text
        assert "HttpOnly" in page.headers["set-cookie"]

    async def test_the_code_is_asked_for(
        self, client: httpx.AsyncClient, browser: httpx.AsyncClient
    ) -> None:
        page = await browser.get(DEVICE, headers=HTML)
        assert 'name="user_code"' in page.text
        started = await begun(client)
        typed = started.user_code.replace("-", " ").lower()
        page = await browser.get(DEVICE, params={"user_code": typed}, headers=HTML)
        assert started.user_code in page.text

    async def test_a_refusal_is_a_page_for_a_browser_only(
        self, client: httpx.AsyncClient, browser: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        page = await named(browser, await begun(client), password=OTHER)
        assert page.status_code == 401
        assert page.headers["content-type"].startswith("text/html")
        assert "the name or the password is wrong" in page.text
        answer = await browser.get(DEVICE, params={"user_code": "<b>"})
        check_problem(answer, 404, "not_found")

    async def test_an_unknown_code(
        self, browser: httpx.AsyncClient, settings: Settings, database: Database
    ) -> None:
        for _ in range(settings.lockout.address_free):
            page = await browser.get(DEVICE, params={"user_code": "BCDF-GHJK"}, headers=HTML)
            assert (page.status_code, "no program waits" in page.text) == (404, True)
        page = await browser.get(DEVICE, params={"user_code": "BCDF-GHJK"}, headers=HTML)
        assert (page.status_code, "too many codes" in page.text) == (429, True)
        async with database.reading() as tx:
            query = text("SELECT action, subject FROM audit_log WHERE outcome = 'denied'")
            rows = [tuple(row) for row in await tx.connection.execute(query)]
        assert rows == [("session.lockout", "127.0.0.1")]

    async def test_right_codes_count_as_nothing(
        self, client: httpx.AsyncClient, browser: httpx.AsyncClient, settings: Settings
    ) -> None:
        started = await begun(client)
        for _ in range(settings.lockout.address_free + 1):
            await shown(browser, started)


class TestForms:
    @pytest.mark.parametrize(
        "change",
        [
            {"form": "0" * 64},
            {"form": ""},
            {"origin": "https://evil.test"},
            {"origin": "null"},
            {"origin": ""},
            {"origin": "", "sec-fetch-site": "same-site"},
            {"origin": "https://evil.test", "sec-fetch-site": "same-origin"},
            {"cookies": "none"},
        ],
        ids=lambda change: "-".join(f"{name}={value[:10]}" for name, value in change.items()),
    )
    @pytest.mark.parametrize("step", ["login", "confirm"])
    async def test_those_of_others_are_not_taken(
        self,
        client: httpx.AsyncClient,
        browser: httpx.AsyncClient,
        database: Database,
        step: str,
        change: dict[str, str],
    ) -> None:
        await person(client, database)
        started = await begun(client)
        page = await (shown if step == "login" else named)(browser, started)
        fields: dict[str, Any] = {
            **hidden(page),
            "name": "ann",
            "password": PASSWORD,
            "decision": "approve",
        }
        headers = {"origin": change.get("origin", "http://127.0.0.1")}
        headers["sec-fetch-site"] = change.get("sec-fetch-site", "")
        headers = {name: value for name, value in headers.items() if value}
        if "form" in change:
            fields["form"] = change["form"]
        if "cookies" in change:
            browser.cookies.clear()
        answer = await browser.post(f"{DEVICE}/{step}", data=fields, headers=headers)
        check_problem(answer, 401, "form_refused")
        check_problem(await asked(client, started), 400, "authorization_pending")

    async def test_a_browser_may_say_otherwise_that_a_page_is_ours(
        self, client: httpx.AsyncClient, browser: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        page = await shown(browser, await begun(client))
        fields = {**hidden(page), "name": "ann", "password": PASSWORD}
        headers = {"sec-fetch-site": "same-origin"}
        page = await browser.post(f"{DEVICE}/login", data=fields, headers=headers)
        assert "You are `ann`" in page.text

    async def test_nobody_approves_who_has_not_logged_in_for_it(
        self, client: httpx.AsyncClient, browser: httpx.AsyncClient, database: Database
    ) -> None:
        """Neither in another browser, nor for another program than the one logged in for."""
        await person(client, database)
        first, second = await begun(client), await begun(client)
        await named(browser, first)
        page = await shown(browser, second)
        for user_code, who in ((second.user_code, browser), (first.user_code, client)):
            other = page if who is browser else await shown(client, first)
            fields = {**hidden(other), "user_code": user_code, "decision": "approve"}
            answer = await who.post(f"{DEVICE}/confirm", data=fields, headers=OURS)
            check_problem(answer, 401, "not_logged_in")

    async def test_whoever_logs_in_last_is_meant(
        self, client: httpx.AsyncClient, browser: httpx.AsyncClient, database: Database
    ) -> None:
        """A stranger with the code does not let the program in as themselves behind one's back."""
        await person(client, database)
        await person(client, database, "eve")
        started = await begun(client)
        page = await named(browser, started)
        theirs = await shown(client, started)
        theirs = await sent(client, theirs, name="eve", password=PASSWORD, code="")
        assert "You are `eve`" in theirs.text
        answer = await sent(browser, page, decision="approve")
        assert answer.status_code == 401

    async def test_a_decision_is_needed(
        self, client: httpx.AsyncClient, browser: httpx.AsyncClient, database: Database
    ) -> None:
        await person(client, database)
        page = await named(browser, await begun(client))
        assert (await sent(browser, page, decision="perhaps")).status_code == 422
