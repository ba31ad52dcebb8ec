"""Passwords: hashed and checked beside the event loop, a few at once."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, TypeVar

from cortex.domain.errors import FieldError, InvalidRequest, ServiceUnavailable
from cortex.domain.passwords import PasswordRules, normalized

T = TypeVar("T")

_MOST_WAITING: Final = 16
"""More would hold the places of other requests for seconds."""
_KNOWN_WORDS: Final = ("cortex",)


@dataclass(frozen=True)
class Checked:
    """Whether a password is the right one, and its hash at today's costs if that is another."""

    right: bool
    renewed: str | None = None


class Passwords:
    """Hashes and checks passwords, and says which are too weak."""

    def __init__(self, rules: PasswordRules) -> None:
        self._rules = rules
        self._threads = ThreadPoolExecutor(rules.at_once, thread_name_prefix="passwords")
        self._pending = 0

    async def hashed(self, password: str) -> str:
        """What to store of a password.

        Raises:
            ServiceUnavailable: too many passwords are being hashed.
        """
        return await self._beside(lambda: _argon2id().hashed(normalized(password), self._rules))

    async def check(self, stored: str | None, password: str) -> Checked:
        """Whether it is the stored password; it takes as long where nothing is stored.

        Raises:
            ServiceUnavailable: too many passwords are being hashed.
        """
        return await self._beside(lambda: self._check(stored, normalized(password)))

    async def require_strong(self, password: str, user: str, *, field: str) -> None:
        """Go on only if it is hard to guess.

        Args:
            password: The new one.
            user: Whose it will be; their name makes it easier to guess.
            field: The field of the request that it stands in.

        Raises:
            InvalidRequest: it is too short, or easy to guess; says why.
        """
        password = normalized(password)
        if len(password) < self._rules.least_length:
            raise _weak(field, f"must have at least {self._rules.least_length} characters")
        known = (user, *_KNOWN_WORDS)
        score, why = await self._beside(lambda: _strength(password, known))
        if score < self._rules.least_score:
            told = f": {why}" if why else ""
            raise _weak(field, f"is easy to guess ({score} of 4){told}")

    def _check(self, stored: str | None, password: str) -> Checked:
        library = _argon2id()
        right = library.matches(
            library.of_nobody(self._rules) if stored is None else stored, password, self._rules
        )
        if stored is None or not right:
            return Checked(right=False)
        outdated = library.outdated(stored, self._rules)
        return Checked(
            right=True, renewed=library.hashed(password, self._rules) if outdated else None
        )

    async def _beside(self, work: Callable[[], T]) -> T:
        # Threads of their own: one that goes on after its request was given up still counts.
        if self._pending >= self._rules.at_once + _MOST_WAITING:
            raise ServiceUnavailable("too many passwords are being checked; try again")
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._pending -= 1


def _weak(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(
        f"the password is not taken: `{field}` {message}",
        errors=[FieldError(field=field, message=message)],
    )


def _argon2id() -> Any:
    return import_module("cortex.security.argon2id")


def _strength(password: str, known: tuple[str, ...]) -> tuple[int, str]:
    rated: tuple[int, str] = import_module("cortex.security.strength").strength(password, known)
    return rated
