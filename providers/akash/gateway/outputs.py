"""Result files, fetched out of a running container by commands in it.

The network has no other way, and nothing is left once the lease has ended. `pack.sh` packs them.
"""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from cortex.domain.leases import LeaseRef
from providers.akash.config import AkashConfig
from providers.akash.console import wire
from providers.akash.gateway.client import Gateway
from providers.collected import Collected
from providers.errors import InvalidSpec, Unavailable
from providers.outputs import outputs_word, packing, unpack_archive

_NO_ROOM = 46
_SLACK = 1 << 20

_PACK = """
outputs=$1
cd "${CORTEX_RUNNER_WORKDIR:-.}" 2>/dev/null || exit 46
for folder in "$TMPDIR" /tmp /dev/shm /var/tmp /run "$PWD"; do
    [ -n "$folder" ] && (: >"$folder/.cortex-outputs-$$") 2>/dev/null || continue
    rm -f "$folder/.cortex-outputs-$$"
    if command -v gzip >/dev/null 2>&1; then
        (pack "$folder/.cortex-outputs-$$") | gzip -1
    else
        (pack "$folder/.cortex-outputs-$$")
    fi
    exit
done
exit 46
"""


class Outputs:
    """Copies files out of a job's container."""

    def __init__(self, config: AkashConfig, gateway: Gateway) -> None:
        self._config = config
        self._gateway = gateway

    async def collect(
        self, ref: LeaseRef, lease: wire.BidId, paths: Sequence[str], destination: Path
    ) -> Collected:
        """The declared files and folders, below `destination`.

        Raises:
            InvalidSpec: they are larger than `max_output_bytes`.
            LeaseLost, Unavailable: they could not be fetched now.
        """
        with tempfile.TemporaryDirectory(prefix="cortex-akash-") as folder:
            archive = Path(folder) / "outputs"
            with archive.open("wb") as file:
                take = self._taker(file)
                script = packing() + _PACK
                done = await self._gateway.execute(lease, script, (outputs_word(paths),), take)
            if done.code == _NO_ROOM:
                raise Unavailable("the job's container has no folder in which files can be listed")
            return await asyncio.to_thread(
                unpack_archive, archive, paths, destination, self._config.max_output_bytes
            )

    def _taker(self, file: IO[bytes]) -> Callable[[bytes], None]:
        size, limit = 0, self._config.max_output_bytes

        def take(data: bytes) -> None:
            nonlocal size
            size += len(data)
            # An archive is a little larger than what is in it.
            if size > limit + limit // 8 + _SLACK:
                raise InvalidSpec(
                    f"the outputs are larger than the {limit} bytes "
                    "that this provider copies (`max_output_bytes`)"
                )
            file.write(data)

        return take
