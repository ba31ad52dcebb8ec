"""Accounts: people and services with a name and a role, and the API keys that they send.

A key is `ctx_<8 characters>_<43 characters>`: the first part is shown everywhere (the key's
prefix), the second is a secret of 256 bits that is shown once. The last six characters of it are a
checksum, so that what was mistyped, or made up, is refused without asking the database.
"""

import binascii
import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from pydantic import BaseModel, ConfigDict

from cortex.domain.money import Money
from cortex.domain.rights import NEVER_WITH_BUDGET, Action, Role

USER_NAME: Final = "^[a-z][a-z0-9._-]{0,62}$"
SCOPE: Final = "^([a-z]+:[a-z]+|[a-z]+:\\*|read)$"
READ_ONLY: Final = "read"
"""The scope of everything that changes nothing."""

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MARK: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_KEY: Final = re.compile(r"ctx_[0-9a-hjkmnp-tv-z]{8}_[0-9A-Za-z]{49}")
_SECRET: Final = 43
_SUM: Final = 6


class UserKind(StrEnum):
    PERSON = "person"
    SERVICE = "service"
    """A program: it has keys and never a password."""


class User(BaseModel):
    """Somebody with a name, which also owns the jobs that are submitted under it.

    Attributes:
        email: Where links and notices are sent; empty: nowhere.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    kind: UserKind
    role: Role
    active: bool
    email: str = ""
    created_at: datetime
    updated_at: datetime


class KeyBudget(BaseModel):
    """What everything that is submitted with a key may cost in all, and how much of it is used.

    Attributes:
        amount: The most that it may be.
        spent: What is charged, or held for leases.
        reserved: Set aside for accepted jobs that have no lease.
        left: What may still be set aside; below zero if a network charged more than it offered.
    """

    model_config = ConfigDict(frozen=True)

    amount: Money
    spent: Money
    reserved: Money
    left: Money


class ApiKey(BaseModel):
    """A key as it is known afterwards: without its secret.

    Attributes:
        name: What it is for, in its owner's words.
        prefix: Its visible part.
        project: The only one in which it opens anything; None: wherever its owner may go.
        scopes: What it may do at most; empty: whatever its owner's role allows.
        created_by: Who made it.
        budget: None: what is submitted with it counts against no budget of its own.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    user: str
    name: str
    prefix: str
    project: str | None = None
    scopes: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    last_used_from: str
    revoked_at: datetime | None
    budget: KeyBudget | None = None


@dataclass(frozen=True)
class NewKey:
    """A key as it is made: the only time that its text is known."""

    text: str

    @property
    def prefix(self) -> str:
        return self.text[:12]

    @classmethod
    def make(cls) -> "NewKey":
        mark = "".join(secrets.choice(_MARK) for _ in range(8))
        secret = "".join(secrets.choice(_DIGITS) for _ in range(_SECRET))
        front = f"ctx_{mark}_{secret}"
        return cls(front + _checksum(front))

    def __repr__(self) -> str:
        return f"NewKey({self.prefix}…)"


def key_hash(text: str) -> str:
    """What is stored of a key. Its secret has 256 bits: nobody can try them, so no salt."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_key(text: str) -> bool:
    """Whether a text is a key by its form and checksum; only then it is worth looking for."""
    if not _KEY.fullmatch(text):
        return False
    return secrets.compare_digest(_checksum(text[:-_SUM]), text[-_SUM:])


def check_user_name(name: str) -> str:
    """The name, if it may be one.

    Raises:
        ValueError: it may not; says what a name is made of.
    """
    if not re.fullmatch(USER_NAME, name):
        raise ValueError(
            "must be 1 to 63 lower-case letters, digits, `.`, `_` or `-`, and begin with a letter"
        )
    return name


@lru_cache(maxsize=256)
def scopes_of(words: tuple[str, ...]) -> frozenset[Action] | None:
    """The actions that scopes allow: `jobs:read`, `jobs:*`, `read`; None for no scopes: all.

    Raises:
        ValueError: one is no scope; names it and those there are.
    """
    if not words:
        return None
    actions: set[Action] = set()
    for word in words:
        noun, _, verb = word.partition(":")
        matching = {
            action
            for action in Action
            if action.value == f"{noun}.{verb}"
            or (verb == "*" and action.value.startswith(f"{noun}."))
            or (word == READ_ONLY and action.value.endswith(".read"))
        }
        if not matching:
            known = ", ".join(f"`{name}`" for name in known_scopes())
            raise ValueError(f"`{word[:60]}` is no scope; there are {known}, and such as `jobs:*`")
        actions |= matching
    return frozenset(actions)


def allowed_by(words: tuple[str, ...], *, budget: bool) -> frozenset[Action] | None:
    """The actions that a key with these scopes allows, with or without a budget; None: all.

    Raises:
        ValueError: one is no scope.
    """
    actions = scopes_of(words)
    if not budget:
        return actions
    return (frozenset(Action) if actions is None else actions) - NEVER_WITH_BUDGET


def known_scopes(*, stars: bool = False) -> list[str]:
    """Every scope; those with a star too, if they are asked for."""
    words = [action.value.replace(".", ":") for action in Action]
    nouns = sorted({word.partition(":")[0] for word in words}) if stars else []
    return [READ_ONLY, *words, *(f"{noun}:*" for noun in nouns)]


def _checksum(text: str) -> str:
    number = binascii.crc32(text.encode())
    digits = ""
    for _ in range(_SUM):
        number, digit = divmod(number, len(_DIGITS))
        digits += _DIGITS[digit]
    return digits
