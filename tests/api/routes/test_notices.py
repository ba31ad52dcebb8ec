"""What one is told: seen and chosen by each for themselves; ended without logging in."""

from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.notices import Preferences
from cortex.domain.rights import Role
from cortex.settings import ApiKey, Settings, SmtpSettings
from tests.api.groups import GROUPS, group
from tests.api.support import JOBS, check_problem, client_of, spec
from tests.notices.support import choose, member
from tests.webhooks.support import LOOPBACK

NOTICES = "/api/v1/users/me/notices"
UNSUBSCRIBE = "/api/v1/auth/unsubscribe"
PEOPLE = {"ann": Role.DEVELOPER, "bob": Role.DEVELOPER, "vera": Role.VIEWER, "root": Role.ADMIN}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    keys = {
        name: ApiKey(key=SecretStr(f"key-of-{name:>16}"), role=role)
        for name, role in PEOPLE.items()
    }
    smtp = SmtpSettings(
        host="localhost", sender="cortex@example.com", addresses={"ann": "ann@example.com"}
    )
    webhooks = settings.webhooks.model_copy(update={"allowed_networks": (LOOPBACK,)})
    api = settings.api.model_copy(update={"keys": keys})
    return settings.model_copy(update={"api": api, "smtp": smtp, "webhooks": webhooks})


@pytest.fixture
async def client(settings: Settings, providers: None) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(settings) as http:
        yield http


def being(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer key-of-{name:>16}"}


class TestPreferences:
    async def test_what_holds_for_everybody(self, client: httpx.AsyncClient) -> None:
        told = (await client.get(NOTICES, headers=being("ann"))).json()
        assert told["own"] == ["failed", "stuck", "over_budget", "schedule_paused"]
        assert (told["enabled"], told["named"], told["projects"]) == (True, True, [])
        assert told["email"]["to"] == "ann@example.com"
        assert told["chat"]["on"] is False
        other = (await client.get(NOTICES, headers=being("bob"))).json()
        assert "there is no address" in other["email"]["problem"]

    async def test_one_chooses_for_oneself(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        wanted = {"own": ["failed", "failed"], "projects": ["stuck"], "email": False}
        put = await client.put(NOTICES, json=wanted, headers=being("ann"))
        assert put.status_code == 200, put.text
        now = (await client.get(NOTICES, headers=being("ann"))).json()
        assert (now["own"], now["projects"], now["email"]["on"]) == (["failed"], ["stuck"], False)
        assert (await client.get(NOTICES, headers=being("bob"))).json()["projects"] == []
        async with database.reading() as tx:
            query = text("SELECT actor, subject, data FROM audit_log WHERE action LIKE 'notices.%'")
            (row,) = (await tx.connection.execute(query)).all()
        assert (row.actor, row.subject) == ("ann", "ann")
        assert row.data["after"]["own"] == ["failed"]

    async def test_a_chat_is_kept_encrypted_and_not_shown(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        url = "json://127.0.0.1/hunter2"
        head = being("ann")
        put = await client.put(NOTICES, json={"chat": url}, headers=head)
        assert (put.status_code, put.json()["chat"]["to"]) == (200, "JSON"), put.text
        kept = await client.put(NOTICES, json={"named": False}, headers=head)
        assert kept.json()["chat"]["to"] == "JSON"
        async with database.reading() as tx:
            stored = ""
            for table in ("notice_preferences", "audit_log"):
                query = text(f"SELECT t::text FROM {table} AS t")
                stored += str((await tx.connection.execute(query)).all())
        assert "hunter2" not in put.text + kept.text + stored
        gone = await client.put(NOTICES, json={"chat": ""}, headers=head)
        assert gone.json()["chat"]["to"] == ""

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"own": ["ended"]}, "own[0]"),
            ({"email": "yes"}, "email"),
            ({"chat": "jsons://10.0.0.7/hunter2"}, "chat"),
            ({"chat": "slackk://hunter2"}, "chat"),
            ({"colour": 1}, "colour"),
        ],
    )
    async def test_what_is_wrong_is_named(
        self, client: httpx.AsyncClient, body: dict[str, object], field: str
    ) -> None:
        answer = await client.put(NOTICES, json=body, headers=being("ann"))
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == field
        assert answer.json()["detail"].startswith("the choice of notices is not valid: ")
        assert "hunter2" not in answer.text


class TestUnsubscribe:
    async def test_the_link_of_a_mail(
        self, client: httpx.AsyncClient, database: Database, settings: Settings
    ) -> None:
        token = (await choose(database, settings, "ann", Preferences())).token
        nobody = {"authorization": ""}
        page = await client.get(UNSUBSCRIBE, params={"token": token}, headers=nobody)
        assert (page.status_code, "End all notices" in page.text) == (200, True)
        # Whoever only looks changes nothing: programs look at links in mails.
        assert (await client.get(NOTICES, headers=being("ann"))).json()["enabled"]
        done = await client.post(
            UNSUBSCRIBE,
            params={"token": token},
            data={"List-Unsubscribe": "One-Click"},
            headers=nobody,
        )
        assert done.status_code == 200
        assert not (await client.get(NOTICES, headers=being("ann"))).json()["enabled"]
        async with database.reading() as tx:
            query = text("SELECT actor FROM audit_log WHERE action = 'notices.unsubscribe'")
            assert (await tx.connection.execute(query)).scalars().all() == ["ann"]

    @pytest.mark.parametrize("token", ["", "x", "ctu_" + "a" * 43, '"><script>'])
    async def test_a_link_that_is_none(self, client: httpx.AsyncClient, token: str) -> None:
        page = await client.get(UNSUBSCRIBE, params={"token": token})
        assert "<script>" not in page.text
        answer = await client.post(UNSUBSCRIBE, params={"token": token})
        assert answer.status_code == 404


class TestNotify:
    async def test_it_is_kept_and_shown(self, client: httpx.AsyncClient) -> None:
        notify = {"on": ["failed"], "to": ["me"]}
        made = await client.post(JOBS, json=spec(notify=notify), headers=being("ann"))
        assert made.status_code == 202, made.text
        shown = await client.get(f"{JOBS}/{made.json()['id']}", headers=being("ann"))
        assert shown.json()["spec"]["notify"] == notify

    async def test_only_members_of_its_project_are_named(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        """Who is not there is told of alike, and so is who may see all that there is."""
        head = being("ann")
        where = {"project": "shared"}
        await member(database, "shared", "ann")
        await member(database, "shared", "vera", "viewer")
        for name, refused in {"vera": False, "root": True, "bob": True, "zed": True}.items():
            body = spec(notify={"to": ["me", name]})
            for path in (JOBS, f"{JOBS}/validate"):
                answer = await client.post(path, json=body, headers=head, params=where)
                assert (answer.status_code == 422) == refused, answer.text
                if refused:
                    (error,) = answer.json()["errors"]
                    assert error["field"] == "notify.to[1]"
                    assert error["message"].replace(name, "x") == (
                        "names `x`, who is not in the project of this job"
                    )
            whole = group(notify={"to": [name]})
            answer = await client.post(GROUPS, json=whole, headers=head, params=where)
            assert (answer.status_code == 422) == refused, answer.text
        problem = check_problem(
            await client.post(f"{JOBS}/batch", json={"jobs": [spec(), body]}, headers=head),
            422,
            "invalid_request",
        )
        assert "`jobs[1].notify.to[1]`" in problem.detail
