"""Making room on a full disk at once, with the files of a job that was ended for it.

Nobody else can be waited for: the servers that would have them collected may need that very room.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress

REMOVED = "removed.json"
"""In the folder of a lease: which files were removed, `[path, bytes]` each, and how many more."""
_LARGE = 2**20
_MOST_NAMED = 1000


class Removal:
    """Removes files of a job until there is room: scratch files, then the largest, then others."""

    def __init__(self, work: str, scratch: list[str], low: Callable[[], bool]) -> None:
        self.work, self.scratch, self.low = work, scratch, low
        self.named: list[tuple[str, int]] = []
        self.more = 0

    def run(self) -> None:
        for folder in self.scratch:
            self._remove(_files(folder), name=False)
        large = [sized for sized in _files(self.work) if sized[0] >= _LARGE]
        self._remove(iter(sorted(large, reverse=True)), name=True)
        self._remove(_files(self.work), name=True)

    def write(self, lease: str) -> None:
        """For whoever collects the results."""
        if not self.named:
            return
        with suppress(OSError), open(os.path.join(lease, REMOVED), "w") as file:
            json.dump({"files": self.named, "more": self.more}, file)

    def _remove(self, files: Iterator[tuple[int, str]], *, name: bool) -> None:
        while self.low():
            size, path = next(files, (0, ""))
            if not path:
                return
            with suppress(OSError):
                os.unlink(path)
                if not name:
                    continue
                if len(self.named) < _MOST_NAMED:
                    self.named.append((os.path.relpath(path, self.work), size))
                else:
                    self.more += 1


def _files(folder: str) -> Iterator[tuple[int, str]]:
    """All but folders, with their sizes; links are not followed."""
    todo = [folder]
    while todo:
        with suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                else:
                    yield entry.stat(follow_symlinks=False).st_size, entry.path
