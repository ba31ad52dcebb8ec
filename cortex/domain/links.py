"""One-time links by which somebody sets a password: an invitation, or a reset."""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LINK_TOKEN: Final = "^ctl_[A-Za-z0-9_-]{43}$"
_LINK_TOKEN: Final = re.compile(LINK_TOKEN)
_IN_TEXT: Final = re.compile(LINK_TOKEN[1:-1])


def without_links(text: str) -> str:
    """A text of others, in which no token of a link stands any more."""
    return _IN_TEXT.sub("ctl_…", text)


class LinkKind(StrEnum):
    INVITATION = "invitation"
    RESET = "reset"
    """For somebody who has a password already."""


@dataclass(frozen=True)
class LinkToken:
    """The token of a link; only its hash is stored."""

    text: str

    @classmethod
    def make(cls) -> "LinkToken":
        secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        return cls(f"ctl_{secret}")

    @classmethod
    def read(cls, text: str) -> "LinkToken | None":
        """The token, if the text has the form of one."""
        return cls(text) if _LINK_TOKEN.fullmatch(text) else None

    @property
    def hash(self) -> str:
        """What is stored. It has 256 bits: nobody can try them, so no salt."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __repr__(self) -> str:
        return "LinkToken(…)"
