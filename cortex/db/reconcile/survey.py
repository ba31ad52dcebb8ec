"""Wide reads for reconcile: what is open, whom a workflow must look after, what is still held."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import or_, select, text

from cortex.db.base import Access, Repository
from cortex.db.jobs.leases import lease_of
from cortex.db.states import GROUP_ENDED, listed
from cortex.db.tables.leases import LeaseRow
from cortex.db.tables.outbox import CommandRow
from cortex.domain.leases import Lease
from cortex.domain.money import Money
from cortex.domain.reconcile import CareCase, OpenHold
from cortex.domain.states import TERMINAL_JOB_STATES, JobState, LeaseState

_MOST_BILLS: Final = 50
_ALIVE: Final = listed(set(JobState) - TERMINAL_JOB_STATES)
# Whoever has a start or a cancel on the way is being looked after.
_TOLD_SOON: Final = """EXISTS (
    SELECT 1 FROM commands c WHERE c.job_id = j.id AND c.done_at IS NULL
        AND c.kind IN ('start', 'cancel')
)"""
_CARE: Final = text(f"""
WITH ids AS (
    SELECT id FROM jobs WHERE state IN ({_ALIVE}) AND NOT held
    UNION SELECT job_id FROM leases WHERE state <> '{LeaseState.RELEASED}'
)
SELECT j.id, j.state,
    (SELECT count(*) FROM leases l WHERE l.job_id = j.id AND l.state <> '{LeaseState.RELEASED}')
        AS open_leases,
    EXISTS (SELECT 1 FROM leases l WHERE l.job_id = j.id) AS leased
FROM ids JOIN jobs j ON j.id = ids.id
WHERE NOT {_TOLD_SOON} AND (CAST(:job AS text) IS NULL OR j.id = :job)
ORDER BY j.id
""")
_GROUPS: Final = text(f"""
SELECT g.id, g.state FROM job_groups g
WHERE g.state NOT IN ({GROUP_ENDED}) AND NOT EXISTS (
    SELECT 1 FROM commands c WHERE c.group_id = g.id AND c.done_at IS NULL
        AND c.kind = 'start_group'
)
ORDER BY g.id
""")
_HOLDS: Final = text(f"""
SELECT h.lease_key, h.job_id, h.provider_id, h.currency, sum(h.amount) AS held
FROM ledger h JOIN leases l ON l.key = h.lease_key AND l.state = '{LeaseState.RELEASED}'
WHERE h.kind = 'hold' AND NOT EXISTS (
    SELECT 1 FROM ledger r WHERE r.lease_key = h.lease_key AND r.kind = 'release'
)
GROUP BY h.lease_key, h.job_id, h.provider_id, h.currency ORDER BY h.lease_key
""")
_UNSERVED: Final = text(f"""
SELECT l.provider_id, l.key FROM leases l LEFT JOIN providers p ON p.id = l.provider_id
WHERE l.state <> '{LeaseState.RELEASED}' AND NOT coalesce(p.configured, false)
ORDER BY l.provider_id, l.created_at
""")


class SurveyRepository(Repository[Access]):
    async def lease_states(self, keys: Sequence[str]) -> dict[str, LeaseState]:
        """The states of those of these leases that have a row."""
        query = select(LeaseRow.key, LeaseRow.state).where(LeaseRow.key.in_(keys))
        return {row.key: LeaseState(row.state) for row in await self.connection.execute(query)}

    async def settled(
        self, provider_id: str, since: datetime, by_hand_since: datetime, keys: Sequence[str]
    ) -> list[Lease]:
        """Leases of a provider that were released lately, and those named by `keys`.

        A lease that somebody settled by hand is kept an eye on for longer.
        """
        lately = (LeaseRow.released_at > since) | (
            LeaseRow.resolution.is_not(None) & (LeaseRow.released_at > by_hand_since)
        )
        query = (
            select(LeaseRow.__table__)
            .where(
                LeaseRow.provider_id == provider_id,
                LeaseRow.state == LeaseState.RELEASED.value,
                LeaseRow.ref.is_not(None),
                LeaseRow.committed_at.is_not(None),
                or_(lately, LeaseRow.key.in_(keys)),
            )
            .order_by(LeaseRow.released_at.desc())
            .limit(_MOST_BILLS)
        )
        return [lease_of(row) for row in (await self.connection.execute(query)).mappings()]

    async def care(self, job_id: str | None = None) -> list[CareCase]:
        """Jobs that a workflow must look after; with `job_id` this one, if it is among them."""
        rows = await self.connection.execute(_CARE, {"job": job_id})
        return [
            CareCase(
                job_id=row.id,
                state=JobState(row.state),
                open_leases=row.open_leases,
                leased=row.leased,
            )
            for row in rows
        ]

    async def start_payload(self, job_id: str) -> dict[str, Any] | None:
        """With what the job was started before; None if that is not kept any more."""
        query = (
            select(CommandRow.payload)
            .where(CommandRow.job_id == job_id, CommandRow.kind == "start")
            .order_by(CommandRow.id.desc())
            .limit(1)
        )
        row = (await self.connection.execute(query)).first()
        return None if row is None else dict(row.payload)

    async def groups(self) -> dict[str, str]:
        """Groups that a workflow must look after, with their states."""
        return {row.id: row.state for row in await self.connection.execute(_GROUPS)}

    async def holds(self) -> list[OpenHold]:
        """Holds of released leases that nothing has closed."""
        return [
            OpenHold(
                lease_key=row.lease_key,
                job_id=row.job_id,
                provider_id=row.provider_id,
                held=Money(amount=Decimal(row.held), currency=row.currency),
            )
            for row in await self.connection.execute(_HOLDS)
        ]

    async def unserved(self) -> dict[str, list[str]]:
        """Open leases of providers that no worker has in its settings, by provider."""
        by_provider: dict[str, list[str]] = {}
        for row in await self.connection.execute(_UNSERVED):
            by_provider.setdefault(row.provider_id, []).append(row.key)
        return by_provider
