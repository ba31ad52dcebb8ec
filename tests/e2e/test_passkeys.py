"""A passkey in a real browser, whose device is simulated by the browser itself (CDP)."""

import os
import shutil
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest
from playwright.async_api import Page, Route, async_playwright, expect

from cortex.db.engine import Database
from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.logins import AUTH, PASSWORD, bearing, log_in, person, try_login
from tests.api.support import KEY, check_problem, client_of, serve
from tests.support import patience

__all__ = ["providers", "settings"]

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("providers")]

_CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
_SITE: Final = "https://cortex.test"
_DEVICE: Final = {
    "protocol": "ctap2",
    "transport": "usb",
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
_CREATE: Final = """async (options) => {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  return (await navigator.credentials.create({publicKey})).toJSON();
}"""
_GET: Final = """async (options) => {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return (await navigator.credentials.get({publicKey})).toJSON();
}"""


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of our site, in a browser with a device."""
    if _CHROMIUM is None:
        if os.environ.get("CORTEX_REQUIRE_CHROMIUM") == "1":
            pytest.fail("there is no chromium, and CORTEX_REQUIRE_CHROMIUM asks for it")
        pytest.skip("there is no chromium (Debian: apt-get install chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=_CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        context = await browser.new_context()
        context.set_default_timeout(1000 * patience(8))
        shown = await context.new_page()
        await shown.route(
            "**/*", lambda route: route.fulfill(body="<p>ours", content_type="text/html")
        )
        devices = await context.new_cdp_session(shown)
        await devices.send("WebAuthn.enable")
        await devices.send("WebAuthn.addVirtualAuthenticator", {"options": _DEVICE})
        await shown.goto(_SITE)
        yield shown
        await browser.close()


async def test_registered_and_used(settings: Settings, database: Database, page: Page) -> None:
    api = settings.api.model_copy(update={"public_url": _SITE})
    async with client_of(settings.model_copy(update={"api": api})) as client:
        await person(client, database)
        head = bearing(await log_in(client))
        body: dict[str, Any] = {"password": PASSWORD}
        answer = await client.post(f"{AUTH}/passkeys/options", json=body, headers=head)
        made = await page.evaluate(_CREATE, answer.json()["publicKey"])
        body = {"name": "the browser's", "credential": made}
        answer = await client.post(f"{AUTH}/passkeys", json=body, headers=head)
        assert answer.status_code == 201, answer.text
        check_problem(await try_login(client), 401, "second_factor_needed")
        for _ in range(2):
            body = {"name": "ann", "password": PASSWORD}
            asked = await client.post(f"{AUTH}/login/passkey", json=body)
            signed = await page.evaluate(_GET, asked.json()["publicKey"])
            assert (await log_in(client, passkey=signed)).session.user == "ann"


async def test_a_program_is_let_in(settings: Settings, database: Database, page: Page) -> None:
    """Our own pages, as a browser shows them: password, passkey, approval."""
    api = settings.api.model_copy(update={"public_url": _SITE})
    chosen = settings.model_copy(update={"api": api})
    async with (
        serve(chosen) as (url, _),
        httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as client,
    ):
        await person(client, database)
        head = bearing(await log_in(client))
        body: dict[str, Any] = {"password": PASSWORD}
        answer = await client.post(f"{AUTH}/passkeys/options", json=body, headers=head)
        made = await page.evaluate(_CREATE, answer.json()["publicKey"])
        body = {"name": "the browser's", "credential": made}
        assert (await client.post(f"{AUTH}/passkeys", json=body, headers=head)).is_success

        async def through(route: Route) -> None:
            """What the proxy with TLS does that stands before a server."""
            target = route.request.url.replace(_SITE, url)
            await route.fulfill(response=await route.fetch(url=target, max_redirects=0))

        await page.unroute("**/*")
        await page.route(f"{_SITE}/**", through)
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        started = (await client.post(f"{AUTH}/device/start", json={"client": "a test"})).json()
        await page.goto(started["verification_uri"])
        await page.get_by_label("The code that the program shows").fill(started["user_code"])
        await page.get_by_role("button", name="Next").click()
        await page.get_by_label("Name").fill("ann")
        await page.get_by_label("Password", exact=True).fill(PASSWORD)
        await page.get_by_role("button", name="Log in by password").click()
        await page.get_by_role("button", name="Use a passkey").click()
        await expect(page.get_by_text("You are `ann`")).to_be_visible()
        await page.get_by_role("button", name="Approve").click()
        await expect(page.get_by_text("Go back to the program")).to_be_visible()
        body = {"device_code": started["device_code"]}
        answer = await client.post(f"{AUTH}/device/token", json=body)
        assert answer.json()["session"]["user"] == "ann", answer.text
        assert [text for text in complaints if "favicon" not in text] == []
