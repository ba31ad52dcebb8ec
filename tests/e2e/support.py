"""The command as a process, a terminal for it, small jobs, and the books."""

import asyncio
import contextlib
import json
import os
import pty
import sysconfig
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from cortex.domain.spec import JobSpec
from tests.support import eventually, patience
from tests.support.stack import Stack

REPO = Path(__file__).parents[2]
_CORTEX = str(Path(sysconfig.get_path("scripts"), "cortex"))


@dataclass(frozen=True)
class Done:
    """What a finished command left."""

    code: int
    out: str
    err: str

    def json(self) -> list[dict[str, Any]]:
        """One object per line of stdout; anything else on it is an error."""
        return [json.loads(line) for line in self.out.splitlines()]


class Command:
    """Runs `cortex` against one data folder."""

    def __init__(self, folder: Path) -> None:
        clean = {name: text for name, text in os.environ.items() if not name.startswith("CORTEX_")}
        self.environment = {**clean, "CORTEX_DATA_DIR": str(folder), "TERM": "xterm"}

    async def __call__(
        self, *args: str, code: int | None = 0, stdin: str = "", within: float = 60
    ) -> Done:
        """Run it to its end.

        Args:
            args: Its arguments.
            code: The expected exit code; None: any.
            stdin: Its input.
            within: Seconds that it may take.
        """
        async with self.started(*args) as process:
            out, err = await asyncio.wait_for(process.communicate(stdin.encode()), patience(within))
        done = Done(process.returncode or 0, out.decode(), err.decode())
        assert code is None or done.code == code, done
        return done

    @asynccontextmanager
    async def started(self, *args: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run it while something else happens; it is killed if it has not ended by then."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            _CORTEX, *args, stdin=pipe, stdout=pipe, stderr=pipe, cwd=REPO, env=self.environment
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    @asynccontextmanager
    async def on_terminal(self, *args: str) -> AsyncIterator["Terminal"]:
        """Run it as a person does: on a terminal of its own."""
        master, slave = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *("setsid", "--ctty", "--wait", _CORTEX, *args),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=REPO,
            env=self.environment,
        )
        os.close(slave)
        terminal = Terminal(master, process)
        try:
            yield terminal
        finally:
            terminal.close()
            if process.returncode is None:
                process.kill()
                await process.wait()


class Terminal:
    """What stands on a terminal, and the keys that are pressed."""

    def __init__(self, master: int, process: asyncio.subprocess.Process) -> None:
        self.text = ""
        self.process = process
        self._master = master
        os.set_blocking(master, False)
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            self.text += os.read(self._master, 65536).decode(errors="replace")
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody has it open any more
            asyncio.get_running_loop().remove_reader(self._master)

    async def shows(self, text: str, within: float = 30) -> None:
        """Wait for a text."""

        async def there() -> bool:
            return text in self.text

        await eventually(there, within=within, what=f"`{text}` on the terminal: {self.text!r}")

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    async def ends(self, within: float = 30) -> int:
        """The exit code."""
        return await asyncio.wait_for(self.process.wait(), patience(within))

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        with contextlib.suppress(OSError):
            os.close(self._master)


def shell(script: str, **fields: Any) -> JobSpec:
    """A small job that runs a script; its name is its own."""
    body = {
        "name": f"e2e-{uuid.uuid4().hex[:12]}",
        "command": ["sh", "-c", script],
        "resources": {"cpu": "10m", "memory": "64Mi"},
        "duration": "5m",
        **fields,
    }
    return JobSpec.model_validate(body)


async def started(stack: Stack, ids: Sequence[str], within: float = 60) -> None:
    """Wait until the jobs run."""

    async def check() -> bool:
        rows = await stack.rows("SELECT id FROM jobs WHERE started_at IS NOT NULL")
        return set(ids) <= {str(row["id"]) for row in rows}

    await eventually(check, within=within, what=f"the start of {len(ids)} jobs")


async def check_books(stack: Stack, ids: Sequence[str]) -> Decimal:
    """One charge and one release per lease of these ended jobs; returns what they cost."""
    total = Decimal(0)
    for job_id in ids:
        job = await stack.client.job(job_id)
        assert job.state.terminal, job
        entries = [entry async for entry in stack.client.iter_ledger(job_id)]
        leases = [lease for lease in job.leases if lease.committed_at]
        charges = [entry for entry in entries if entry.kind == "charge"]
        assert sorted(entry.lease_key for entry in charges) == sorted(x.key for x in leases)
        releases = [entry.lease_key for entry in entries if entry.kind == "release"]
        assert sorted(releases) == sorted(lease.key for lease in job.leases)
        assert all(lease.released_at for lease in job.leases), job
        if {entry.amount.currency for entry in charges} <= {"USD"}:  # the job's sum is in USD
            assert sum((entry.amount.amount for entry in charges), Decimal(0)) == job.cost.amount
        total += job.cost.amount
    return total


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())
