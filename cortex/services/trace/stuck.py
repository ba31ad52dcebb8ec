"""Finding what does not get on, and telling it once."""

from datetime import UTC, datetime

from cortex.db.engine import Database
from cortex.domain.events import EventType
from cortex.domain.trace.stuck import Stuck, StuckRules, stuck, stuck_gang
from cortex.schemas.trace import StuckPage, StuckView

_MOST = 5000


async def find_stuck(database: Database, limits: StuckRules) -> list[Stuck]:
    """All that is stuck now, longest first."""
    now = datetime.now(UTC)
    async with database.reading() as tx:
        jobs = await tx.stuck.candidates(_MOST)
        gangs = await tx.stuck.gangs(_MOST)
    subjects = [stuck(job, limits, now) for job in jobs]
    subjects += [
        stuck_gang(
            row.id,
            name=row.name,
            owner=row.owner,
            project=row.project,
            state=row.state,
            gang=row.gang,
            deadline_at=row.deadline_at,
            limit=limits.preparing,
            now=now,
        )
        for row in gangs
    ]
    return sorted(
        (subject for subject in subjects if subject is not None), key=lambda subject: subject.since
    )


async def tell_stuck(database: Database, limits: StuckRules) -> int:
    """Write one event per stuck job, once for as long as it is stuck; returns how many."""
    told = 0
    for subject in await find_stuck(database, limits):
        if not subject.id.startswith("job_"):
            continue
        since = subject.since.isoformat()
        async with database.transaction() as tx:
            await tx.jobs.lock(subject.id)
            if (await tx.jobs.get(subject.id)).state.value != subject.state:
                continue
            if await tx.stuck.told(subject.id, since):
                continue
            data = {
                "message": f"{subject.told()}{f' ({subject.error})' if subject.error else ''}",
                "next": "Cortex goes on trying; `cortex stuck` says what you may do",
                "provider": subject.provider_id or "",
                "stuck_since": since,
            }
            await tx.events.add(EventType.JOB_TROUBLE, subject.id, job_id=subject.id, data=data)
            told += 1
    return told


class StuckJobs:
    """What the API shows of them."""

    def __init__(self, database: Database, limits: StuckRules) -> None:
        self._database = database
        self._limits = limits

    async def page(self, limit: int, projects: frozenset[str] | None = None) -> StuckPage:
        """The longest first; `total` counts all. With `projects` what is in these only."""
        subjects = [
            subject
            for subject in await find_stuck(self._database, self._limits)
            if projects is None or subject.project in projects
        ]
        views = (
            StuckView.model_validate(subject, from_attributes=True) for subject in subjects[:limit]
        )
        return StuckPage(items=tuple(views), total=len(subjects))
