"""Logging in by a real OpenID provider, from outside."""

import asyncio
import html
import json
import re
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import httpx
import pytest
from pydantic import SecretStr

from cortex.db.engine import Database
from cortex.domain.device import DeviceRules
from cortex.domain.rights import Role
from cortex.domain.sso import OidcProvider
from cortex.schemas.auth import LoggedIn
from cortex.settings import Settings
from tests.api.browser import HTML, sent
from tests.api.conftest import providers, settings
from tests.api.logins import AUTH, bearing
from tests.api.support import serve
from tests.support import patience
from tests.support.command import cortex
from tests.support.oidc import CLIENT, browse, real_provider

__all__ = ["providers", "settings"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("providers")]

PEOPLE: Final[dict[str, dict[str, Any]]] = {
    "1001": {
        "preferred_username": "ann",
        "email": "ann@example.org",
        "email_verified": True,
        "groups": ["cortex-users"],
    },
    "1002": {"preferred_username": "eve", "groups": ["others"]},
}


@pytest.fixture
async def provider() -> AsyncIterator[str]:
    async with real_provider(PEOPLE) as address:
        yield address


@pytest.fixture
def offering(settings: Settings, provider: str) -> Settings:
    corp = OidcProvider(
        issuer=provider,
        client_id=CLIENT["client_id"],
        client_secret=SecretStr(CLIENT["client_secret"]),
        roles_claim="groups",
        roles={"cortex-users": Role.DEVELOPER},
        require_verified_email=False,
    )
    quick = DeviceRules(interval=timedelta(milliseconds=200))
    return settings.model_copy(update={"oidc": {"corp": corp}, "device_login": quick})


async def came_back(browser: httpx.AsyncClient, provider: str, url: str, login: str) -> str:
    """Where the browser is sent back to."""
    sent = await browser.get(url)
    assert sent.status_code == 303, sent.text
    return await browse(browser, sent.headers["location"], at=provider, login=login)


async def test_over_http(offering: Settings, provider: str) -> None:
    async with serve(offering) as (url, _), httpx.AsyncClient(timeout=30) as browser:
        start = f"{url}{AUTH}/oidc/corp/start"
        back = await came_back(browser, provider, start, "1001")
        assert back.startswith(f"{url}{AUTH}/oidc/corp/callback?")
        answer = await browser.get(back)
        assert answer.status_code == 200, answer.text
        login = LoggedIn.model_validate_json(answer.content)
        info = (await browser.get(f"{url}/api/v1/info", headers=bearing(login))).json()
        assert (info["user"], info["role"]) == ("ann", "developer")
        again = await browser.get(back)
        assert (again.status_code, again.json()["code"]) == (401, "sso_refused")


async def test_whose_groups_say_nothing_here(offering: Settings, provider: str) -> None:
    async with serve(offering) as (url, _), httpx.AsyncClient(timeout=30) as browser:
        back = await came_back(browser, provider, f"{url}{AUTH}/oidc/corp/start", "1002")
        answer = await browser.get(back)
        assert (answer.status_code, answer.json()["code"]) == (401, "sso_refused")
        assert "none of the roles" in answer.json()["detail"]


async def test_from_the_command_line(
    offering: Settings, provider: str, database: Database, tmp_path: Path
) -> None:
    """The command in a process of its own; the browser has never spoken to it."""
    async with serve(offering) as (url, _), httpx.AsyncClient(timeout=30) as browser:
        command = [str(Path(sys.executable).with_name("cortex")), "--data-dir", str(tmp_path)]
        process = await asyncio.create_subprocess_exec(
            *command, "--url", url, "login", "--sso", "corp", stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        async with asyncio.timeout(patience(60)):
            line = (await process.stderr.readline()).decode()
            address = line.partition("browser:")[2].strip()
            assert address.startswith(f"{url}{AUTH}/device?user_code="), line
            page = await browser.get(address, headers=HTML)
            assert "Log in by corp" in page.text
            link = re.search(r'href="([^"]+)"', page.text)
            assert link is not None
            start = urljoin(address, html.unescape(link[1]))
            back = await came_back(browser, provider, start, "1001")
            page = await browser.get(back, headers=HTML)
            assert "You are `ann`" in page.text
            page = await sent(browser, page, decision="approve")
            assert "Go back to the program" in page.text
            rest = (await process.stderr.read()).decode()
            assert await process.wait() == 0, rest
        assert "logged in as `ann`" in rest
        shown = await asyncio.to_thread(
            cortex, "--url", url, "--json", "sessions", "list", folder=tmp_path
        )
        assert (shown.returncode, json.loads(shown.stdout)["user"]) == (0, "ann"), shown.stderr
