"""`cortex second-factor`, and logging in with one, against a real API."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from cortex.client import AsyncCortex
from cortex.security import totp
from cortex.settings import Settings
from tests.api.logins import PASSWORD
from tests.api.support import KEY, serve
from tests.cli.commands.test_login import Shell, ann, providers, settings
from tests.support import patience
from tests.support.authenticator import Authenticator

__all__ = ["ann", "providers", "settings"]


async def enabled(shell: Shell) -> list[str]:
    """Add a second factor as a person does, who types what the app shows; the recovery codes."""
    words = ["--url", shell.url, "--data-dir", str(shell.folder), "second-factor", "enable"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(patience(20)):
        process.stdin.write(f"{PASSWORD}\n".encode())
        printed: list[str] = []
        while not any(line.startswith("otpauth://") for line in printed):
            line = await process.stdout.readline()
            assert line, printed
            printed.append(line.decode().strip())
        code = totp.code_at(printed[-2], time.time())
        rest, _ = await process.communicate(f"{code}\n".encode())
    assert process.returncode == 0, rest
    return rest.decode().splitlines()[-10:]


@pytest.mark.usefixtures("ann")
async def test_it_is_added_needed_and_removed(settings: Settings, tmp_path: Path) -> None:
    async with serve(settings) as (url, _):
        shell = Shell(url, tmp_path / "home")
        await shell("login", "ann", stdin=f"{PASSWORD}\n")
        assert "you have no second factor" in (await shell("second-factor", "status")).output
        recovery = await enabled(shell)
        assert "10 recovery codes are left" in (await shell("second-factor", "status")).output

        nothing = await shell("login", "ann", stdin=f"{PASSWORD}\n")
        assert (nothing.exit_code, "second factor" in nothing.output) == (6, True)
        done = await shell("login", "ann", stdin=f"{PASSWORD}\n{recovery[0]}\n")
        assert done.exit_code == 0, done.output
        shown = await shell("second-factor", "disable", stdin=f"{PASSWORD}\n")
        assert "no second factor any more" in shown.output
        assert (await shell("login", "ann", stdin=f"{PASSWORD}\n")).exit_code == 0
        shown = await shell("users", "reset-second-factor", "ann", "--api-key", KEY)
        assert "`ann` has no second factor any more" in shown.output


@pytest.mark.usefixtures("ann")
async def test_passkeys_are_listed_named_and_removed(settings: Settings, tmp_path: Path) -> None:
    """A browser has registered one."""
    async with serve(settings) as (url, _):
        shell = Shell(url, tmp_path / "home")
        await shell("login", "ann", stdin=f"{PASSWORD}\n")
        passkeys = ("second-factor", "passkeys")
        assert "you have no passkeys" in (await shell(*passkeys, "list")).output
        login = shell.store.find(url)
        assert login is not None
        assert login.access_token is not None
        async with AsyncCortex(url, login.access_token) as cortex:
            options = await cortex.passkey_options(PASSWORD)
            made = Authenticator().create(options.publicKey)
            added = await cortex.add_passkey("blue key", made)
        passkey, codes = added.passkey.id, added.recovery_codes or ()
        shown = await shell(*passkeys, "rename", passkey, "red key")
        assert "is called `red key` now" in shown.output
        assert "red key" in (await shell(*passkeys, "list")).output
        assert "1 passkeys and no app; 10" in (await shell("second-factor", "status")).output
        nothing = await shell("login", "ann", stdin=f"{PASSWORD}\n")
        assert (nothing.exit_code, "a passkey, or a code" in nothing.output) == (6, True)
        done = await shell("login", "ann", stdin=f"{PASSWORD}\n{codes[0]}\n")
        assert done.exit_code == 0, done.output
        shown = await shell(*passkeys, "remove", passkey, stdin=f"{PASSWORD}\n")
        assert "was removed" in shown.output
        assert (await shell("login", "ann", stdin=f"{PASSWORD}\n")).exit_code == 0
