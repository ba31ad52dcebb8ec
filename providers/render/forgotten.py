"""Remembers which leases are done with, at a network that keeps its records for ever.

An empty file for each; they are dropped once the network's list is not looked at that far back.
"""

import contextlib
import time
from datetime import timedelta
from pathlib import Path


class Forgotten:
    """Its methods block shortly; call them in threads."""

    def __init__(self, folder: Path, keep: timedelta) -> None:
        self._folder = folder
        self._keep = keep.total_seconds()

    def add(self, key: str) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._folder / key).touch()

    def keys(self) -> frozenset[str]:
        """Those that may still be listed; older ones are dropped."""
        if not self._folder.is_dir():
            return frozenset()
        limit = time.time() - 2 * self._keep
        kept: set[str] = set()
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # somebody else has dropped it meanwhile
                if path.stat().st_mtime >= limit:
                    kept.add(path.name)
                else:
                    path.unlink()
        return frozenset(kept)
