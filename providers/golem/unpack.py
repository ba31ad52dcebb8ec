"""Unpacking the outputs that a provider sends: untrusted input.

Only regular files are written, each below the path that was declared; links, devices, absolute
names and `..` are left out.
"""

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from providers.errors import InvalidSpec, Unavailable


def unpack(archive: Path, declared: Sequence[str], destination: Path, limit: int) -> list[Path]:
    """Write the archive's files below `destination`; blocking, so run it in a thread.

    Returns:
        The files, relative to `destination`.

    Raises:
        InvalidSpec: the files are larger than `limit`.
        Unavailable: it is no whole archive.
    """
    wanted = [_parts(path) for path in declared]
    written: list[Path] = []
    left = limit
    try:
        with tarfile.open(archive, mode="r:*") as tar:
            for member in tar:
                parts = _parts(member.name)
                if not member.isreg() or not any(_below(parts, path) for path in wanted):
                    continue
                left -= member.size
                if left < 0:
                    raise InvalidSpec(
                        f"the outputs are larger than the {limit} bytes that this provider copies "
                        "(`max_output_bytes`)"
                    )
                source = tar.extractfile(member)
                if source is not None:
                    target = _made(destination, parts)
                    with source, target.open("wb") as out:
                        shutil.copyfileobj(source, out, 2**20)
                    written.append(Path(*(parts or ())))
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Unavailable("the provider sent outputs that cannot be unpacked") from None
    return sorted(set(written))


def _parts(name: str) -> tuple[str, ...] | None:
    """The parts of a relative path; None where it leads out."""
    parts = tuple(part for part in PurePosixPath(name).parts if part not in ("/", "."))
    return None if not parts or ".." in parts or "\0" in name else parts


def _below(parts: tuple[str, ...] | None, top: tuple[str, ...] | None) -> bool:
    return parts is not None and top is not None and parts[: len(top)] == top


def _made(destination: Path, parts: tuple[str, ...] | None) -> Path:
    """The file's place; whatever else stands in its way (links above all) is replaced."""
    place = destination
    *folders, name = parts or ("",)
    for part in folders:
        place = place / part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            place.unlink()
        place.mkdir(parents=True, exist_ok=True)
    target = place / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.is_file():
        target.unlink()
    elif target.is_dir():
        shutil.rmtree(target)
    return target
