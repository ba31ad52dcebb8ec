"""Files that a job begins with: outputs of jobs that have ended, packed as one tar for its network.

The tar has paths relative to the job's workdir. What is packed was written by jobs, so links and
anything else that is neither file nor folder stays out, and no path leads out of a job's folder.
"""

import asyncio
import filecmp
import os
import tarfile
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

from cortex.disk import Disk
from cortex.domain.spec.inputs import Input, both_put
from cortex.domain.units import about_bytes
from providers.errors import InvalidSpec, NoCapacity


class InputStore:
    """The kept outputs of jobs, from which inputs are made."""

    def __init__(self, outputs_dir: Path, keep_free: int | None = None) -> None:
        """`keep_free`: bytes of the disk that are kept free; None: the usual number."""
        self._outputs = outputs_dir
        self._keep_free = keep_free

    async def problem(self, inputs: Sequence[Input]) -> str | None:
        """Why the inputs cannot be had: which file is not there; None if all are."""
        return await asyncio.to_thread(self._problem, inputs)

    @asynccontextmanager
    async def packed(self, inputs: Sequence[Input]) -> AsyncIterator[Path]:
        """A tar of the inputs, removed afterwards.

        Raises:
            InvalidSpec: one of them is not there (any more).
            NoCapacity: the disk has no room for the tar now.
        """
        archive = self._outputs / f".inputs.{uuid.uuid4().hex}.part"
        try:
            await asyncio.to_thread(self._pack, inputs, archive)
            yield archive
        finally:
            await asyncio.to_thread(archive.unlink, missing_ok=True)

    def _problem(self, inputs: Sequence[Input]) -> str | None:
        for source in inputs:
            if self._place(source) is None:
                what = f"`{source.path}` of job" if source.path else "the outputs of job"
                return (
                    f"the input {what} `{source.source}` is not there: that job kept no such file "
                    f"(`cortex outputs list {source.source}` lists what it kept)"
                )
        return None

    def _place(self, source: Input) -> Path | None:
        """Where an input lies, if it does; never outside of its job's folder."""
        root = (self._outputs / source.source).resolve()
        place = (root / (source.path or ".")).resolve()
        if root.parent != self._outputs.resolve() or not place.is_relative_to(root):
            return None
        return place if place.exists() else None

    def _require_room(self, inputs: Sequence[Input]) -> None:
        places = [place for source in inputs if (place := self._place(source)) is not None]
        size = sum(path.stat().st_size for place in places for path, _ in _files(place))
        room = Disk.of(self._outputs, self._keep_free).room
        if size > room:
            raise NoCapacity(
                f"the inputs of the job have {about_bytes(size)}, and Cortex's disk has room for "
                f"{about_bytes(room)} to pack them"
            )

    def _pack(self, inputs: Sequence[Input], archive: Path) -> None:
        self._require_room(inputs)
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
            packing = _Packing(tar)
            for source in inputs:
                place = self._place(source)
                if place is None:
                    raise InvalidSpec(self._problem([source]) or "an input is not there")
                for path, name in _files(place):
                    packing.add(path, (PurePosixPath(source.to) / name).as_posix(), source.source)


def _files(place: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """Each file and empty folder with its path in the folder that it is put into."""
    if place.is_file():
        yield place, PurePosixPath(place.name)
        return
    for folder, folders, names in os.walk(place):
        if not folders and not names:
            yield Path(folder), PurePosixPath(Path(folder).relative_to(place).as_posix())
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path, PurePosixPath(path.relative_to(place).as_posix())


class _Packing:
    """Puts files into a tar; never two at one place."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._folders: dict[str, str] = {}
        self._files: dict[str, tuple[Path, str]] = {}

    def add(self, path: Path, name: str, source: str) -> None:
        """Put in a file or an empty folder of a job.

        Raises:
            InvalidSpec: another file is there already.
        """
        parents = [parent.as_posix() for parent in PurePosixPath(name).parents]
        for folder in reversed([name, *parents] if path.is_dir() else parents):
            if folder in self._files:
                raise InvalidSpec(_collision(folder, self._files[folder][1], source))
            if folder != "." and folder not in self._folders:
                self._folders[folder] = source
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o777
                self._tar.addfile(entry)
        if path.is_dir():
            return
        if name in self._folders:
            raise InvalidSpec(_collision(name, self._folders[name], source))
        if name in self._files:
            there, first = self._files[name]
            if not filecmp.cmp(there, path, shallow=False):
                raise InvalidSpec(_collision(name, first, source))
            return
        self._files[name] = path, source
        _add(self._tar, path, name)


def _collision(name: str, first: str, second: str) -> str:
    return f"the input from `{second}` {both_put(name, first, second)}"


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    with path.open("rb") as file:
        facts = os.fstat(file.fileno())
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime = facts.st_size, int(facts.st_mtime)
        entry.mode = 0o755 if facts.st_mode & 0o100 else 0o644
        tar.addfile(entry, file)
