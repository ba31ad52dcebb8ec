"""A key ring that is broken, or lacks a key that something was encrypted with."""

import base64

import pytest
from pydantic import SecretStr

from cortex.db.secrets import Sealed
from cortex.doctor.database import Stored
from cortex.doctor.findings import Verdict
from cortex.doctor.secrets import check_key_ring
from cortex.security.keyring import KeyRing
from cortex.settings import Settings

_KEY = base64.b64encode(bytes(32)).decode()
_OTHER = base64.b64encode(bytes([7] * 32)).decode()


def sealed(key: str, what: str = "jobs", count: int = 1, secret: str = _KEY) -> Stored:
    ring = KeyRing.from_setting(SecretStr(f"{key}:{secret}"))
    place = Sealed(what, "x_1", b"").place
    return Stored(key, count, Sealed(what, "x_1", ring.seal(b"{}", place)))


@pytest.mark.parametrize(
    ("ring", "stored", "verdict", "said", "fix"),
    [
        (f"k1:{_KEY}", [sealed("k1")], Verdict.OK, "`k1` encrypts", ""),
        (f"k1:{_KEY}", [], Verdict.OK, "`k1` encrypts", ""),
        (
            f"k2:{_KEY}",
            [sealed("k1", count=3), sealed("k1", "webhooks")],
            Verdict.FAULT,
            "key `k1` is not in it, and 3 of jobs, 1 of webhooks need it",
            "from your backup",
        ),
        (
            f"k1:{_KEY}",
            [sealed("k1", secret=_OTHER)],
            Verdict.FAULT,
            "key `k1` does not open them, and 1 of jobs need it",
            "it is another one",
        ),
        (
            f"k2:{_KEY},k1:{_KEY}",
            [sealed("k1"), sealed("k2")],
            Verdict.WARNING,
            "`k2` encrypts; `k1` still in use",
            "`cortex secrets rotate`",
        ),
        ("k1:short", [], Verdict.FAULT, "must be `id:base64`", "`encryption_keys`"),
        (None, [], Verdict.WARNING, "there is none", "back it up"),
        (None, [sealed("k1")], Verdict.FAULT, "key `k1` is not in it", "backup"),
        (f"k1:{_KEY}", None, Verdict.UNKNOWN, "without the database", ""),
    ],
)
def test_the_ring_against_what_is_stored(
    ring: str | None, stored: list[Stored] | None, verdict: Verdict, said: str, fix: str
) -> None:
    found = check_key_ring(Settings(encryption_keys=ring and SecretStr(ring)), stored)
    assert found.verdict == verdict
    assert said in found.detail
    assert fix in found.fix
    assert _KEY not in found.detail
