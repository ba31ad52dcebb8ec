"""Downloads of result files: resumed where they stopped, checked, and never half there."""

import hashlib
from pathlib import Path, PurePosixPath
from typing import IO

import httpx

from cortex.client.errors import ClientError, DamagedDownload
from cortex.schemas.jobs import OutputView

_MAX_NAME = 255


def safe_target(folder: Path, path: str) -> Path:
    """Where an output goes inside a folder.

    Raises:
        ClientError: the path would lead out of it.
    """
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts or "\0" in path:
        raise ClientError(f"the output `{path}` would not stay inside {folder}; it is left alone")
    return folder.joinpath(*relative.parts)


def empty_folder(folder: Path, path: str) -> Path:
    """Make an output that is an empty folder.

    Raises:
        ClientError: the path would lead out of `folder`.
    """
    target = safe_target(folder, path)
    target.mkdir(parents=True, exist_ok=True)
    return target


class Download:
    """One file on its way: under a hidden name until it is whole and its SHA-256 is right.

    A part that an earlier try left is continued. Its methods block; call them from a thread.
    """

    def __init__(self, output: OutputView, target: Path) -> None:
        """Begin; nothing is touched yet.

        Args:
            output: What the server says about the file.
            target: Where it shall be.
        """
        self.output = output
        self.target = target
        self._part = target.with_name(_part_name(target.name, output.sha256[:12]))
        self._file: IO[bytes] | None = None

    def start(self) -> dict[str, str]:
        """Make the folder; the headers that ask for what is missing."""
        self.close()  # what came before the connection broke must be on the disk to be counted
        self.target.parent.mkdir(parents=True, exist_ok=True)
        have = self._part.stat().st_size if self._part.exists() else 0
        if 0 < have < self.output.size:
            return {"Range": f"bytes={have}-"}
        return {}

    def open(self, response: httpx.Response) -> None:
        """Take the answer: the rest of the file (206) or all of it."""
        self.close()
        rest = response.status_code == 206 and "range" in response.request.headers
        self._file = self._part.open("ab" if rest else "wb")

    def write(self, chunk: bytes) -> None:
        if self._file is None:
            raise RuntimeError("open() first")
        self._file.write(chunk)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def finish(self) -> Path:
        """Check the file and put it in its place.

        Raises:
            DamagedDownload: it is not what the server has; the part is deleted.
            OSError: it cannot be put there; the part is deleted.
        """
        self.close()
        with self._part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self.output.sha256:
            size = self._part.stat().st_size
            self._part.unlink()
            raise DamagedDownload(
                f"`{self.output.path}` arrived damaged ({size} of {self.output.size} bytes, "
                f"SHA-256 {digest[:12]}… instead of {self.output.sha256[:12]}…); download it again"
            )
        try:
            return self._part.replace(self.target)
        except OSError:  # such as a folder in its place: no later try would do better
            self._part.unlink(missing_ok=True)
            raise


def _part_name(name: str, mark: str) -> str:
    """A hidden name beside the file's own; that may have all of the 255 bytes of a name."""
    part = f".{name}.{mark}.part"
    if len(part.encode("utf-8", "surrogateescape")) <= _MAX_NAME:
        return part
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return f".{digest[:32]}.{mark}.part"
