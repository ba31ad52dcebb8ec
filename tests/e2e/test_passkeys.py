"""A passkey in a real browser, whose device is simulated by the browser itself (CDP)."""

import os
import shutil
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from playwright.async_api import Page, async_playwright

from cortex.db.engine import Database
from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.logins import AUTH, PASSWORD, bearing, log_in, person, try_login
from tests.api.support import check_problem, client_of
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
