"""Unpacking the files that a job begins with.

Devices, links and `..` are left out, whatever the archive says.
"""

import shutil
import tarfile
from pathlib import Path, PurePosixPath

from providers.outputs.write import make_file, make_folder

Parts = tuple[str, ...]


def unpack_inputs(archive: Path, destination: Path) -> None:
    """Write the files and folders of a tar of inputs below `destination`. Blocking.

    Raises:
        OSError: they cannot be written.
    """
    with tarfile.open(archive, mode="r:") as tar:
        for member in tar:
            parts = _parts(member.name)
            if parts and member.isdir():
                make_folder(destination, PurePosixPath(*parts))
            elif parts and member.isreg():
                source = tar.extractfile(member)
                if source is not None:
                    target = make_file(destination, PurePosixPath(*parts), member.mode)
                    with source, target.open("wb") as out:
                        shutil.copyfileobj(source, out, 1 << 20)


def _parts(name: str) -> Parts:
    """The parts of a path, from the root as well; none where it leads out."""
    parts = tuple(part for part in PurePosixPath(name).parts if part not in ("/", "."))
    return () if ".." in parts or "\0" in name else parts
