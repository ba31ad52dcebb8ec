"""What registries and container runtimes say of an image that they cannot give.

One place for all networks: Docker and Podman tell it to the adapter itself, Kubernetes in events of
a pod, a node of Nosana with its result, `gvmkit-build` on its way to Golem. Of all it is asked only
whether the registry says that there is no such image, or that it may not be had, which is the same
wherever the job is tried; or whether something came between, which may be otherwise elsewhere.
"""

import re
from typing import Final

from cortex.domain.leases import PullTrouble

_MAX_NOTE: Final = 300
# Said of the way to the registry, or by a registry of whoever asks: another network may get it.
_BETWEEN: Final = (
    "toomanyrequests",
    "too many requests",
    "rate limit",
    "no space left",
    "timeout",
    "timed out",
    "deadline exceeded",
    "no such host",
    "name resolution",
    "server misbehaving",
    "connection refused",
    "connection reset",
    "network is unreachable",
    "no route to host",
    "unexpected eof",
    "service unavailable",
    "bad gateway",
    "internal server error",
    "x509:",
)
# Said of the image itself: waiting does not help, nor another network.
_MISSING: Final = (
    "code = notfound",
    "not found",
    "manifest unknown",
    "name unknown",
    "not known to registry",
    "does not exist",
    "no such image",
    "access denied",
    "access to the resource is denied",
    "denied: ",
    "unauthorized",
    "authentication required",
    "no basic auth credentials",
    "403 forbidden",
    "no match for platform",
    "no matching manifest",
    "invalid reference format",
    "couldn't parse image",
)


def pull_trouble(text: str, image: str = "") -> PullTrouble:
    """Why an image cannot be pulled, by the words of whoever tried.

    `missing`: its registry has no such image, or refuses it to whoever asks as we do.
    `unpullable`: something came between, or nothing is said. The name of the `image` in the text
    says nothing.
    """
    words = text.lower()
    if image:
        words = re.sub(rf"(?<![\w./-]){re.escape(image.lower())}(?![\w./-])", "", words)
    if any(word in words for word in _BETWEEN):
        return "unpullable"
    return "missing" if any(word in words for word in _MISSING) else "unpullable"


def cannot_be_pulled(image: str, text: str) -> str:
    """The sentence for people: the image, where it is known, and the words of whoever tried."""
    said = " ".join(text.split())[:_MAX_NOTE]
    what = f"image `{image}`" if image else "the image"
    return f"{what} cannot be pulled{f': {said}' if said else ''}"
