"""Result files, fetched out of a running container by commands in it.

The network has no other way, and nothing is left once the lease has ended. Every path is packed
by `tar` where the image has it, else its files are read one by one with `cat`.
"""

import asyncio
import io
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from cortex.domain.leases import LeaseRef
from providers.akash import wire
from providers.akash.config import AkashConfig
from providers.akash.gateway import Gateway
from providers.errors import InvalidSpec, Unavailable
from providers.unpack import Budget, unpack

_ABSENT = 44
_NO_TAR = 45
_CHUNK_SLACK = 1 << 20

# $1 is the path. A link on the way to it may lead out of the job: it is not followed.
_ENTER = """
cd "${CORTEX_RUNNER_WORKDIR:-.}" 2>/dev/null || exit 44
path=${1#/}
case $1 in /*) cd / ;; esac
while :; do
    case $path in
    */*) part=${path%%/*}; path=${path#*/} ;;
    *) break ;;
    esac
    [ -n "$part" ] || continue
    [ ! -L "$part" ] && cd "./$part" 2>/dev/null || exit 44
done
[ -e "./$path" ] || [ -L "./$path" ] || exit 44
"""
_TAR = f"""{_ENTER}
command -v tar >/dev/null 2>&1 || exit 45
exec tar -cf - -- "$path"
"""
_LIST = f"""{_ENTER}
list() {{
    [ -L "$1" ] && return
    if [ -f "$1" ]; then printf '%s\\0' "$1"; fi
    if [ -d "$1" ]; then
        for item in "$1"/* "$1"/.[!.]* "$1"/..?*; do [ -e "$item" ] && list "$item"; done
    fi
    return 0
}}
list "$path"
"""
_CAT = f"""{_ENTER}
[ -f "./$path" ] && [ ! -L "./$path" ] || exit 44
exec cat "./$path"
"""


class Outputs:
    """Copies files out of a job's container."""

    def __init__(self, config: AkashConfig, gateway: Gateway) -> None:
        self._config = config
        self._gateway = gateway

    async def collect(
        self, ref: LeaseRef, lease: wire.BidId, paths: Sequence[str], destination: Path
    ) -> list[Path]:
        """The declared files and folders, below `destination`.

        Raises:
            InvalidSpec: they are larger than `max_output_bytes`.
            LeaseLost, Unavailable: they could not be fetched now.
        """
        budget = Budget(self._config.max_output_bytes)
        await asyncio.to_thread(destination.mkdir, parents=True, exist_ok=True)
        written: list[Path] = []
        for path in paths:
            if not _safe(path):
                continue
            with tempfile.TemporaryDirectory(prefix="cortex-akash-") as folder:
                archive = Path(folder) / "outputs.tar"
                if await self._fetch(lease, path, archive, budget):
                    written += await asyncio.to_thread(unpack, archive, destination, path, budget)
        return list(dict.fromkeys(written))

    async def _fetch(self, lease: wire.BidId, path: str, archive: Path, budget: Budget) -> bool:
        code = await self._into(lease, _TAR, path, archive, budget.left)
        if code == _NO_TAR:
            return await self._one_by_one(lease, path, archive, budget.left)
        if code == _ABSENT:
            return False
        if code != 0 and not await asyncio.to_thread(_whole, archive):
            raise Unavailable(
                f"`{path}` could not be packed in the container (tar ended with {code})"
            )
        return True

    async def _one_by_one(self, lease: wire.BidId, path: str, archive: Path, limit: int) -> bool:
        listing = archive.with_suffix(".list")
        code = await self._into(lease, _LIST, path, listing, _CHUNK_SLACK * 16)
        if code == _ABSENT:
            return False
        names = [name for name in listing.read_bytes().decode(errors="replace").split("\0") if name]
        top = str(PurePosixPath(path).parent)
        with tarfile.open(archive, "w") as tar:
            for name in names:
                part = archive.with_suffix(".part")
                code = await self._into(lease, _CAT, f"{top}/{name}", part, limit)
                if code == 0:
                    await asyncio.to_thread(tar.add, part, name)
        return True

    async def _into(
        self, lease: wire.BidId, script: str, path: str, target: Path, limit: int
    ) -> int:
        size = 0
        with target.open("wb") as file:

            def take(data: bytes) -> None:
                nonlocal size
                size += len(data)
                # A tar is a little larger than what is in it.
                if size > limit + limit // 8 + _CHUNK_SLACK:
                    raise InvalidSpec(
                        f"the outputs are larger than the {self._config.max_output_bytes} bytes "
                        "that this provider copies (`max_output_bytes`)"
                    )
                file.write(data)

            done = await self._gateway.execute(lease, script, (path,), take)
        return done.code


def _safe(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and ".." not in parts and "\0" not in path and path.strip("/") != ""


def _whole(archive: Path) -> bool:
    """Whether a tar can be read to its end: tar fails as well where a file changed meanwhile."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive.read_bytes()), mode="r:") as tar:
            return bool(tar.getmembers())
    except tarfile.TarError:
        return False
