"""What the jobs of a scope cost: sums for budgets, and what a forecast is built on. All in USD."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson
from sqlalchemy import text

from cortex.db.base import Access, Repository
from cortex.db.states import JOB_ENDED, listed
from cortex.domain.money.budgets import Burden, Period, Spending
from cortex.domain.money.forecast import Facts
from cortex.domain.states import JobState, LeaseState


def covers(budget: str, owner: str, project: str, labels: str, api_key: str) -> str:
    """The condition that a budget covers a job, in SQL (`Budget.covers` says it in Python).

    A question about several projects has their names, with commas between them.
    """
    value = f"{budget}.scope_value"
    return f"""({budget}.scope = 'system'
        OR ({budget}.scope = 'user' AND {value} = {owner})
        OR ({budget}.scope = 'key' AND {value} = {api_key})
        OR ({budget}.scope = 'project' AND {project} = ANY(string_to_array({value}, ',')))
        OR ({budget}.scope = 'label' AND {labels}->>split_part({value}, '=', 1)
            = substr({value}, strpos({value}, '=') + 1)))"""


_COVERED: Final = covers("b", "j.owner", "j.project", "j.labels", "j.api_key")


@dataclass(frozen=True)
class Question:
    """Whose jobs, and when."""

    id: str
    scope: str
    scope_value: str | None
    period: Period


def _about(job_id: str) -> str:
    """Whether the job of a row counts; spares the look at the job where all of them do."""
    return f"""(b.scope = 'system' OR EXISTS (
        SELECT 1 FROM jobs j WHERE j.id = {job_id} AND {_COVERED}))"""


_ASKED: Final = """jsonb_to_recordset(CAST(:asked AS jsonb))
    AS b(id text, scope text, scope_value text, since timestamptz, until timestamptz)"""

# An open hold belongs to a lease that is not released, and of those there is an index.
_OPEN: Final = f"s.state <> '{LeaseState.RELEASED}' AND s.cost IS NULL"

# USD per second, by the price and the rate that were agreed on (`Lease.reckoned` for many at once).
_RATE: Final = """((s.offer->'price_per_hour'->>'amount')::numeric
    * COALESCE((s.offer->>'usd_rate')::numeric, 1) / 3600)"""

USED: Final = f"""COALESCE(s.usage_usd, {_RATE} * GREATEST(EXTRACT(EPOCH FROM
    COALESCE(s.finished_at, now()) - COALESCE(s.started_at, s.committed_at)), 0), 0)"""
"""What an open lease `s` has cost: as its network told, else price times time."""

_ENDING: Final = listed((JobState.CANCELLING, JobState.SETTLING))
_BILLS: Final = """l.kind = 'charge' AND l.created_at >= b.since AND l.created_at < b.until"""

# There may be many: those of all jobs come from the index alone, those of a key by its jobs (they
# are of all time), those of others by a join.
_CHARGED: Final = f"""CASE WHEN b.scope = 'system' THEN
        (SELECT COALESCE(SUM(l.amount * l.usd_rate), 0) FROM ledger l WHERE {_BILLS})
    WHEN b.scope = 'key' THEN
        (SELECT COALESCE(SUM(l.amount * l.usd_rate), 0) FROM jobs j
            JOIN ledger l ON l.job_id = j.id WHERE j.api_key = b.scope_value AND {_BILLS})
    ELSE
        (SELECT COALESCE(SUM(l.amount * l.usd_rate), 0) FROM ledger l
            JOIN jobs j ON j.id = l.job_id AND {_COVERED} WHERE {_BILLS})
    END"""

# What counts against each budget now: bills of its period, open holds (or what is used, if more),
# and reserves.
_SUMS: Final = text(f"""
SELECT b.id,
    {_CHARGED} AS charged,
    (SELECT COALESCE(SUM(GREATEST(s.usage_usd, (
            SELECT SUM(l.amount * l.usd_rate) FROM ledger l
            WHERE l.job_id = s.job_id AND l.lease_key = s.key AND l.kind = 'hold'))), 0)
        FROM leases s WHERE {_OPEN} AND {_about("s.job_id")}) AS held,
    (SELECT COALESCE(SUM(r.usd), 0) FROM job_reserves r
        WHERE r.released_at IS NULL AND {_about("r.job_id")}) AS reserved
FROM {_ASKED}
""")

# What has been spent, runs on and was usual. Today is left out of the average: it has not ended.
_FACTS: Final = text(f"""
SELECT b.id, now() AS now,
    {_CHARGED} AS charged,
    running.so_far, running.ahead, usual.charged AS ended_days_charged, usual.first_day
FROM {_ASKED},
LATERAL (
    SELECT COALESCE(SUM({USED}), 0) AS so_far,
        COALESCE(SUM({_RATE} * GREATEST(EXTRACT(EPOCH FROM
            LEAST(j.deadline_at, b.until) - now()), 0))
            FILTER (WHERE s.state = '{LeaseState.ACTIVE}'), 0) AS ahead
    FROM leases s JOIN jobs j ON j.id = s.job_id
    WHERE {_OPEN} AND s.committed_at IS NOT NULL AND {_about("s.job_id")}
) AS running,
LATERAL (
    SELECT COALESCE(SUM(l.amount * l.usd_rate), 0) AS charged,
        date_trunc('day', MIN(l.created_at)) AS first_day
    FROM ledger l
    WHERE l.kind = 'charge' AND l.created_at < date_trunc('day', now())
        AND l.created_at >= LEAST(b.since, date_trunc('day', now()) - INTERVAL '7 days')
        AND {_about("l.job_id")}
) AS usual
""")

# Jobs that have not ended. The newest first: that is the order in which they are stopped.
_BURDENS: Final = text(f"""
SELECT j.id AS job_id, j.state IN ({_ENDING}) AS ending,
    COALESCE(leased.frees, 0) + COALESCE(r.usd, 0) AS frees, COALESCE(leased.costs, false) AS costs
FROM {_ASKED} JOIN jobs j ON j.state NOT IN ({JOB_ENDED})
    AND {_COVERED}
LEFT JOIN job_reserves r ON r.job_id = j.id AND r.released_at IS NULL
LEFT JOIN LATERAL (
    SELECT SUM(GREATEST((SELECT SUM(l.amount * l.usd_rate) FROM ledger l
            WHERE l.job_id = s.job_id AND l.lease_key = s.key AND l.kind = 'hold')
            - CASE WHEN s.committed_at IS NULL THEN 0 ELSE {USED} END, 0)) AS frees,
        bool_or(s.state = '{LeaseState.ACTIVE}' AND {_RATE} > 0) AS costs
    FROM leases s WHERE s.job_id = j.id AND {_OPEN}
) AS leased ON true
ORDER BY j.created_at DESC, j.id DESC
""")


class SpendingRepository(Repository[Access]):
    async def sums(self, asked: Sequence[Question]) -> dict[str, Spending]:
        """What counts against each, by the id of the question."""
        rows = await self.connection.execute(_SUMS, {"asked": _packed(asked)})
        return {row["id"]: Spending.model_validate({**row}) for row in rows.mappings()}

    async def facts(self, asked: Sequence[Question]) -> dict[str, Facts]:
        """What the forecast of each is built on, by the id of the question."""
        rows = await self.connection.execute(_FACTS, {"asked": _packed(asked)})
        return {row["id"]: Facts.model_validate({**row}) for row in rows.mappings()}

    async def burdens(self, asked: Question) -> list[Burden]:
        """The jobs that have not ended, the newest first."""
        rows = await self.connection.execute(_BURDENS, {"asked": _packed([asked])})
        return [Burden.model_validate({**row}) for row in rows.mappings()]

    async def now(self) -> datetime:
        """The time of the database, by which its entries are dated."""
        now: datetime = (await self.connection.execute(text("SELECT now()"))).scalar_one()
        return now


def _packed(asked: Sequence[Question]) -> str:
    rows = [
        {
            "id": question.id,
            "scope": question.scope,
            "scope_value": question.scope_value,
            "since": question.period.start,
            "until": question.period.end,
        }
        for question in asked
    ]
    return orjson.dumps(rows).decode()
