"""Unpacking result files: a tar that comes from a job is untrusted input.

Devices, `..` and links that lead out are left out, whatever the archive says.
"""

import os
import posixpath
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from providers.errors import InvalidSpec, Unavailable

Parts = tuple[str, ...]


class Budget:
    """How many bytes may still be written."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit

    def spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise InvalidSpec(
                f"the outputs are larger than the {self._limit} bytes that this provider copies "
                "(`max_output_bytes`)"
            )

    @property
    def left(self) -> int:
        return self._left


def unpack_declared(
    archive: Path, declared: Sequence[str], destination: Path, limit: int
) -> list[Path]:
    """Write what stands below the declared paths, as the runner packs them: regular files only.

    Blocking, so run it in a thread.

    Returns:
        The files, relative to `destination`.

    Raises:
        InvalidSpec: they are larger than `limit` bytes.
        Unavailable: it is no whole archive.
    """
    tops = [parts for path in declared if (parts := _parts(path))]
    budget = Budget(limit)
    written: set[Path] = set()
    try:
        with tarfile.open(archive, mode="r:*") as tar:
            for member in tar:
                parts = _parts(member.name)
                if not member.isreg() or not any(parts[: len(top)] == top for top in tops):
                    continue
                budget.spend(member.size)
                source = tar.extractfile(member)
                if source is not None:
                    target = _file(destination, PurePosixPath(*parts), member.mode)
                    with source, target.open("wb") as out:
                        shutil.copyfileobj(source, out, 1 << 20)
                    written.add(Path(*parts))
    except (tarfile.TarError, EOFError) as error:
        raise Unavailable("the job's outputs arrived damaged") from error
    return sorted(written)


def unpack_inputs(archive: Path, destination: Path) -> None:
    """Write the files and folders of a tar of inputs below `destination`. Blocking.

    Raises:
        OSError: they cannot be written.
    """
    with tarfile.open(archive, mode="r:") as tar:
        for member in tar:
            parts = _parts(member.name)
            if parts and member.isdir():
                _folder(destination, PurePosixPath(*parts))
            elif parts and member.isreg():
                source = tar.extractfile(member)
                if source is not None:
                    target = _file(destination, PurePosixPath(*parts), member.mode)
                    with source, target.open("wb") as out:
                        shutil.copyfileobj(source, out, 1 << 20)


def _parts(name: str) -> Parts:
    """The parts of a path, from the root as well; none where it leads out."""
    parts = tuple(part for part in PurePosixPath(name).parts if part not in ("/", "."))
    return () if ".." in parts or "\0" in name else parts


def unpack(archive: Path, destination: Path, declared: str, budget: Budget) -> list[Path]:
    """Write the files of a tar of one path, folders as well.

    A link is replaced by the file it points at if that is in the same tree. Blocking, so run it
    in a thread.

    Args:
        archive: The tar; its first path component stands for the declared path.
        destination: The folder below which everything is written.
        declared: The declared path, `result/out.txt`; files get the same path below it.
        budget: Shared by all declared paths of a job.

    Returns:
        The files, relative to `destination`.

    Raises:
        InvalidSpec: the files are too large.
    """
    top = PurePosixPath(declared.lstrip("/"))
    written: dict[PurePosixPath, Path] = {}
    links: list[tuple[PurePosixPath, PurePosixPath]] = []
    with tarfile.open(archive, mode="r:") as tar:
        for member in tar:
            inner = _inner(member.name)
            if inner is None:
                continue
            if member.isdir():
                _folder(destination, top / inner)
            elif member.isreg():
                budget.spend(member.size)
                source = tar.extractfile(member)
                if source is not None:
                    written[inner] = _file(destination, top / inner, member.mode)
                    with source, written[inner].open("wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
            elif member.islnk() or member.issym():
                aim = _aim(member, inner)
                if aim is not None:
                    links.append((inner, aim))
    for inner, aim in links:
        if aim in written and inner not in written:
            budget.spend(written[aim].stat().st_size)
            copy = _file(destination, top / inner, 0o644)
            shutil.copyfile(written[aim], copy)
            written[inner] = copy
    return [path.relative_to(destination) for path in written.values()]


def _inner(name: str) -> PurePosixPath | None:
    """The path below the archive's first component; None for a name that is not safe.

    The first component may be empty: so Podman names the files of a volume's own folder.
    """
    _, *parts = name.split("/")
    if ".." in parts or "\0" in name:
        return None
    return PurePosixPath(*(part for part in parts if part))


def _aim(member: tarfile.TarInfo, inner: PurePosixPath) -> PurePosixPath | None:
    """The file that a link means, if it can be in the same tree."""
    if member.islnk():
        return _inner(member.linkname)
    if member.linkname.startswith("/"):
        return None
    aim = posixpath.normpath(posixpath.join(str(inner.parent), member.linkname))
    return None if aim.startswith("..") else PurePosixPath(aim)


def _folder(destination: Path, relative: PurePosixPath) -> Path:
    """Make the folders one by one, replacing whatever else stands there (links above all)."""
    path = destination
    path.mkdir(parents=True, exist_ok=True)
    for part in relative.parts:
        path = path / part
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            path.unlink()
        path.mkdir(exist_ok=True)
    return path


def _file(destination: Path, relative: PurePosixPath, mode: int) -> Path:
    path = _folder(destination, relative.parent) / relative.name
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    os.chmod(path, 0o600 | mode & 0o755)
    return path
