"""What may be stuck: jobs that have not ended, and gangs that are not decided."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import text

from cortex.db.base import Access, Repository, Row
from cortex.db.states import JOB_ENDED
from cortex.domain.leases import SettleStep
from cortex.domain.spec import Placement
from cortex.domain.states import JobState, LeaseState
from cortex.domain.trace.stuck import JobFacts

# Running jobs are many; only those are read that may be late or out of sight.
_JOBS: Final = text(f"""
SELECT j.id, j.name, j.owner, j.project, j.state, j.message, j.group_id, j.deadline_at,
    j.spec->'placement' AS placement,
    COALESCE((SELECT max(s.created_at) FROM job_status s
        WHERE s.job_id = j.id AND s.state = j.state), j.updated_at) AS entered_at,
    l.provider_id, l.key AS lease_key, l.state AS lease_state, l.unknown_since,
    l.unknown_reason, l.settle_steps,
    c.open AS commands, c.error AS command_error
FROM jobs j
LEFT JOIN LATERAL (
    SELECT * FROM leases WHERE job_id = j.id AND state <> '{LeaseState.RELEASED}'
    ORDER BY attempt DESC LIMIT 1
) l ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS open, max(error) AS error FROM commands
    WHERE job_id = j.id AND done_at IS NULL
) c ON true
WHERE j.state NOT IN ({JOB_ENDED}) AND NOT j.held
    AND (j.state <> '{JobState.RUNNING}' OR j.deadline_at < now() OR l.unknown_since IS NOT NULL)
ORDER BY j.created_at LIMIT :most
""")

_GANGS: Final = text("""
SELECT g.id, g.name, g.owner, g.project, g.state, n.gang, n.deadline_at
FROM job_gangs n JOIN job_groups g ON g.id = n.group_id
WHERE n.decision IS NULL AND n.deadline_at < now() AND g.finished_at IS NULL
ORDER BY n.deadline_at LIMIT :most
""")

_TOLD: Final = text("""
SELECT 1 FROM events WHERE job_id = :job AND type = 'job.trouble'
    AND data->>'stuck_since' = :since LIMIT 1
""")


class StuckRepository(Repository[Access]):
    async def candidates(self, most: int) -> list[JobFacts]:
        """Jobs whose time may be over, oldest first."""
        rows = (await self.connection.execute(_JOBS, {"most": most})).mappings()
        return [_facts(row) for row in rows]

    async def gangs(self, most: int) -> Sequence[Any]:
        """Gangs past their deadline without a decision: group, gang, deadline."""
        return (await self.connection.execute(_GANGS, {"most": most})).all()

    async def told(self, job_id: str, since: str) -> bool:
        """Whether an event has told that the job is stuck since then."""
        told = await self.connection.execute(_TOLD, {"job": job_id, "since": since})
        return told.first() is not None


def _facts(row: Row) -> JobFacts:
    return JobFacts(
        id=row["id"],
        name=row["name"],
        owner=row["owner"],
        project=row["project"],
        state=JobState(row["state"]),
        entered_at=row["entered_at"],
        message=row["message"],
        placement_timeout=Placement.model_validate(row["placement"] or {}).timeout,
        deadline_at=row["deadline_at"],
        group_id=row["group_id"],
        provider_id=row["provider_id"],
        lease_key=row["lease_key"],
        lease_state=LeaseState(row["lease_state"]) if row["lease_state"] else None,
        unknown_since=row["unknown_since"],
        unknown_reason=row["unknown_reason"] or "",
        settle_steps=tuple(SettleStep.model_validate(step) for step in row["settle_steps"] or ()),
        commands=row["commands"],
        command_error=row["command_error"] or "",
    )
