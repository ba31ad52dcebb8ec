"""Result files: the runner puts them into the drop box as one tar, which is untrusted input."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from providers.collected import NOT_SENT, Collected
from providers.dropbox import OUTPUTS, DropBox
from providers.outputs import unpack_archive


async def collect(
    drop: DropBox, key: str, paths: Sequence[str], destination: Path, limit: int
) -> Collected:
    """The declared files, below `destination`; none if the job has put none there.

    Raises:
        InvalidSpec: they are larger than `limit`.
        Unavailable: the drop box does not answer, or holds no whole archive.
    """
    with tempfile.TemporaryDirectory(prefix="cortex-nosana-") as folder:
        archive = Path(folder) / OUTPUTS
        if not await drop.download(key, OUTPUTS, archive):
            return Collected.nothing(paths, NOT_SENT)
        return await asyncio.to_thread(unpack_archive, archive, paths, destination, limit)
