"""Messages to single persons, on their way: what they hold, and what became of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Self


class Channel(StrEnum):
    EMAIL = "email"
    CHAT = "chat"


class MessageKind(StrEnum):
    INVITATION = "invitation"
    RESET = "reset"
    NOTICE = "notice"


class MessageState(StrEnum):
    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"
    """Given up: refused for good, too late, or another one took its place."""


@dataclass(frozen=True)
class Content:
    """What is sent, and where: stored encrypted, and no longer than until it is sent.

    Attributes:
        to: An address of mail, or a URL as Apprise writes it.
        text: Plain.
        unsubscribe: Where one is not told any more; empty: nothing can be switched off.
    """

    to: str = field(repr=False)
    subject: str
    text: str = field(repr=False)
    unsubscribe: str = field(default="", repr=False)

    def words(self) -> dict[str, str]:
        """For encryption."""
        return {
            "to": self.to,
            "subject": self.subject,
            "text": self.text,
            "unsubscribe": self.unsubscribe,
        }

    @classmethod
    def of(cls, words: Mapping[str, str]) -> Self:
        """What was encrypted."""
        return cls(words["to"], words["subject"], words["text"], words.get("unsubscribe", ""))


@dataclass(frozen=True)
class Outcome:
    """What became of the last message to somebody over a channel."""

    state: MessageState
    error: str
    time: datetime
