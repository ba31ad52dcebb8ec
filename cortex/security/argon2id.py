"""Argon2id. Loaded with the first password; its functions take a while and much memory."""

import base64
import os

from argon2 import PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError

from cortex.domain.passwords import PasswordRules


def hashed(password: str, rules: PasswordRules) -> str:
    """What is stored of a password."""
    return _hasher(rules).hash(password)


def matches(stored: str, password: str, rules: PasswordRules) -> bool:
    """Whether it is the password that was stored."""
    try:
        return _hasher(rules).verify(stored, password)
    except (Argon2Error, InvalidHashError):
        return False


def outdated(stored: str, rules: PasswordRules) -> bool:
    """Whether it was stored at other costs than these."""
    return _hasher(rules).check_needs_rehash(stored)


def of_nobody(rules: PasswordRules) -> str:
    """What no password matches; to find that out takes as long as with a real one."""
    salt, tag = (base64.b64encode(os.urandom(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m={rules.memory // 1024},t={rules.rounds},p=1${salt}${tag}"


def _hasher(rules: PasswordRules) -> PasswordHasher:
    return PasswordHasher(
        time_cost=rules.rounds, memory_cost=rules.memory // 1024, parallelism=1, type=Type.ID
    )
