"""What came of collecting result files: those written, and what is known beyond their paths."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

NOTHING_MATCHED = "matches nothing"
NOT_SENT = (
    "did not arrive: the job's container sent no results; for that it must have ended by itself, "
    "have `curl` or `wget`, and send no more than the drop box takes (`drop.max_bytes`)"
)
GONE = "is gone with the machine that ran the job"


@dataclass(frozen=True)
class LeftOut:
    """Something that was declared and is not kept.

    `path` is printable; `raw` its bytes, if they are others. `reason` ends a sentence that begins
    with the path.
    """

    path: str
    reason: str
    raw: bytes | None = None

    @property
    def unmatched(self) -> bool:
        """Whether `path` is a declared output that nothing matched."""
        return self.reason == NOTHING_MATCHED


class Collected(list[Path]):
    """The files written, relative to the destination; in a list, as providers have always given it.

    Attributes:
        folders: The folders that are empty; they are made.
        raw: The name that a job gave, for each path of which it is another.
        left_out: What is not kept, with its reason.
    """

    def __init__(
        self,
        files: Iterable[Path] = (),
        *,
        folders: Iterable[Path] = (),
        raw: dict[Path, bytes] | None = None,
        left_out: Iterable[LeftOut] = (),
    ) -> None:
        super().__init__(files)
        self.folders = list(folders)
        self.raw = raw or {}
        self.left_out = list(left_out)

    @classmethod
    def nothing(cls, declared: Iterable[str], reason: str) -> "Collected":
        """No files: each declared output is left out for this reason."""
        return cls(left_out=[LeftOut(path, reason) for path in dict.fromkeys(declared)])
