"""Groups while they run: one snapshot for the planner, and the guarded writes of its plan.

Locks: a writer of a group takes the lock of the group first and those of its members after it,
members in the order of their ids. Whoever holds the lock of a job never asks for that of a group.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import TextClause, func, select, update

from cortex.db.base import Access, Repository, Transacts, Writes
from cortex.db.groups.sql import (
    ABORT,
    CANCEL_HELD,
    COMMIT,
    END_HELD,
    ENSURE_GANG,
    LET_GO,
    LOCK,
    LOCK_MEMBERS,
    MEMBERS,
    NEEDS,
    NUDGE,
    PRESUME,
    SETTLE_HELD,
    STANDING,
    START_GANG,
    STOP,
)
from cortex.db.tables.base import NOW
from cortex.db.tables.groups import JobGangRow, JobGroupRow
from cortex.domain.groups.plan import Decision, Start
from cortex.domain.groups.rules import GroupRules
from cortex.domain.groups.snapshot import COMMITTED, Decided, Gang, Member, Snapshot
from cortex.domain.groups.states import TERMINAL_GROUP_STATES, GroupState, group_sources
from cortex.domain.jobs import Reason
from cortex.domain.states import JobState

_OVER: Final = [state.value for state in TERMINAL_GROUP_STATES]


@dataclass(frozen=True)
class GroupHead:
    """What Temporal is told of a group."""

    id: str
    name: str
    owner: str
    project: str
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
        await self.connection.execute(LOCK, {"id": group_id})

    async def lock_members(self: "GroupRepository[Transacts]", job_ids: Sequence[str]) -> None:
        """The locks of these jobs, in an order that all groups keep."""
        await self.connection.execute(LOCK_MEMBERS, {"ids": sorted(job_ids)})

    async def heads(self, group_ids: Sequence[str]) -> list[GroupHead]:
        """The groups with these ids; unknown ones are left out."""
        query = select(
            JobGroupRow.id,
            JobGroupRow.name,
            JobGroupRow.owner,
            JobGroupRow.project,
            JobGroupRow.state,
            JobGroupRow.labels,
        ).where(JobGroupRow.id.in_(group_ids))
        return [
            GroupHead(row.id, row.name, row.owner, row.project, GroupState(row.state), row.labels)
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
        rows = await self.connection.execute(MEMBERS, {"group": group_id})
        members = tuple(_member(row) for row in rows)
        gangs = await self._gangs(group_id)
        for member in members:
            gangs.setdefault(member.gang, Gang(member.gang))
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
        for row in await self.connection.execute(NEEDS, {"group": group_id}):
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
        if decision.decided == COMMITTED:
            return bool((await self.connection.execute(COMMIT, values)).rowcount)
        await self._ensure_gang(group_id, decision.gang)
        return bool((await self.connection.execute(ABORT, values)).rowcount)

    async def presume_abort(
        self: "GroupRepository[Writes]", standing: GangVerdict, reason: str
    ) -> bool:
        """Write `aborted` for a gang whose time, and some grace, went by without a decision."""
        values = {"group": standing.group_id, "gang": standing.gang, "reason": reason}
        return (await self.connection.execute(PRESUME, values)).first() is not None

    async def standing(self, job_id: str) -> GangVerdict | None:
        """What is decided about a member; None if it is of no gang (any more)."""
        row = (await self.connection.execute(STANDING, {"job": job_id})).first()
        if row is None or not row.known:
            return None
        return GangVerdict(row.group_id, row.gang, row.decision, row.reason, row.until, row.now)

    async def start(self: "GroupRepository[Transacts]", group_id: str, start: Start) -> list[str]:
        """Let go of held members, and give their gang its deadline; the ids of those let go."""
        await self._ensure_gang(group_id, start.gang)
        values = {"group": group_id, "gang": start.gang, "deadline": start.deadline_at}
        await self.connection.execute(START_GANG, values)
        return await self._moved(LET_GO, start.members)

    async def stop(
        self: "GroupRepository[Transacts]", job_ids: Sequence[str], message: str
    ) -> list[str]:
        """Started members to `cancelling`; the ids of those that could be stopped."""
        return await self._moved(STOP, job_ids, message=message)

    async def close(
        self: "GroupRepository[Transacts]", job_ids: Sequence[str], cause: Reason, message: str
    ) -> list[tuple[str, JobState]]:
        """Held members to their end; each state that each went through, in order.

        They go the way of every job that is stopped, so that histories look alike.
        """
        asked = await self._moved(CANCEL_HELD, job_ids)
        settling = await self._moved(SETTLE_HELD, job_ids)
        ended = await self._moved(END_HELD, settling, reason=cause.value, message=message)
        return [
            *((job_id, JobState.CANCELLING) for job_id in asked),
            *((job_id, JobState.SETTLING) for job_id in settling),
            *((job_id, JobState.CANCELLED) for job_id in ended),
        ]

    async def _moved(
        self: "GroupRepository[Transacts]",
        statement: TextClause,
        job_ids: Sequence[str],
        **values: str,
    ) -> list[str]:
        given = {"ids": list(job_ids), **values}
        return sorted((await self.connection.execute(statement, given)).scalars())

    async def move(
        self: "GroupRepository[Transacts]", group_id: str, state: GroupState, message: str
    ) -> bool:
        """Move a group if that is legal from where it is."""
        return await self._move(group_id, state, message)

    async def finish(
        self: "GroupRepository[Transacts]",
        group_id: str,
        state: GroupState,
        *,
        reason: Reason | None,
        message: str,
    ) -> bool:
        """Write the terminal state of a group; False if it has one."""
        told = reason.value if reason else None
        return await self._move(group_id, state, message, reason=told, finished_at=NOW)

    async def _move(
        self: "GroupRepository[Transacts]",
        group_id: str,
        state: GroupState,
        message: str,
        **values: Any,
    ) -> bool:
        statement = (
            update(JobGroupRow)
            .where(
                JobGroupRow.id == group_id,
                JobGroupRow.state.in_([source.value for source in group_sources(state)]),
            )
            .values(state=state.value, message=message, updated_at=NOW, **values)
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
        await self.connection.execute(NUDGE, {"id": group_id})

    async def _ensure_gang(self: "GroupRepository[Transacts]", group_id: str, gang: int) -> None:
        await self.connection.execute(ENSURE_GANG, {"group": group_id, "gang": gang})


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
