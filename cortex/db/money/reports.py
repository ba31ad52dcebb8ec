"""Reports on the ledger: what was charged and what is held, by one key or several. Times in UTC."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import text

from cortex.db.base import Access, Repository
from cortex.db.states import JOB_ENDED

# Of a job that had several leases each is counted for itself: one may be lost, the next complete.
_CAUSE: Final = f"""CASE
    WHEN s.failure = 'lost' THEN 'lost'
    WHEN j.state NOT IN ({JOB_ENDED}) AND s.attempt = j.attempt THEN 'open'
    WHEN s.attempt < j.attempt THEN 'failed'
    ELSE j.state END"""

TIMES: Final = {
    "hour": 'YYYY-MM-DD"T"HH24:00',
    "day": "YYYY-MM-DD",
    "week": 'IYYY-"W"IW',
    "month": "YYYY-MM",
}
_COLUMNS: Final = {
    "provider": "l.provider_id",
    "owner": "j.owner",
    "project": "j.project",
    "job": "l.job_id",
    "group": "COALESCE(j.group_id, '(none)')",
    "cause": _CAUSE,
    **{name: f"to_char(l.created_at, '{form}')" for name, form in TIMES.items()},
}
KEYS: Final = tuple(_COLUMNS)
_LABEL: Final = "label:"


@dataclass(frozen=True)
class Sum:
    """One group in one currency."""

    keys: tuple[str, ...]
    jobs: int
    currency: str
    charged: Decimal
    held: Decimal
    charged_usd: Decimal
    held_usd: Decimal


class ReportRepository(Repository[Access]):
    async def costs(
        self,
        keys: Sequence[str],
        *,
        since: datetime | None,
        until: datetime | None,
        projects: frozenset[str] | None = None,
    ) -> list[Sum]:
        """Sums by these keys (`KEYS`, or `label:<key>`): by time, or the dearest first.

        With `projects` of the jobs in these only.
        """
        values: dict[str, object] = {
            "since": since,
            "until": until,
            "projects": None if projects is None else sorted(projects),
        }
        columns: list[str] = []
        for number, key in enumerate(keys):
            if key.startswith(_LABEL):
                values[f"label{number}"] = key.removeprefix(_LABEL)
                columns.append(f"COALESCE(j.labels->>CAST(:label{number} AS text), '(none)')")
            else:
                columns.append(_COLUMNS[key])
        named = ", ".join(f"{column} AS k{number}" for number, column in enumerate(columns))
        groups = ", ".join(f"k{number}" for number in range(len(columns)))
        sequence = groups if set(keys) & {*TIMES} else f"SUM(charged * usd_rate) DESC, {groups}"
        query = f"""
            WITH entries AS (
                SELECT {named}, l.job_id, l.currency,
                    l.amount * CAST(l.kind = 'charge' AS int) AS charged,
                    l.amount * CAST({_IS_HELD} AS int) AS held, l.usd_rate
                FROM ledger l JOIN jobs j ON j.id = l.job_id JOIN leases s ON s.key = l.lease_key
                WHERE l.created_at >= COALESCE(CAST(:since AS timestamptz), '-infinity')
                    AND l.created_at < COALESCE(CAST(:until AS timestamptz), 'infinity')
                    AND (CAST(:projects AS text[]) IS NULL OR j.project = ANY(:projects))
            )
            SELECT {groups}, COUNT(DISTINCT job_id), currency, SUM(charged), SUM(held),
                SUM(charged * usd_rate), SUM(held * usd_rate)
            FROM entries GROUP BY {groups}, currency ORDER BY {sequence}, currency"""
        rows = await self.connection.execute(text(query), values)
        count = len(columns)
        return [Sum(tuple(row[:count]), *row[count:]) for row in rows]


_IS_HELD: Final = """(l.kind = 'hold' AND NOT EXISTS (
    SELECT 1 FROM ledger r WHERE r.lease_key = l.lease_key AND r.kind = 'release'))"""
