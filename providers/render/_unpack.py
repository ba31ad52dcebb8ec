"""Unpacking what a container has sent: untrusted input.

Only regular files are written, each below a declared path; links, devices, absolute names and
`..` are left out.
"""

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from providers.errors import InvalidSpec, Unavailable


def unpack(archive: Path, declared: Sequence[str], destination: Path, limit: int) -> list[Path]:
    """Write the archive's files below `destination`; blocks. The files, relative to it.

    Raises:
        InvalidSpec: they are larger than `limit`.
        Unavailable: it is no whole archive.
    """
    tops = [parts for path in declared if (parts := _parts(path.lstrip("/")))]
    written: set[Path] = set()
    left = limit
    try:
        with tarfile.open(archive, mode="r:") as tar:
            for member in tar:
                parts = _parts(member.name)
                if not member.isreg() or not any(parts[: len(top)] == top for top in tops):
                    continue
                left -= member.size
                if left < 0:
                    raise InvalidSpec(f"the outputs are larger than {limit} bytes")
                source = tar.extractfile(member)
                if source is not None:
                    target = destination.joinpath(*parts)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with source, target.open("wb") as out:
                        shutil.copyfileobj(source, out, 2**20)
                    written.add(Path(*parts))
    except (tarfile.TarError, EOFError) as error:
        raise Unavailable("the container sent files that cannot be unpacked") from error
    return sorted(written)


def _parts(name: str) -> tuple[str, ...]:
    """The parts of a path that stays inside; empty for any other."""
    path = PurePosixPath(name)
    parts = tuple(part for part in path.parts if part != ".")
    return () if path.is_absolute() or ".." in parts or "\0" in name else parts
