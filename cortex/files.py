"""Keeping result files: moved into place whole, with their sizes and digests."""

import asyncio
import contextlib
import hashlib
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


async def put_in_place(parts: Path, target: Path) -> None:
    """Swap the folder `parts` with the folder `target`, which need not be there.

    Raises:
        OSError: the disk may not be written.
    """
    await asyncio.to_thread(_put_in_place, parts, target)


def _digests(parts: Path, written: Sequence[Path]) -> list[KeptFile]:
    return [_kept(parts, path) for path in sorted(set(written))]


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
