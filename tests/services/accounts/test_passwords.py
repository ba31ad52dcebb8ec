"""Passwords are hashed a few at once beside the event loop; what that takes is loaded when used."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from cortex.domain.errors import InvalidRequest, ServiceUnavailable
from cortex.domain.passwords import PasswordRules, check_password
from cortex.services.accounts.passwords import Passwords
from tests.api.support import CHEAP_PASSWORDS

GOOD = "violet harbour 17 lanterns"


async def test_what_was_hashed_is_known_again() -> None:
    passwords = Passwords(CHEAP_PASSWORDS)
    one, other = await passwords.hashed(GOOD), await passwords.hashed(GOOD)
    assert one != other
    assert one.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert (await passwords.check(one, GOOD)).right
    for stored, password in ((one, GOOD + "s"), (None, GOOD), ("nonsense", GOOD)):
        checked = await passwords.check(stored, password)
        assert (checked.right, checked.renewed) == (False, None)


async def test_costs_that_changed_are_told_with_the_new_hash() -> None:
    stored = await Passwords(CHEAP_PASSWORDS).hashed(GOOD)
    dearer = Passwords(PasswordRules(memory=16 * 2**10, rounds=2))
    checked = await dearer.check(stored, GOOD)
    assert checked.renewed is not None
    assert "m=16,t=2" in checked.renewed
    assert (await dearer.check(checked.renewed, GOOD)).renewed is None
    assert (await dearer.check(stored, "wrong")).renewed is None


async def test_the_event_loop_goes_on_and_few_are_hashed_at_once() -> None:
    passwords = Passwords(PasswordRules(memory=8 * 2**20, rounds=3, at_once=1))
    first = asyncio.create_task(passwords.hashed(GOOD))
    turns = 0
    while not first.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 1
    tasks = [asyncio.create_task(passwords.hashed(GOOD)) for _ in range(30)]
    done = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [each for each in done if isinstance(each, ServiceUnavailable)]
    assert len(refused) == 30 - 17  # one at work, 16 waiting
    assert "try again" in refused[0].detail
    assert await passwords.hashed(GOOD)  # and it goes on


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("short", "must have at least 10 characters"),
        ("password1234", "is easy to guess (1 of 4): this is a very common password"),
        ("johannajohanna", "is easy to guess"),
        ("cortexcortex", "is easy to guess"),
        ("a" * 256, "is easy to guess"),
    ],
)
async def test_weak_ones_are_refused_with_the_reason(password: str, words: str) -> None:
    passwords = Passwords(CHEAP_PASSWORDS)
    with pytest.raises(InvalidRequest) as caught:
        await passwords.require_strong(password, "johanna", field="password")
    assert words in caught.value.detail
    assert caught.value.errors[0].field == "password"
    await passwords.require_strong(GOOD, "johanna", field="password")


async def test_a_long_one_is_rated_quickly() -> None:
    passwords = Passwords(CHEAP_PASSWORDS)
    await passwords.require_strong(GOOD, "ann", field="password")  # the lists are loaded
    began = time.process_time()
    with pytest.raises(InvalidRequest):
        await passwords.require_strong("abcdefgh" * 32, "ann", field="password")
    assert time.process_time() - began < 1


@pytest.mark.parametrize("password", ["", "x" * 257, "a\0b", "\ud800x"])
def test_what_is_no_password(password: str) -> None:
    with pytest.raises(ValueError, match=r"must|may have|contains") as caught:
        check_password(password)
    assert not password or password not in str(caught.value)


async def test_without_a_login_nothing_is_loaded() -> None:
    """The API of a laptop, where nobody logs in, takes no more memory than before."""
    code = (
        "import sys, api.app, cortex.settings; "
        "api.app.create_app(cortex.settings.Settings()); "
        "sys.exit(bool({'argon2', 'zxcvbn', 'joserfc', 'pyotp', 'cryptography'} "
        "& set(sys.modules)))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=Path(__file__).parents[3]
    )
    assert await process.wait() == 0
