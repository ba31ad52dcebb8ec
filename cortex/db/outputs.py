"""The list of result files; the files themselves lie in `Settings.outputs_dir`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from cortex.db.base import Repository
from cortex.db.tables import JobOutputRow
from cortex.domain.errors import NotFound


@dataclass(frozen=True)
class StoredOutput:
    path: str
    size: int
    sha256: str
    attempt: int
    created_at: datetime


class OutputRepository(Repository):
    async def replace(
        self, job_id: str, attempt: int, files: Sequence[tuple[str, int, str]]
    ) -> None:
        """Put `(path, size, sha256)` of an attempt in place of those of attempts before it."""
        await self.connection.execute(delete(JobOutputRow).where(JobOutputRow.job_id == job_id))
        await self._insert(job_id, attempt, files)

    async def merge(self, job_id: str, attempt: int, files: Sequence[tuple[str, int, str]]) -> None:
        """Add `(path, size, sha256)` of an attempt to those of attempts before it."""
        paths = [path for path, _, _ in files]
        await self.connection.execute(
            delete(JobOutputRow).where(JobOutputRow.job_id == job_id, JobOutputRow.path.in_(paths))
        )
        await self._insert(job_id, attempt, files)

    async def _insert(
        self, job_id: str, attempt: int, files: Sequence[tuple[str, int, str]]
    ) -> None:
        if not files:
            return
        rows = [
            {"job_id": job_id, "attempt": attempt, "path": path, "size": size, "sha256": digest}
            for path, size, digest in files
        ]
        await self.connection.execute(insert(JobOutputRow), rows)

    async def of_job(self, job_id: str) -> list[StoredOutput]:
        query = (
            select(
                JobOutputRow.path,
                JobOutputRow.size,
                JobOutputRow.sha256,
                JobOutputRow.attempt,
                JobOutputRow.created_at,
            )
            .where(JobOutputRow.job_id == job_id)
            .order_by(JobOutputRow.path)
        )
        return [StoredOutput(*row) for row in await self.connection.execute(query)]

    async def get(self, job_id: str, path: str) -> StoredOutput:
        """One file of a job.

        Raises:
            NotFound: the job has no such file.
        """
        for output in await self.of_job(job_id):
            if output.path == path:
                return output
        raise NotFound(f"job `{job_id}` has no output `{path[:200]}`")
