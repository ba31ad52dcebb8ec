"""Result files: the runner puts them into the drop box as one tar, which is untrusted input."""

import asyncio
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from providers.dropbox import OUTPUTS, DropBox
from providers.errors import InvalidSpec, Unavailable

Parts = tuple[str, ...]


async def collect(
    drop: DropBox, key: str, paths: Sequence[str], destination: Path, limit: int
) -> list[Path]:
    """The declared files, below `destination`; none if the job has put none there.

    Raises:
        InvalidSpec: they are larger than `limit`.
        Unavailable: the drop box does not answer, or holds no whole archive.
    """
    with tempfile.TemporaryDirectory(prefix="cortex-nosana-") as folder:
        archive = Path(folder) / OUTPUTS
        if not await drop.download(key, OUTPUTS, archive):
            return []
        wanted = [parts for path in paths if (parts := _parts(path))]
        return await asyncio.to_thread(_unpack, archive, wanted, destination, limit)


def _unpack(archive: Path, wanted: Sequence[Parts], destination: Path, limit: int) -> list[Path]:
    """Regular files below the declared paths only: no links, no devices, nothing outside."""
    written: set[Path] = set()
    try:
        with tarfile.open(archive, mode="r:") as tar:
            for member in tar:
                parts = _parts(member.name)
                if not member.isreg() or not any(parts[: len(top)] == top for top in wanted):
                    continue
                limit -= member.size
                if limit < 0:
                    raise InvalidSpec("the outputs are larger than `max_output_bytes` allows")
                source = tar.extractfile(member)
                if source is not None:
                    target = destination.joinpath(*parts)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with source, target.open("wb") as out:
                        shutil.copyfileobj(source, out, 2**20)
                    written.add(Path(*parts))
    except (tarfile.TarError, EOFError) as error:
        raise Unavailable("the job's outputs arrived damaged") from error
    return sorted(written)


def _parts(name: str) -> Parts:
    """The parts of a relative path; none where it leads out."""
    parts = tuple(part for part in PurePosixPath(name).parts if part not in ("/", "."))
    return () if ".." in parts or "\0" in name else parts
