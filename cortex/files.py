"""Keeping result files: moved into place whole, with their sizes and digests."""

import asyncio
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KeptFile:
    path: str
    size: int
    sha256: str


async def collect(parts: Path, written: Sequence[Path], target: Path) -> list[KeptFile]:
    """Put the files written below `parts` in place of the folder `target`.

    Raises:
        OSError: the disk is full, or may not be written.
    """
    return await asyncio.to_thread(_collect, parts, written, target)


def _collect(parts: Path, written: Sequence[Path], target: Path) -> list[KeptFile]:
    files = [_kept(parts, path) for path in sorted(set(written))]
    shutil.rmtree(target, ignore_errors=True)
    parts.replace(target)
    return files


def _kept(root: Path, path: Path) -> KeptFile:
    digest = hashlib.sha256()
    with (root / path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        return KeptFile(path=path.as_posix(), size=file.tell(), sha256=digest.hexdigest())
