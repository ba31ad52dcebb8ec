"""Run a short command to its end, with an error text that shows what it said."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cortex.embedded.errors import StackError
from cortex.embedded.processes import dies_with_parent, kill_group
from cortex.embedded.service import ServiceUser

# What the servers from wheels need of our environment: no secret is among it.
_HARMLESS = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


def bare_environment() -> dict[str, str]:
    """An environment without our secrets and without settings meant for other servers."""
    return {name: os.environ[name] for name in _HARMLESS if name in os.environ}


async def run_command(
    argv: Sequence[str],
    *,
    what: str,
    env: Mapping[str, str],
    stdin: str = "",
    cwd: Path | None = None,
    user: ServiceUser | None = None,
    timeout: float = 120.0,
) -> str:
    """The standard output of a command that succeeds.

    Args:
        argv: Program and arguments; no secrets: other users can read them.
        what: For the error: "the database could not be made".
        env: The whole environment.
        stdin: What it reads.
        cwd: Its folder.
        user: The system user to run as; None: ours.
        timeout: Seconds.

    Raises:
        StackError: it failed, or took too long; with its last lines.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env),
        cwd=cwd,
        start_new_session=True,  # Ctrl-C reaches the supervisor, which decides
        preexec_fn=dies_with_parent(signal.SIGKILL),
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
    )
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate(stdin.encode())
    except TimeoutError:
        raise StackError(f"{what}: no end after {timeout:.0f} s.") from None
    finally:
        if process.returncode is None:
            kill_group(process.pid)
            await process.wait()
    if process.returncode:
        said = (err or out).decode("utf-8", "replace").strip().splitlines()[-20:]
        raise StackError("\n".join([f"{what} (exit code {process.returncode}):", *said]))
    return out.decode("utf-8", "replace")
