"""Prefixed, time-ordered identifiers such as `job_01k2x…`.

The body is a ULID (48 bits of milliseconds, 80 random bits) in lower-case Crockford base 32, so
ids sort by the time they were made and need no coordination.
"""

import os
import re
import time
from typing import Final, Literal

Prefix = Literal[
    "job",
    "evt",
    "led",
    "cmd",
    "prv",
    "pky",
    "usr",
    "key",
    "whk",
    "grp",
    "bud",
    "dlv",
    "dvc",
    "drf",
    "fnd",
    "sec",
    "ses",
    "sig",
    "tpl",
    "sch",
    "flt",
    "msg",
]

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
JOB_ID: Final = "^job_[0-9a-hjkmnp-tv-z]{26}$"
GROUP_ID: Final = "^grp_[0-9a-hjkmnp-tv-z]{26}$"
TEMPLATE_ID: Final = "^tpl_[0-9a-hjkmnp-tv-z]{26}$"
SCHEDULE_ID: Final = "^sch_[0-9a-hjkmnp-tv-z]{26}$"
_JOB_ID: Final = re.compile(JOB_ID)
_GROUP_ID: Final = re.compile(GROUP_ID)


def new_id(prefix: Prefix) -> str:
    """A new id with the given prefix."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    return f"{prefix}_{_encode(number)}"


def is_job_id(text: str) -> bool:
    """Whether the text has the form of a job id; only then it is worth looking for."""
    return bool(_JOB_ID.fullmatch(text))


def is_group_id(text: str) -> bool:
    """Whether the text has the form of a group id."""
    return bool(_GROUP_ID.fullmatch(text))


def lease_key(job_id: str, attempt: int) -> str:
    """The idempotency key of one attempt; known before any network is called."""
    return f"{job_id}-{attempt}"


def job_id_of(key: str) -> str:
    """The job id inside a lease key.

    Raises:
        ValueError: the text is no lease key.
    """
    job_id, _, attempt = key.rpartition("-")
    if not _JOB_ID.fullmatch(job_id) or not attempt.isdigit():
        raise ValueError(f"`{key}` is no lease key")
    return job_id


def is_lease_key(text: str) -> bool:
    """Whether the text has the form of a lease key (`owned()` filters by it)."""
    job_id, _, attempt = text.rpartition("-")
    return bool(_JOB_ID.fullmatch(job_id)) and attempt.isdigit()


def _encode(number: int) -> str:
    digits = [_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5)]
    return "".join(digits)
