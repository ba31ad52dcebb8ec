"""Keeping result files: moved into place whole, with their sizes and digests."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KeptFile:
    path: str
    size: int
    sha256: str


async def digests(parts: Path, written: Sequence[Path]) -> list[KeptFile]:
    """Sizes and digests of the files written below `parts`.

    Raises:
        OSError: one cannot be read.
    """
    return await asyncio.to_thread(_digests, parts, written)


async def add_missing(parts: Path, earlier: Path) -> None:
    """Put the files below `earlier`, which need not be there, into `parts` where it has none.

    Raises:
        OSError: the disk may not be written.
    """
    await asyncio.to_thread(_add_missing, parts, earlier)


async def put_in_place(parts: Path, target: Path) -> None:
    """Swap the folder `parts` with the folder `target`, which need not be there.

    Raises:
        OSError: the disk may not be written.
    """
    await asyncio.to_thread(_put_in_place, parts, target)


def _digests(parts: Path, written: Sequence[Path]) -> list[KeptFile]:
    return [_kept(parts, path) for path in sorted(set(written))]


def _add_missing(parts: Path, earlier: Path) -> None:
    for path in earlier.rglob("*"):
        target = parts / path.relative_to(earlier)
        if path.is_file() and not path.is_symlink() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)


def _put_in_place(parts: Path, target: Path) -> None:
    old = parts.with_name(f"{parts.name}.old.part")
    with contextlib.suppress(FileNotFoundError):
        target.replace(old)
    parts.replace(target)
    with contextlib.suppress(FileNotFoundError):
        old.replace(parts)


def _kept(root: Path, path: Path) -> KeptFile:
    digest = hashlib.sha256()
    with (root / path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        return KeptFile(path=path.as_posix(), size=file.tell(), sha256=digest.hexdigest())
