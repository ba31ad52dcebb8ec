"""What events of Kubernetes mean for a container that does not come up: pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MAX_NOTE = 300
# Said of the image itself, by registries and by container runtimes: waiting does not help.
_WRONG_IMAGE = (
    "code = notfound",
    "not found",
    "manifest unknown",
    "name unknown",
    "does not exist",
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
# Said in the same breath at times, but of the provider: another one may well get the image.
_THEIR_PULLING = ("toomanyrequests", "too many requests", "rate limit", "no space left", "timeout")


@dataclass(frozen=True)
class Trouble:
    """What is wrong. `unfit`: it is the job's own, and would be the same at any provider."""

    text: str
    unfit: bool


def trouble(events: Sequence[Mapping[str, Any]]) -> Trouble | None:
    """The newest thing that keeps a container from its start; None if nothing does."""
    for event in reversed(events):
        if event.get("type") != "Warning":
            continue
        note = " ".join(str(event.get("note") or "").split())
        words = note.lower()
        reason = str(event.get("reason") or "")
        if reason == "InspectFailed" or ("pull" in words and "image" in words):
            theirs = any(word in words for word in _THEIR_PULLING)
            wrong = not theirs and any(word in words for word in _WRONG_IMAGE)
            return Trouble(f"the image cannot be pulled there: {note[:_MAX_NOTE]}", wrong)
        if reason == "FailedScheduling":
            return Trouble(f"its cluster has no room for the job: {note[:_MAX_NOTE]}", False)
    return None
