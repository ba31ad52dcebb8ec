"""What events of Kubernetes mean for a container that does not come up: pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cortex.domain.leases import PullTrouble
from providers.registries import pull_trouble

_MAX_NOTE = 300
# Said once more after each try, without the cause, which stands in an event before.
_BARE = ("error: errimagepull", "error: imagepullbackoff")


@dataclass(frozen=True)
class Trouble:
    """What is wrong. `image`: the image cannot be pulled, and why."""

    text: str
    image: PullTrouble = ""

    @property
    def unfit(self) -> bool:
        """Whether it is the job's own, and would be the same at any provider."""
        return self.image == "missing"


def trouble(events: Sequence[Mapping[str, Any]]) -> Trouble | None:
    """The newest thing that keeps a container from its start; None if nothing does."""
    bare: Trouble | None = None
    for event in reversed(events):
        if event.get("type") != "Warning":
            continue
        note = " ".join(str(event.get("note") or "").split())
        words = note.lower()
        reason = str(event.get("reason") or "")
        if reason == "InspectFailed" or ("pull" in words and "image" in words):
            text = f"the image cannot be pulled there: {note[:_MAX_NOTE]}"
            found = Trouble(text, pull_trouble(note, _quoted(note)))
            if words not in _BARE:
                return found
            bare = bare or found
        elif reason == "FailedScheduling":
            return bare or Trouble(f"its cluster has no room for the job: {note[:_MAX_NOTE]}")
    return bare


def _quoted(note: str) -> str:
    """The image's name in it, as `Failed to pull image "busybox:1": …` has it."""
    _, opening, rest = note.partition('image "')
    return rest.partition('"')[0] if opening else ""
