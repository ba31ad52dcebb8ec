"""Names of images: those that every registry reads, and those that none does."""

import pytest

from cortex.domain.conditions.references import REFERENCE, TAGGED, is_reference

_DIGEST = f"@sha256:{'0' * 64}"
GOOD = [
    "busybox",
    "busybox:1.36",
    "library/busybox:latest",
    "ghcr.io/acme/a_b/c-d.e:V1.0_x",
    "localhost:5000/x",
    "Registry.Example.com:443/a/b__c/d---e",
    "127.0.0.1:5000/x:1",
    "4bcff63911fc",
]
BAD = [
    "busybox:",
    "busybox:1::2",
    "acme/Upper:1",
    "a//b",
    "a/b/",
    "a_.b",
    "x:-1",
    "x@sha256:12",
    "x:1@",
    f"x:{'t' * 129}",
]


@pytest.mark.parametrize("image", GOOD)
def test_right(image: str) -> None:
    assert is_reference(image)
    assert is_reference(image, TAGGED)
    assert is_reference(image + _DIGEST)
    assert not is_reference(image + _DIGEST, TAGGED)


@pytest.mark.parametrize("image", BAD)
def test_wrong(image: str) -> None:
    assert not is_reference(image, REFERENCE)
