"""Secrets under a key ring come back, at their place only; what was stored before is read."""

import base64

import pytest

from cortex.domain.errors import CortexError, ServiceUnavailable
from cortex.security.keyring import KeyRing

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
SECRETS = {"TOKEN": "s3cret"}
# Made by the first release, under `OLD`.
STORED = base64.b64decode("AmsxhAEGcsnKvBCQzalQ5df8u8G2VFDpZqTXW4SGC56FXquXMBh3nhTERW3C/NF5P04=")


def test_they_come_back() -> None:
    ring = KeyRing({"k1": OLD})
    assert ring.decrypt(ring.encrypt(SECRETS, "job_1"), "job_1") == SECRETS


def test_what_was_stored_before_is_read_under_a_newer_key_too() -> None:
    assert KeyRing({"k2": NEW, "k1": OLD}).decrypt(STORED, "job_1") == SECRETS


@pytest.mark.parametrize(
    ("ring", "place", "why"),
    [
        (KeyRing({"k1": OLD}), "job_2", "cannot be decrypted"),
        (KeyRing({"k1": NEW}), "job_1", "cannot be decrypted"),
        (KeyRing({"k2": NEW}), "job_1", "`k1` is not configured"),
    ],
    ids=["another place", "another key", "no key"],
)
def test_they_do_not_come_back(ring: KeyRing, place: str, why: str) -> None:
    with pytest.raises(CortexError, match=why):
        ring.decrypt(STORED, place)


def test_without_a_key_nothing_is_stored() -> None:
    with pytest.raises(ServiceUnavailable, match="no `encryption_keys`"):
        KeyRing({}).encrypt(SECRETS, "job_1")
