"""Groups while they run: one snapshot for the planner, and the guarded writes of its plan.

Locks: a writer of a group takes the lock of the group first and those of its members after it,
members in the order of their ids. Whoever holds the lock of a job never asks for that of a group.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select, text, update

from cortex.db.base import Access, Repository, Transacts, Writes
from cortex.db.tables.groups import JobGangRow, JobGroupRow
from cortex.db.tables.jobs import NOW
from cortex.domain.groups.plan import Decision, Start
from cortex.domain.groups.rules import GroupRules
from cortex.domain.groups.snapshot import Decided, Gang, Member, Snapshot
from cortex.domain.groups.states import TERMINAL_GROUP_STATES, GroupState, group_sources
from cortex.domain.jobs import Reason
from cortex.domain.states import JobState, LeaseState

_OVER: Final = [state.value for state in TERMINAL_GROUP_STATES]
_LONGEST = 300

_MEMBERS: Final = text(
    f"""
SELECT j.id, COALESCE(j.member, j.name) AS name, COALESCE(j.gang, 0) AS gang, j.state, j.held,
    j.reason, left(j.message, {_LONGEST}) AS message, j.exit_code,
    j.cancel_requested_at IS NOT NULL AS asked,
    COALESCE(l.state = '{LeaseState.RESERVED}' AND j.state = '{JobState.DEPLOYING}', false)
        AS ready,
    EXISTS (SELECT 1 FROM leases live WHERE live.job_id = j.id AND live.committed_at IS NOT NULL)
        AS committed
FROM jobs j LEFT JOIN leases l ON l.job_id = j.id AND l.attempt = j.attempt
WHERE j.group_id = :group ORDER BY j.id
"""
)

# All members of a gang need the same: one that is not started yet tells it for all of them.
_NEEDS: Final = text(
    """
SELECT one.gang, n.needs_job_id FROM job_needs n JOIN (
    SELECT DISTINCT ON (COALESCE(gang, 0)) COALESCE(gang, 0) AS gang, id
    FROM jobs WHERE group_id = :group AND held ORDER BY COALESCE(gang, 0), id
) one ON one.id = n.job_id
"""
)

_COMMIT: Final = text(
    f"""
UPDATE job_gangs SET decision = 'committed', reason = :reason, decided_at = now()
WHERE group_id = :group AND gang = :gang AND decision IS NULL AND NOT EXISTS (
    SELECT 1 FROM jobs j LEFT JOIN leases l ON l.job_id = j.id AND l.attempt = j.attempt
    WHERE j.group_id = :group AND j.gang = :gang
        AND (j.state <> '{JobState.DEPLOYING}' OR l.state IS DISTINCT FROM '{LeaseState.RESERVED}')
)
"""
)

# How long a member waits for a coordinator that may be late: a tenth of what the gang was given.
_GRACE: Final = (
    "LEAST(GREATEST((g.deadline_at - g.started_at) / 10, interval '2 seconds'), "
    "interval '30 seconds')"
)

_PRESUME: Final = text(
    f"""
UPDATE job_gangs g SET decision = 'aborted', reason = :reason, decided_at = now()
WHERE g.group_id = :group AND g.gang = :gang AND g.decision IS NULL
    AND g.deadline_at + {_GRACE} <= now()
RETURNING g.gang
"""
)

_STANDING: Final = text(
    f"""
SELECT j.group_id, j.gang, g.decision, COALESCE(g.reason, '') AS reason,
    g.deadline_at + {_GRACE} AS until, now() AS now, g.gang IS NOT NULL AS known
FROM jobs j LEFT JOIN job_gangs g ON g.group_id = j.group_id AND g.gang = j.gang
WHERE j.id = :job
"""
)


@dataclass(frozen=True)
class GroupHead:
    """What Temporal is told of a group."""

    id: str
    name: str
    owner: str
    state: GroupState
    labels: dict[str, str]


@dataclass(frozen=True)
class GangVerdict:
    """What the gang of a member has decided, and until when it may."""

    group_id: str
    gang: int
    decision: Decided | None
    reason: str
    until: datetime | None
    now: datetime


class GroupRepository(Repository[Access]):
    async def lock(self: "GroupRepository[Transacts]", group_id: str) -> None:
        """Serialise with all other writers of this group until the transaction ends."""
        await self.connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:id, 0))"), {"id": group_id}
        )

    async def lock_members(self: "GroupRepository[Transacts]", job_ids: Sequence[str]) -> None:
        """The locks of these jobs, in an order that all groups keep."""
        await self.connection.execute(
            text(
                "SELECT pg_advisory_xact_lock(hashtextextended(id, 0)) FROM "
                "(SELECT id FROM unnest(CAST(:ids AS text[])) AS t(id) ORDER BY id OFFSET 0) s"
            ),
            {"ids": sorted(job_ids)},
        )

    async def heads(self, group_ids: Sequence[str]) -> list[GroupHead]:
        """The groups with these ids; unknown ones are left out."""
        query = select(
            JobGroupRow.id,
            JobGroupRow.name,
            JobGroupRow.owner,
            JobGroupRow.state,
            JobGroupRow.labels,
        ).where(JobGroupRow.id.in_(group_ids))
        return [
            GroupHead(row.id, row.name, row.owner, GroupState(row.state), row.labels)
            for row in await self.connection.execute(query)
        ]

    async def snapshot(self, group_id: str) -> tuple[Snapshot, datetime] | None:
        """The group as the planner needs it, and the time; None if there is no such group."""
        query = select(
            JobGroupRow.state,
            JobGroupRow.spec,
            JobGroupRow.cancel_requested_at,
            JobGroupRow.cancel_reason,
            func.now().label("now"),
        ).where(JobGroupRow.id == group_id)
        head = (await self.connection.execute(query)).first()
        if head is None:
            return None
        found = await self.connection.execute(_MEMBERS, {"group": group_id})
        members = tuple(_member(row) for row in found)
        gangs = await self._gangs(group_id)
        for item in members:
            gangs.setdefault(item.gang, Gang(item.gang))
        made = Snapshot(
            id=group_id,
            state=GroupState(head.state),
            rules=GroupRules.of(head.spec),
            members=members,
            gangs=gangs,
            cancel_requested=head.cancel_requested_at is not None,
            cancel_reason=head.cancel_reason,
        )
        return made, head.now

    async def _gangs(self, group_id: str) -> dict[int, Gang]:
        needs: dict[int, set[str]] = {}
        for row in await self.connection.execute(_NEEDS, {"group": group_id}):
            needs.setdefault(row.gang, set()).add(row.needs_job_id)
        query = select(JobGangRow.__table__).where(JobGangRow.group_id == group_id)
        gangs = {
            row.gang: Gang(
                number=row.gang,
                needs=frozenset(needs.pop(row.gang, ())),
                decision=row.decision,
                reason=row.reason,
                started_at=row.started_at,
                deadline_at=row.deadline_at,
            )
            for row in await self.connection.execute(query)
        }
        gangs |= {number: Gang(number, frozenset(ids)) for number, ids in needs.items()}
        return gangs

    async def decide(self: "GroupRepository[Transacts]", group_id: str, decision: Decision) -> bool:
        """Write the decision of a gang; False if there is one, or it may not be committed now."""
        values = {"group": group_id, "gang": decision.gang, "reason": decision.reason}
        if decision.decided == "committed":
            return bool((await self.connection.execute(_COMMIT, values)).rowcount)
        await self._ensure_gang(group_id, decision.gang)
        statement = (
            update(JobGangRow)
            .where(
                JobGangRow.group_id == group_id,
                JobGangRow.gang == decision.gang,
                JobGangRow.decision.is_(None),
            )
            .values(decision="aborted", reason=decision.reason, decided_at=NOW)
        )
        return bool((await self.connection.execute(statement)).rowcount)

    async def presume_abort(
        self: "GroupRepository[Writes]", standing: GangVerdict, reason: str
    ) -> bool:
        """Write `aborted` for a gang whose time, and some grace, went by without a decision."""
        values = {"group": standing.group_id, "gang": standing.gang, "reason": reason}
        return (await self.connection.execute(_PRESUME, values)).first() is not None

    async def standing(self, job_id: str) -> GangVerdict | None:
        """What is decided about a member; None if it is of no gang (any more)."""
        row = (await self.connection.execute(_STANDING, {"job": job_id})).first()
        if row is None or not row.known:
            return None
        return GangVerdict(row.group_id, row.gang, row.decision, row.reason, row.until, row.now)

    async def start(self: "GroupRepository[Transacts]", group_id: str, start: Start) -> list[str]:
        """Let go of held members, and give their gang its deadline; the ids of those let go."""
        await self._ensure_gang(group_id, start.gang)
        await self.connection.execute(
            update(JobGangRow)
            .where(
                JobGangRow.group_id == group_id,
                JobGangRow.gang == start.gang,
                JobGangRow.started_at.is_(None),
            )
            .values(started_at=NOW, deadline_at=start.deadline_at)
        )
        statement = text(
            "UPDATE jobs SET held = false, updated_at = now() "
            f"WHERE id = ANY(:ids) AND held AND state = '{JobState.PENDING}' RETURNING id"
        )
        found = await self.connection.execute(statement, {"ids": list(start.members)})
        return sorted(found.scalars())

    async def stop(
        self: "GroupRepository[Transacts]", job_ids: Sequence[str], message: str
    ) -> list[str]:
        """Started members to `cancelling`; the ids of those that could be stopped."""
        return await self._move(
            job_ids,
            "pending placing deploying running",
            "state = 'cancelling', message = :message, "
            "cancel_requested_at = COALESCE(cancel_requested_at, now())",
            held=False,
            message=message,
        )

    async def close(
        self: "GroupRepository[Transacts]", job_ids: Sequence[str], cause: Reason, message: str
    ) -> list[tuple[str, JobState]]:
        """Held members to their end; each state that each went through, in order.

        They go the way of every job that is stopped, so that histories look alike.
        """
        gone = "state = 'cancelling', cancel_requested_at = COALESCE(cancel_requested_at, now())"
        asked = await self._move(job_ids, "pending", gone, held=True)
        settling = await self._move(job_ids, "cancelling", "state = 'settling'", held=True)
        ended = await self._move(
            settling,
            "settling",
            "state = 'cancelled', reason = :reason, message = :message, finished_at = now()",
            held=True,
            reason=cause.value,
            message=message,
        )
        return [
            *((job_id, JobState.CANCELLING) for job_id in asked),
            *((job_id, JobState.SETTLING) for job_id in settling),
            *((job_id, JobState.CANCELLED) for job_id in ended),
        ]

    async def _move(
        self: "GroupRepository[Transacts]",
        job_ids: Sequence[str],
        sources: str,
        changes: str,
        *,
        held: bool,
        **values: Any,
    ) -> list[str]:
        statement = text(
            f"UPDATE jobs SET updated_at = now(), {changes} "
            "WHERE id = ANY(:ids) AND state = ANY(:sources) AND held = :held RETURNING id"
        )
        given = {"ids": list(job_ids), "sources": sources.split(), "held": held, **values}
        return sorted((await self.connection.execute(statement, given)).scalars())

    async def move(
        self: "GroupRepository[Transacts]", group_id: str, state: GroupState, **values: Any
    ) -> bool:
        """Move a group if that is legal from where it is; further `values` are columns."""
        statement = (
            update(JobGroupRow)
            .where(
                JobGroupRow.id == group_id,
                JobGroupRow.state.in_([source.value for source in group_sources(state)]),
            )
            .values(state=state.value, updated_at=NOW, **values)
        )
        return bool((await self.connection.execute(statement)).rowcount)

    async def request_cancel(
        self: "GroupRepository[Transacts]", group_id: str, reason: str
    ) -> bool:
        """Write that the group is to end; False if it has ended, or was asked before."""
        statement = (
            update(JobGroupRow)
            .where(
                JobGroupRow.id == group_id,
                JobGroupRow.cancel_requested_at.is_(None),
                JobGroupRow.state.not_in(_OVER),
            )
            .values(cancel_requested_at=NOW, cancel_reason=reason, updated_at=NOW)
        )
        return bool((await self.connection.execute(statement)).rowcount)

    async def nudge(self: "GroupRepository[Writes]", group_id: str) -> None:
        """Have the group's workflow look, and be started if it is not there."""
        await self.connection.execute(
            text(
                "INSERT INTO commands (group_id, kind) "
                "SELECT id, 'nudge' FROM job_groups WHERE id = :id AND state <> ALL(:over)"
            ),
            {"id": group_id, "over": _OVER},
        )

    async def _ensure_gang(self: "GroupRepository[Transacts]", group_id: str, gang: int) -> None:
        await self.connection.execute(
            text(
                "INSERT INTO job_gangs (group_id, gang) VALUES (:group, :gang) "
                "ON CONFLICT DO NOTHING"
            ),
            {"group": group_id, "gang": gang},
        )


def _member(row: Any) -> Member:
    return Member(
        id=row.id,
        name=row.name,
        gang=row.gang,
        state=JobState(row.state),
        held=row.held,
        ready=row.ready,
        committed=row.committed,
        asked=row.asked,
        reason=Reason(row.reason) if row.reason else None,
        message=row.message,
        exit_code=row.exit_code,
    )
