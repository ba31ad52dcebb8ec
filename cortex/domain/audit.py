"""The audit log: who changed what, from where, and who tried without being allowed.

Every entry is sealed into a chain within seconds: its seal is a hash over the entry and the seal
before it, so that an entry which is changed, removed or slipped in later shows.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

MAX_PROBLEMS: Final = 100
"""A verification names so many, and counts the rest."""

HEAD: Final = r"^[0-9]{1,18}:[0-9a-f]{64}$"
"""What the head of the chain looks like in text: how many entries it has, and the last seal."""


class Outcome(StrEnum):
    """What came of it."""

    DONE = "done"
    DENIED = "denied"


class AuditEntry(BaseModel):
    """One line of the audit log; it holds no secrets.

    Attributes:
        actor: Name of who asked; empty where nobody could be told.
        credential: With which key, by its visible part; empty for those of the settings.
        action: What was done, such as `job.cancel`; of a denied attempt, what it would have been.
        subject: Id of the thing; of a denied attempt, the path.
        source: Address that the request came from.
        request_id: Correlation id of the request, as in `X-Request-Id` and the logs.
        data: More about it; `before` and `after` hold the values that were changed.
    """

    model_config = ConfigDict(frozen=True)

    id: int
    created_at: datetime
    actor: str
    credential: str
    action: str
    subject: str
    source: str
    request_id: str
    outcome: Outcome
    data: dict[str, Any]


class Head(BaseModel):
    """The newest seal. Whoever keeps it elsewhere can tell later whether entries before are gone.

    Attributes:
        seq: How many entries the chain has.
        seal: SHA-256 in hex.
    """

    model_config = ConfigDict(frozen=True)

    seq: int = Field(ge=0)
    seal: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.seal}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Of the form `HEAD`."""
        seq, _, seal = text.partition(":")
        return cls(seq=int(seq), seal=seal)


def changed_values(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What differs, as it was and as it is now; a value that is on one side only counts too."""
    names = [
        name
        for name in {**before, **after}
        if name not in before or name not in after or before[name] != after[name]
    ]
    old = {name: before[name] for name in names if name in before}
    return old, {name: after[name] for name in names if name in after}


NO_ENTRY: Final = Head(seq=0, seal="")


def seal_of(before: bytes, content: str) -> bytes:
    """The seal of an entry.

    Args:
        before: The seal before it; empty for the first.
        content: The entry as a JSON array, as PostgreSQL writes `jsonb`.
    """
    return hashlib.sha256(before + content.encode()).digest()
