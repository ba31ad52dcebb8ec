"""A whole stack of whichever source tree is on `PYTHONPATH`, until standard input ends.

Run as a script: it may import only what every commit since the first benchmark has.
"""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from cortex.embedded import StackConfig, detach, stack_status, stop_stack


async def main() -> None:
    """Start it, print where it is as one line of JSON, stop it when nobody listens any more."""
    with tempfile.TemporaryDirectory(prefix="ctx-bench-") as name:
        folder = Path(name)
        os.chmod(folder, 0o755)  # PostgreSQL's own user goes through it
        config = StackConfig.free(folder)
        try:
            await detach(config)
            stack = {
                "port": config.ports.api,
                "key": config.api_key,
                "database": config.database_url,
                "pids": {part.name: part.pid for part in stack_status(folder).processes},
            }
            print(json.dumps(stack), flush=True)
            await asyncio.to_thread(sys.stdin.read)
        finally:
            await stop_stack(folder)


asyncio.run(main())
