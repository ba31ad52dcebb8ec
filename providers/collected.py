"""What came of collecting result files: those written, and those that are not kept."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LeftOut:
    """Something that was declared and is not kept; `reason` ends a sentence that begins with it."""

    path: str
    reason: str


class Collected(list[Path]):
    """The files written, relative to the destination; in a list, as providers have always given it.

    Attributes:
        left_out: What is not kept, with its reason.
    """

    def __init__(self, files: Iterable[Path] = (), *, left_out: Iterable[LeftOut] = ()) -> None:
        super().__init__(files)
        self.left_out = list(left_out)
