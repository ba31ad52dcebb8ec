"""`cortex admin create`, `cortex users invite` and `cortex redeem` against a real API."""

import asyncio

from typer.testing import CliRunner, Result

from cli.main import app
from cortex.settings import Settings, SmtpSettings
from tests.api.conftest import providers, settings
from tests.api.logins import OTHER, PASSWORD
from tests.api.support import KEY, serve

__all__ = ["providers", "settings"]


async def call(url: str, *args: str, stdin: str = "", key: str = KEY) -> Result:
    """Run the command, beside the server's event loop; `stdin` is what is sent to it."""
    words = ["--url", url, *(["--api-key", key] if key else []), *args]
    return await asyncio.to_thread(CliRunner().invoke, app, words, input=stdin)


async def test_the_first_admin(settings: Settings, providers: None) -> None:
    async with serve(settings) as (url, _):
        weak = await call(url, "admin", "create", "root", stdin="password1234\n")
        assert (weak.exit_code, "this is a very common password" in weak.output) == (2, True)
        shown = await call(url, "admin", "create", "root", stdin=f"{PASSWORD}\n")
        assert (shown.exit_code, "`root` is an admin now" in shown.output) == (0, True)
        assert PASSWORD not in shown.output
        again = await call(url, "admin", "create", "root", stdin=f"{OTHER}\n")
        assert "has a password already" in again.output
        await call(url, "users", "add", "vera", "--role", "viewer")
        other = await call(url, "admin", "create", "vera", stdin=f"{PASSWORD}\n")
        assert "who is viewer" in other.output
        nothing = await call(url, "admin", "create", "ann")
        assert (nothing.exit_code, "nothing was given" in nothing.output) == (2, True)


async def test_an_invitation_is_redeemed_without_a_key(settings: Settings, providers: None) -> None:
    async with serve(settings) as (url, _):
        await call(url, "users", "add", "ann")
        shown = await call(url, "users", "invite", "ann", "--expires", "1h")
        assert "invitation of `ann`" in shown.output
        words = shown.output.splitlines()[-1].split()
        assert words[:4] == ["cortex", "--url", url, "redeem"]
        done = await call(url, "redeem", words[4], stdin=f"{PASSWORD}\n", key="")
        assert (done.exit_code, "the password is set" in done.output) == (0, True)
        again = await call(url, "redeem", words[4], stdin=f"{OTHER}\n", key="")
        assert "was used already" in again.output
        assert "reset of `ann`" in (await call(url, "users", "invite", "ann")).output


async def test_a_link_that_is_sent(settings: Settings, providers: None) -> None:
    smtp = SmtpSettings(host="localhost", sender="cortex@example.com")
    async with serve(settings.model_copy(update={"smtp": smtp})) as (url, _):
        await call(url, "users", "add", "ann", "--email", "ann@example.com")
        shown = await call(url, "users", "invite", "ann")
        assert "it is sent to ann@example.com" in shown.output
        assert "ctl_" not in shown.output
        assert "redeem ctl_" in (await call(url, "users", "invite", "ann", "--print")).output
        changed = await call(url, "users", "set", "ann", "--email", "")
        assert "`ann` is now developer, active" in changed.output
        refused = await call(url, "users", "invite", "ann", "--by-email")
        assert "`ann` has no address" in refused.output
