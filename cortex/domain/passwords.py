"""Passwords: what one has to be, and what it costs to check it."""

import unicodedata
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.quantities import Bytes

MOST_CHARACTERS: Final = 256
"""Of a password, and so at most 1,024 bytes: nobody lets the server hash megabytes."""


class PasswordRules(BaseModel):
    """How passwords are stored (Argon2id), and how good they must be.

    A stored password is hashed anew at the next login once these costs have changed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_length: int = Field(
        default=10, ge=8, le=64, description="Characters that a password has at least."
    )
    least_score: int = Field(
        default=3, ge=0, le=4, description="What zxcvbn must give it: 3 of 4 is hard to guess."
    )
    memory: Bytes = Field(
        default=64 * 2**20, ge=8 * 2**10, le=4 * 2**30, description="Of Argon2id, for one password."
    )
    rounds: int = Field(default=3, ge=1, le=100, description="Of Argon2id, for one password.")
    at_once: int = Field(
        default=2, ge=1, le=64, description="Passwords that one process hashes at once."
    )


def normalized(password: str) -> str:
    """The same password, however a keyboard composes its letters (NFKC)."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str) -> str:
    """The text, if it may be a password at all.

    Raises:
        ValueError: it may not; says why, and never what it is.
    """
    if not password:
        raise ValueError("must not be empty")
    if len(password) > MOST_CHARACTERS:
        raise ValueError(f"may have at most {MOST_CHARACTERS} characters")
    if "\0" in password:
        raise ValueError("contains a NUL character")
    try:
        password.encode()
    except UnicodeEncodeError:
        raise ValueError("contains half of a character") from None
    return password
