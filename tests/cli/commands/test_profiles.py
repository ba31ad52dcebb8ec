"""`cortex profile`: two people at one server, each in a profile."""

import json
from pathlib import Path

import pytest

from cortex.client.profiles import Profile, ProfileStore
from cortex.db.engine import Database
from cortex.settings import Settings
from tests.api.logins import PASSWORD, person
from tests.api.support import client_of, serve
from tests.cli.commands.test_login import Shell, ann, providers, settings

__all__ = ["ann", "providers", "settings"]


class Home(Shell):
    """A machine on which no server is named but by profiles."""

    def words(self) -> list[str]:
        return ["--data-dir", str(self.folder)]


async def test_a_url_with_a_password_is_not_taken_and_not_shown(tmp_path: Path) -> None:
    shell = Home("", tmp_path)
    for words in (
        ["profile", "add", "bad", "http://u:hush@127.0.0.1:1/"],
        ["profile", "add", "bad", "ftp://u:hush@127.0.0.1:1/"],
        ["--url", "http://u:hush@127.0.0.1:1", "sessions", "list"],
    ):
        shown = await shell(*words)
        assert shown.exit_code != 0
        assert "has a name or password in it" in shown.output
        assert "hush" not in shown.output
    assert not (tmp_path / "profiles.json").exists()


async def test_a_password_that_an_earlier_version_kept_is_not_shown(tmp_path: Path) -> None:
    shell = Home("", tmp_path)
    ProfileStore(tmp_path).keep(Profile(name="old", url="http://u:hush@127.0.0.1:1"))
    for words in (
        ["profile", "list"],
        ["--json", "profile", "list"],
        ["profile", "show", "old"],
        ["--json", "profile", "show", "old"],
        ["--profile", "old", "profile", "show"],
        ["--profile", "old", "logout"],
        ["--profile", "old", "jobs"],
    ):
        shown = await shell(*words)
        assert "hush" not in shown.output, words
        assert "127.0.0.1:1" in shown.output, words


@pytest.mark.usefixtures("ann")
async def test_each_has_a_login_of_its_own(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    async with client_of(settings) as client:
        await person(client, database, "bob")
    async with serve(settings) as (url, _):
        shell = Home("", tmp_path / "home")
        assert "there is no profile" in (await shell("profile", "list")).output
        for name in ("ann", "bob"):
            shown = await shell("profile", "add", name, f"{url}/", "--project", name)
            assert f"leads to {url}" in shown.output
            shown = await shell("--profile", name, "login", name, stdin=f"{PASSWORD}\n")
            assert (shown.exit_code, f"logged in as `{name}`" in shown.output) == (0, True)
        await shell("profile", "use", "ann")
        assert await shell.user() == "ann"
        shown = await shell("--json", "--profile", "bob", "sessions", "list")
        assert json.loads(shown.stdout.splitlines()[0])["user"] == "bob"
        rows = (await shell("profile", "list")).output
        assert [line.split() for line in rows.splitlines() if url in line] == [
            ["*", "ann", url, "ann", "ann"],
            ["bob", url, "bob", "bob"],
        ]
        shown = await shell("profile", "show")
        assert (shown.exit_code, "logged in as  ann" in shown.output) == (0, True)

        # It ends for one of them only.
        assert (await shell("--profile", "bob", "logout")).exit_code == 0
        assert (await shell("--profile", "bob", "jobs")).exit_code == 6
        assert await shell.user() == "ann"
        shown = await shell("profile", "remove", "ann")
        assert shown.exit_code == 0
        assert [each.name for each in ProfileStore(shell.folder).all()] == ["bob"]
        assert list((shell.folder / "logins").iterdir()) == []


@pytest.mark.usefixtures("ann")
async def test_another_server_gets_nothing_of_the_login(settings: Settings, tmp_path: Path) -> None:
    async with serve(settings) as (url, _):
        shell = Home("", tmp_path / "home")
        await shell("profile", "add", "corp", url, "--use")
        await shell("login", "ann", stdin=f"{PASSWORD}\n")
        assert shell.file().exists()
        await shell("profile", "add", "corp", "https://elsewhere.test")
        assert list((shell.folder / "logins").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("profile", "add", "a/b", "https://x.test"), 2, "is no name of a profile"),
        (("profile", "add", "corp", "x.test"), 3, "is no server URL"),
        (("profile", "use"), 2, "name a profile, or give --none"),
        (("profile", "use", "none"), 3, "there is no profile `none`"),
        (("profile", "remove", "none"), 3, "there is no profile `none`"),
        (("--profile", "none", "jobs"), 3, "there is no profile `none`"),
        (("--profile", "a", "--url", "http://127.0.0.1:1", "jobs"), 3, "either a URL or a profile"),
    ],
)
async def test_what_is_refused(
    tmp_path: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    shown = await Home("", tmp_path / "home")(*words)
    assert (shown.exit_code, told in shown.output) == (code, True), shown.output
