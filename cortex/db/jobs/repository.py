"""Jobs: guarded state changes, the history of states, lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

from sqlalchemy import bindparam, select, text, update

from cortex.db.base import Access, Repository, Row, Transacts
from cortex.db.direct import Direct, Record
from cortex.db.tables.base import NOW
from cortex.db.tables.jobs import JobRow
from cortex.domain.errors import NotFound
from cortex.domain.jobs import Job, Outcome, Reason
from cortex.domain.money import Money
from cortex.domain.money.budgets import Covered
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState, job_sources
from cortex.domain.templates import TemplateRef


@dataclass(frozen=True)
class NewJob:
    """A job that is accepted.

    Attributes:
        project: Where it belongs; empty: the owner's personal one.
        template: What it was made from, if from one.
        api_key: That it is submitted with, if that has a budget.
    """

    id: str
    owner: str
    spec: JobSpec
    secrets: bytes | None = None
    project: str = ""
    template: TemplateRef | None = None
    api_key: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "project", self.project or self.owner)

    @property
    def covered(self) -> Covered:
        """What decides which budgets cover it."""
        return Covered(self.owner, self.project, self.spec.labels, self.api_key)


@dataclass(frozen=True)
class JobFilter:
    """What a list of jobs is narrowed to; every field narrows further.

    Attributes:
        projects: Those of any of these; None: of all.
    """

    states: Sequence[JobState] = ()
    projects: frozenset[str] | None = None
    provider_id: str | None = None
    owner: str | None = None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    group_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


_GET: Final = Direct(select(JobRow.__table__).where(JobRow.id == bindparam("id")))
_LOCK: Final = Direct(text("SELECT pg_advisory_xact_lock(hashtextextended(:id, 0))"))


class JobRepository(Repository[Access]):
    async def lock(self: "JobRepository[Transacts]", job_id: str) -> None:
        """Serialise with all other writers of this job until the transaction ends.

        Call it before the first write: the order of events relies on it
        (`cortex.db.outbox.events`).
        """
        await _LOCK.run(self.connection, {"id": job_id})

    async def get(self, job_id: str) -> Job:
        """One job.

        Raises:
            NotFound: there is none with this id.
        """
        row = await _GET.first(self.connection, {"id": job_id})
        if row is None:
            raise NotFound(f"there is no job `{job_id[:60]}`")
        return job_of(row)

    async def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        """The jobs with these ids, in the order of the ids; unknown ones are left out."""
        query = select(JobRow.__table__).where(JobRow.id.in_(job_ids))
        rows = (await self.connection.execute(query)).mappings()
        by_id = {row["id"]: job_of(row) for row in rows}
        return [by_id[job_id] for job_id in job_ids if job_id in by_id]

    async def move(
        self: "JobRepository[Transacts]", job_id: str, state: JobState, *, message: str = ""
    ) -> Job | None:
        """Move a job to `state` if that is legal from where it is.

        A trigger writes the entry of its history. Returns the job as it is then, or None if the
        move is not legal (another writer was first): nothing is changed then.
        """
        return await self._move(job_id, state, message)

    async def request_cancel(
        self: "JobRepository[Transacts]", job_id: str, *, message: str
    ) -> Job | None:
        """Move a job to `cancelling`, from now; None if it ends already."""
        return await self._move(job_id, JobState.CANCELLING, message, cancel_requested_at=NOW)

    async def begin_attempt(
        self: "JobRepository[Transacts]", job_id: str, attempt: int
    ) -> Job | None:
        """Move a job to `placing` for this attempt; None if it may not be placed."""
        return await self._move(job_id, JobState.PLACING, "", attempt=attempt)

    async def begin_running(
        self: "JobRepository[Transacts]", job_id: str, *, message: str, started_at: datetime
    ) -> Job | None:
        """Move a job to `running`; None if it is being stopped, or runs already."""
        return await self._move(job_id, JobState.RUNNING, message, started_at=started_at)

    async def restart(
        self: "JobRepository[Transacts]",
        job_id: str,
        *,
        cause: Literal["", "lost", "failed", "refused"],
        message: str,
    ) -> Job | None:
        """Place a job anew after its lease has ended; None if it is not at a point where it may.

        Args:
            job_id: The job; its last lease is released.
            cause: A loss by its network or a failure of its command is counted; the others are
                none of its restarts, since it never ran.
            message: Why, and what comes next.
        """
        ran = cause in ("lost", "failed")
        return await self._move(
            job_id,
            JobState.PLACING,
            message,
            deadline_at=None,
            warned_at=None,
            progress=None,
            losses=JobRow.losses + int(cause == "lost"),
            failures=JobRow.failures + int(cause == "failed"),
            restarted_at=NOW if ran else JobRow.restarted_at,
        )

    async def finish(self: "JobRepository[Transacts]", job_id: str, outcome: Outcome) -> Job | None:
        """Write the terminal state; None if the job is not `settling`."""
        return await self._move(
            job_id,
            outcome.state,
            outcome.message,
            reason=outcome.reason.value,
            exit_code=outcome.exit_code,
            finished_at=NOW,
        )

    async def place_at(
        self: "JobRepository[Transacts]", job_id: str, attempt: int, provider_id: str, message: str
    ) -> None:
        """Whose offer an attempt has taken."""
        await self._put(job_id, attempt=attempt, provider_id=provider_id, message=message)

    async def extend(self: "JobRepository[Transacts]", job_id: str, by: timedelta) -> None:
        """Give a job more time; the new deadline is worth a warning of its own."""
        await self._put(
            job_id,
            extension=JobRow.extension + by,
            deadline_at=JobRow.deadline_at + by,
            warned_at=None,
        )

    async def set_warned(self: "JobRepository[Transacts]", job_id: str, at: datetime) -> None:
        """Somebody was told that the deadline is near."""
        await self._put(job_id, warned_at=at)

    async def set_message(self: "JobRepository[Transacts]", job_id: str, message: str) -> None:
        """What is to be said of the job now."""
        await self._put(job_id, message=message)

    async def set_progress(self: "JobRepository[Transacts]", job_id: str, share: Decimal) -> None:
        """How much is done, from 0 to 1."""
        await self._put(job_id, progress=share)

    async def add_cost(self: "JobRepository[Transacts]", job_id: str, usd: Decimal) -> None:
        """Add a booked charge to the job's bill, which is kept in USD."""
        await self.connection.execute(
            update(JobRow)
            .where(JobRow.id == job_id)
            .values(cost=JobRow.cost + usd, currency="USD", updated_at=NOW)
        )

    async def _move(
        self: "JobRepository[Transacts]", job_id: str, state: JobState, message: str, **values: Any
    ) -> Job | None:
        sources = [source.value for source in job_sources(state)]
        statement = (
            update(JobRow)
            .where(JobRow.id == job_id, JobRow.state.in_(sources))
            .values(state=state.value, message=message, updated_at=NOW, **values)
            .returning(*JobRow.__table__.columns)
        )
        row = (await self.connection.execute(statement)).mappings().first()
        return None if row is None else job_of(row)

    async def _put(self: "JobRepository[Transacts]", job_id: str, **values: Any) -> None:
        await self.connection.execute(
            update(JobRow).where(JobRow.id == job_id).values(updated_at=NOW, **values)
        )


def job_of(row: Row | Record) -> Job:
    """The domain object of a row.

    A field is the column of its name, unless it is said here what it is made of.
    """
    made: dict[str, Any] = {
        "spec": JobSpec.model_validate(row["spec"]),
        "state": JobState(row["state"]),
        "reason": Reason(row["reason"]) if row["reason"] else None,
        "cost": Money(amount=row["cost"], currency=row["currency"]),
        "extension": row["extension"] or timedelta(0),
    }
    plain = {name: row[name] for name in Job.model_fields if name not in made}
    return Job.model_construct(**{**plain, **made})
