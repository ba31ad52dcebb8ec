"""Who asks: many streams that ask for the same in one moment cost one look."""

import asyncio
from typing import cast

import pytest

from cortex.db.engine import Database
from cortex.db.notify import Notifier
from cortex.domain.rights import Role
from cortex.services.accounts import authentication
from cortex.services.accounts.authentication import Authenticator
from cortex.services.accounts.signing import AccessTokens


class Asked:
    """Stands where the database is asked: answers when the test lets it."""

    def __init__(self) -> None:
        self.looks = 0
        self.answer = asyncio.Event()

    def reading(self) -> "Asked":
        return self

    async def __aenter__(self) -> "Asked":
        self.looks += 1
        await self.answer.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    @property
    def projects(self) -> "Asked":
        return self

    async def memberships(self, name: str) -> dict[str, Role]:
        return {name: Role.DEVELOPER}


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def authenticator(asked: Asked) -> Authenticator:
    nothing = cast(Notifier, None)
    return Authenticator(cast(Database, asked), nothing, cast(AccessTokens, nothing))


def asking(authenticator: Authenticator, name: str) -> "asyncio.Task[object]":
    return asyncio.create_task(authenticator.memberships(name, Role.DEVELOPER))


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_look_for_all_who_ask_the_same(
    asked: Asked, authenticator: Authenticator
) -> None:
    tasks = [asking(authenticator, "ann") for _ in range(100)] + [asking(authenticator, "bob")]
    await settled()
    tasks[0].cancel()  # whoever gives up does not end the look of the others
    asked.answer.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [{"ann": Role.DEVELOPER}] * 99 + [{"bob": Role.DEVELOPER}]
    assert asked.looks == 2


async def test_a_look_from_before_a_change_is_not_joined(
    asked: Asked, authenticator: Authenticator
) -> None:
    before = asking(authenticator, "ann")
    await settled()
    authenticator.forget()
    after = asking(authenticator, "ann")
    await settled()
    assert asked.looks == 2
    asked.answer.set()
    await asyncio.gather(before, after)


async def test_nor_is_one_that_hangs(
    asked: Asked, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "_JOINED", -1.0)
    tasks = [asking(authenticator, "ann") for _ in range(2)]
    await settled()
    assert asked.looks == 2
    asked.answer.set()
    await asyncio.gather(*tasks)
    assert not authenticator._looks
