"""A tar archive, written while it is sent: it takes no space on the server."""

import asyncio
import tarfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from cortex.db.jobs.outputs import StoredOutput

_CHUNK = 256 * 1024


async def tar_stream(files: Sequence[tuple[StoredOutput, Path]]) -> AsyncIterator[bytes]:
    """The archive of these files and empty folders, under their output paths."""
    for output, path in files:
        info = tarfile.TarInfo(output.path)
        if output.kind == "folder":
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            yield info.tobuf(tarfile.PAX_FORMAT)
            continue
        info.size = output.size
        info.mtime = int(output.created_at.timestamp())
        yield info.tobuf(tarfile.PAX_FORMAT)
        with await asyncio.to_thread(path.open, "rb") as file:
            left = output.size
            while left:
                chunk = await asyncio.to_thread(file.read, min(_CHUNK, left))
                if not chunk:
                    raise OSError(f"{output.path} is shorter than recorded")
                left -= len(chunk)
                yield chunk
        yield b"\0" * (-output.size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)
