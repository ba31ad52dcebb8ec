"""The list of result files; the files themselves lie in `Settings.outputs_dir`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from cortex.db.base import Access, Repository, Transacts
from cortex.db.tables.jobs import JobOutputRow

OutputKind = Literal["file", "folder"]
_LEFT_OUT = "left_out"


@dataclass(frozen=True)
class StoredOutput:
    """A file, or an empty folder; `raw` is the name that the job gave, if `path` is another."""

    path: str
    size: int
    sha256: str
    attempt: int
    created_at: datetime
    kind: OutputKind = "file"
    raw: bytes | None = None


@dataclass(frozen=True)
class NotKept:
    """What was declared and is not kept; `reason` ends a sentence that begins with the path."""

    path: str
    reason: str
    raw: bytes | None = None


@dataclass(frozen=True)
class Others:
    """What there is beyond the files: their raw names, empty folders, what is left out."""

    raw: Mapping[str, bytes] = field(default_factory=dict)
    folders: Sequence[str] = ()
    left_out: Sequence[NotKept] = ()


_NOTHING = Others()


class OutputRepository(Repository[Access]):
    async def replace(
        self: "OutputRepository[Transacts]",
        job_id: str,
        attempt: int,
        files: Sequence[tuple[str, int, str]],
        others: Others = _NOTHING,
    ) -> None:
        """Put `(path, size, sha256)` of an attempt in place of those of attempts before it."""
        await self.connection.execute(delete(JobOutputRow).where(JobOutputRow.job_id == job_id))
        await self._insert(job_id, attempt, files, others)

    async def merge(
        self: "OutputRepository[Transacts]",
        job_id: str,
        attempt: int,
        files: Sequence[tuple[str, int, str]],
        others: Others = _NOTHING,
    ) -> None:
        """Add `(path, size, sha256)` of an attempt to those of attempts before it.

        What was left out then and is not now is forgotten; what was kept then stays.
        """
        paths = [*(path for path, _, _ in files), *others.folders]
        again = JobOutputRow.path.in_(paths) | (JobOutputRow.kind == _LEFT_OUT)
        await self.connection.execute(
            delete(JobOutputRow).where(JobOutputRow.job_id == job_id, again)
        )
        await self._insert(job_id, attempt, files, others)

    async def _insert(
        self: "OutputRepository[Transacts]",
        job_id: str,
        attempt: int,
        files: Sequence[tuple[str, int, str]],
        others: Others,
    ) -> None:
        def row(path: str, kind: str, **more: Any) -> dict[str, Any]:
            ours = {"job_id": job_id, "attempt": attempt, "path": path, "kind": kind}
            empty = {"size": 0, "sha256": "", "reason": "", "raw": others.raw.get(path)}
            return {**ours, **empty, **more}

        rows = [row(path, "file", size=size, sha256=digest) for path, size, digest in files]
        rows += [row(path, "folder") for path in others.folders]
        rows += [
            row(left_out.path, _LEFT_OUT, reason=left_out.reason, raw=left_out.raw)
            for left_out in others.left_out
        ]
        if rows:
            statement = insert(JobOutputRow).on_conflict_do_nothing()
            await self.connection.execute(statement, rows)

    async def of_job(self, job_id: str) -> list[StoredOutput]:
        """The files and empty folders that are kept, by path."""
        query = (
            select(
                JobOutputRow.path,
                JobOutputRow.size,
                JobOutputRow.sha256,
                JobOutputRow.attempt,
                JobOutputRow.created_at,
                JobOutputRow.kind,
                JobOutputRow.raw,
            )
            .where(JobOutputRow.job_id == job_id, JobOutputRow.kind != _LEFT_OUT)
            .order_by(JobOutputRow.path)
        )
        return [
            StoredOutput(
                path=row.path,
                size=row.size,
                sha256=row.sha256,
                attempt=row.attempt,
                created_at=row.created_at,
                kind="folder" if row.kind == "folder" else "file",
                raw=row.raw,
            )
            for row in await self.connection.execute(query)
        ]

    async def left_out(self, job_id: str) -> list[NotKept]:
        """What is not kept, by path."""
        query = (
            select(JobOutputRow.path, JobOutputRow.reason, JobOutputRow.raw)
            .where(JobOutputRow.job_id == job_id, JobOutputRow.kind == _LEFT_OUT)
            .order_by(JobOutputRow.path)
        )
        return [NotKept(*row) for row in await self.connection.execute(query)]
