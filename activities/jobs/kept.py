"""What a job's provider has collected, ready to be kept: files with digests, and all else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from activities.jobs.room import not_kept
from cortex.db.engine import Transaction
from cortex.db.jobs.outputs import NotKept, Others
from cortex.files import KeptFile, digests
from providers.collected import Collected


@dataclass(frozen=True)
class Kept:
    """Files, what is known beyond them, and a sentence that names what is not kept."""

    files: Sequence[KeptFile]
    others: Others
    message: str

    async def record(self, tx: Transaction, job_id: str, attempt: int, *, merge: bool) -> None:
        """Put it down as the job's outputs; with `merge`, beside those of earlier attempts."""
        write = tx.outputs.merge if merge else tx.outputs.replace
        rows = [(file.path, file.size, file.sha256) for file in self.files]
        # Beside files of earlier attempts, a folder that is empty in this one need not be.
        others = replace(self.others, folders=()) if merge else self.others
        await write(job_id, attempt, rows, others)

    def data(self) -> dict[str, int | str]:
        """For the event that tells of it."""
        data: dict[str, int | str] = {"files": len(self.files)}
        data["bytes"] = sum(file.size for file in self.files)
        if self.others.left_out:
            data["left_out"] = len(self.others.left_out)
        if self.message:
            data["message"] = self.message
        return data


async def examined(parts: Path, written: Sequence[Path]) -> Kept:
    """What was written below `parts`.

    Raises:
        OSError: one of the files cannot be read.
    """
    files = await digests(parts, written)
    if not isinstance(written, Collected):
        return Kept(files, Others(), "")
    others = Others(
        raw={path.as_posix(): raw for path, raw in written.raw.items()},
        folders=[path.as_posix() for path in written.folders],
        left_out=[
            NotKept(left_out.path, left_out.reason, left_out.raw) for left_out in written.left_out
        ],
    )
    return Kept(files, others, not_kept(written.left_out))
