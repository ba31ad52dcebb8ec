"""`cortex login`, `logout`, `password` and `sessions` against a real API."""

import asyncio
import json
import stat
import time
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from typer.testing import CliRunner, Result

from cli.main import app
from cortex.client import AsyncCortex
from cortex.client.logins import LoginStore
from cortex.db.engine import Database
from cortex.domain.device import DeviceRules
from cortex.domain.sso import OidcProvider
from cortex.settings import Settings
from tests.api.browser import sent
from tests.api.conftest import providers, settings
from tests.api.logins import AUTH, OTHER, PASSWORD, person
from tests.api.support import KEY, client_of, eventually, serve

__all__ = ["providers", "settings"]


class Shell:
    """Somebody's machine: the command with a data folder of its own, and no key."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.store = LoginStore(folder)

    async def __call__(self, *args: str, stdin: str = "") -> Result:
        words = [*self.words(), *args]
        return await asyncio.to_thread(CliRunner().invoke, app, words, input=stdin)

    def words(self) -> list[str]:
        """Where the command finds what it needs."""
        return ["--url", self.url, "--data-dir", str(self.folder)]

    async def user(self) -> str:
        """As whom it is known."""
        shown = await self("--json", "sessions", "list")
        assert shown.exit_code == 0, shown.output
        return str(json.loads(shown.output.splitlines()[0])["user"])

    def file(self) -> Path:
        (path,) = (self.folder / "logins").iterdir()
        return path


@pytest.fixture
async def ann(settings: Settings, providers: None, database: Database) -> None:
    async with client_of(settings) as client:
        await person(client, database)


@pytest.mark.usefixtures("ann")
class TestLogin:
    async def test_it_stays(self, settings: Settings, tmp_path: Path) -> None:
        async with serve(settings) as (url, _):
            shell = Shell(url, tmp_path / "home")
            before = await shell("jobs")
            assert "log in with `cortex login`" in before.output
            wrong = await shell("login", "ann", stdin=f"{OTHER}\n")
            assert (wrong.exit_code, "name or the password is wrong" in wrong.output) == (6, True)
            shown = await shell("login", "ann", stdin=f"{PASSWORD}\n")
            assert (shown.exit_code, "logged in as `ann`" in shown.output) == (0, True)
            assert PASSWORD not in shown.output
            assert (await shell("jobs")).exit_code == 0
            assert await shell.user() == "ann"
            assert stat.S_IMODE(shell.file().stat().st_mode) == 0o600
            assert stat.S_IMODE(shell.file().parent.stat().st_mode) == 0o700

    async def test_the_access_token_is_refreshed_by_itself(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        async with serve(settings) as (url, _):
            shell = Shell(url, tmp_path / "home")
            await shell("login", "ann", stdin=f"{PASSWORD}\n")
            first = shell.store.find(url)
            assert first is not None
            assert first.refresh_at > time.time() + 400
            shell.store.keep(first.model_copy(update={"refresh_at": 0.0}))
            assert (await shell("jobs")).exit_code == 0
            second = shell.store.find(url)
            assert second is not None
            assert second.refresh_token != first.refresh_token
            assert second.session == first.session
            # A clock that was wrong: the server says that the token is no good.
            shell.store.keep(second.model_copy(update={"access_token": first.refresh_token}))
            assert (await shell("jobs")).exit_code == 0
            third = shell.store.find(url)
            assert third is not None
            assert third.refresh_token != second.refresh_token

    async def test_two_at_once_stay_logged_in(self, settings: Settings, tmp_path: Path) -> None:
        async with serve(settings) as (url, _):
            shell = Shell(url, tmp_path / "home")
            await shell("login", "ann", stdin=f"{PASSWORD}\n")
            login = shell.store.find(url)
            assert login is not None
            shell.store.keep(login.model_copy(update={"refresh_at": 0.0}))
            clients = [AsyncCortex(url, data_dir=shell.folder) for _ in range(3)]
            users = await asyncio.gather(*(client.info() for client in clients))
            assert {info.user for info in users} == {"ann"}
            for client in clients:
                await client.aclose()
            assert (await shell("jobs")).exit_code == 0

    async def test_logging_out_ends_the_session_and_forgets_it(
        self, settings: Settings, tmp_path: Path, database: Database
    ) -> None:
        async with serve(settings) as (url, _):
            shell = Shell(url, tmp_path / "home")
            await shell("login", "ann", stdin=f"{PASSWORD}\n")
            shown = await shell("logout", "--api-key", KEY)
            assert f"logged out of {url}" in shown.output
            assert shell.store.find(url) is None
            async with database.reading() as tx:
                query = text("SELECT ended_why FROM sessions")
                assert (await tx.connection.execute(query)).scalars().all() == ["logout"]
            assert "nobody was logged in" in (await shell("logout")).output

    async def test_one_that_has_ended_says_so(self, settings: Settings, tmp_path: Path) -> None:
        async with serve(settings) as (url, _):
            here, there = (Shell(url, tmp_path / name) for name in ("here", "there"))
            for shell in (here, there):
                await shell("login", "ann", stdin=f"{PASSWORD}\n")
            listed = (await here("sessions", "list")).output.splitlines()
            assert [line.endswith("this one") for line in listed[-2:]] == [False, True]
            ended = there.store.find(url)
            assert ended is not None
            shown = await here("sessions", "revoke", ended.session)
            assert f"session `{ended.session}` was ended" in shown.output
            there.store.keep(ended.model_copy(update={"refresh_at": 0.0}))
            shown = await there("jobs")
            assert (shown.exit_code, "`cortex login` logs in" in shown.output) == (6, True)
            assert (await there("logout")).exit_code == 0
            assert (await there("login", "ann", stdin=f"{PASSWORD}\n")).exit_code == 0

    async def test_a_key_can_be_kept_instead(self, settings: Settings, tmp_path: Path) -> None:
        async with serve(settings) as (url, _):
            shell = Shell(url, tmp_path / "home")
            wrong = await shell("login", "--key", stdin="ctx_nothing\n")
            assert (wrong.exit_code, shell.store.find(url)) == (6, None)
            shown = await shell("login", "--key", stdin=f"{KEY}\n")
            assert "logged in as `local`" in shown.output
            assert (await shell("users", "list")).exit_code == 0
            assert "logged out" in (await shell("logout")).output
            assert (await shell("users", "list")).exit_code == 6

    async def test_a_key_that_is_given_counts_more(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        async with serve(settings) as (url, _):
            shell = Shell(url, tmp_path / "home")
            await shell("login", "ann", stdin=f"{PASSWORD}\n")
            assert (await shell("users", "list")).exit_code == 6
            assert (await shell("users", "list", "--api-key", KEY)).exit_code == 0

    async def test_without_a_url_the_last_login_says_where(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        async with serve(settings) as (url, _):
            shell = Shell(url, tmp_path / "home")
            await shell("login", "ann", stdin=f"{PASSWORD}\n")
            words = ["--data-dir", str(shell.folder), "jobs"]
            shown = await asyncio.to_thread(CliRunner().invoke, app, words)
            assert shown.exit_code == 0, shown.output


@pytest.mark.usefixtures("ann")
async def test_the_password_is_changed(settings: Settings, tmp_path: Path) -> None:
    async with serve(settings) as (url, _):
        here, there = (Shell(url, tmp_path / name) for name in ("here", "there"))
        for shell in (here, there):
            await shell("login", "ann", stdin=f"{PASSWORD}\n")
        wrong = await here("password", stdin=f"{OTHER}\n{OTHER}\n")
        assert (wrong.exit_code, "not the password of `ann`" in wrong.output) == (6, True)
        shown = await here("password", stdin=f"{PASSWORD}\n{OTHER}\n")
        assert (shown.exit_code, "the password was changed" in shown.output) == (0, True)
        assert (await here("jobs")).exit_code == 0
        login = there.store.find(url)
        assert login is not None
        there.store.keep(login.model_copy(update={"refresh_at": 0.0}))
        assert (await there("jobs")).exit_code == 6
        assert (await here("login", "ann", stdin=f"{OTHER}\n")).exit_code == 0


@pytest.mark.usefixtures("ann")
class TestBrowser:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        quick = DeviceRules(interval=timedelta(milliseconds=100))
        return settings.model_copy(update={"device_login": quick})

    @pytest.mark.parametrize(
        ("decision", "code", "told"),
        [("approve", 0, "logged in as `ann`"), ("deny", 6, "was denied in the browser")],
    )
    async def test_it_waits_for_a_browser(
        self,
        settings: Settings,
        database: Database,
        tmp_path: Path,
        decision: str,
        code: int,
        told: str,
    ) -> None:
        async with serve(settings) as (url, _), httpx.AsyncClient(base_url=url) as browser:
            shell = Shell(url, tmp_path / "home")
            waiting = asyncio.create_task(shell("login", "--sso"))
            user_code = await eventually_given(database)
            page = await browser.get(f"{AUTH}/device", params={"user_code": user_code})
            page = await sent(browser, page, name="ann", password=PASSWORD, code="")
            await sent(browser, page, decision=decision)
            shown = await waiting
            assert (shown.exit_code, told in shown.output) == (code, True), shown.output
            address = f"{url}{AUTH}/device?user_code={user_code}"
            assert address in shown.output
            if decision == "approve":
                assert await shell.user() == "ann"

    async def test_by_a_service_that_is_not_there(
        self, settings: Settings, providers: None, tmp_path: Path
    ) -> None:
        okta = OidcProvider(
            issuer="https://okta.test",
            client_id="cortex",
            client_secret=SecretStr("hush"),
        )
        for oidc, told in (({}, "it has none"), ({"okta": okta}, "there are `okta`")):
            async with serve(settings.model_copy(update={"oidc": oidc})) as (url, _):
                shown = await Shell(url, tmp_path)("login", "--sso", "nope")
            assert shown.exit_code == 2
            assert f"no login service `nope`; {told}" in " ".join(shown.output.split())

    async def test_with_a_key_it_makes_no_sense(self, settings: Settings, tmp_path: Path) -> None:
        shown = await Shell("http://127.0.0.1:1", tmp_path)("login", "--sso", "--key")
        assert (shown.exit_code, "either --key or --sso" in shown.output) == (2, True)


async def eventually_given(database: Database) -> str:
    """The code that the command was given."""
    codes: list[str] = []

    async def given() -> bool:
        async with database.reading() as tx:
            query = text("SELECT code FROM device_logins")
            codes.extend((await tx.connection.execute(query)).scalars())
        return bool(codes)

    await eventually(given)
    return codes[0]
