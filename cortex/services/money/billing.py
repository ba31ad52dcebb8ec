"""What jobs cost: the ledger and reports on it."""

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from cortex.db.engine import Database
from cortex.db.money.reports import KEYS
from cortex.domain.errors import FieldError, InvalidRequest
from cortex.domain.money import Money
from cortex.schemas.money import CostReport, CostRow, LedgerPage, LedgerView
from cortex.services.money.sheets import LEDGER_HEADING, ledger_rows
from cortex.services.pagination import decode_cursor, encode_cursor
from cortex.services.sheets import csv_text
from cortex.services.views import ledger_view

_KEY: Final = rf"({'|'.join(KEYS)}|label:[A-Za-z0-9._/-]{{1,63}})"
GROUPING: Final = f"^{_KEY}( *, *{_KEY})?$"
"""What `group_by` looks like."""
_ROWS_AT_ONCE: Final = 1000


class Billing:
    """Reads the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ledger(
        self,
        *,
        job_id: str | None,
        cursor: str | None,
        limit: int,
        since: datetime | None = None,
        until: datetime | None = None,
        projects: frozenset[str] | None = None,
    ) -> LedgerPage:
        """Entries, oldest first; with `projects` of the jobs in these only.

        Raises:
            NotFound: there is no such job.
            InvalidRequest: `cursor` is none of ours.
        """
        after = decode_cursor(cursor)
        async with self._database.reading() as tx:
            if job_id is not None:
                await tx.reads.require(job_id, projects)
            entries = await tx.ledger.page(
                job_id=job_id,
                since=since,
                until=until,
                after=after,
                projects=projects,
                limit=limit + 1,
            )
        more, entries = len(entries) > limit, entries[:limit]
        return LedgerPage(
            items=tuple(ledger_view(entry) for entry in entries),
            next_cursor=encode_cursor((entries[-1].created_at, entries[-1].id)) if more else None,
        )

    async def charges_of(
        self, job_ids: Sequence[str], *, limit: int
    ) -> dict[str, list[LedgerView]]:
        """The first entries of each of these jobs, by their ids, oldest first."""
        async with self._database.reading() as tx:
            entries = await tx.ledger.of_jobs(job_ids, limit=limit)
        found: dict[str, list[LedgerView]] = {job_id: [] for job_id in job_ids}
        for entry in entries:
            found[entry.job_id].append(ledger_view(entry))
        return found

    async def ledger_csv(
        self,
        *,
        job_id: str | None,
        since: datetime | None,
        until: datetime | None,
        projects: frozenset[str] | None = None,
    ) -> AsyncIterator[str]:
        """All entries as CSV, piece by piece; with `projects` of the jobs in these only.

        Raises:
            NotFound: there is no such job; before the first piece.
        """
        if job_id is not None:
            async with self._database.reading() as tx:
                await tx.reads.require(job_id, projects)
        return self._pieces(job_id, since, until, projects)

    async def _pieces(
        self,
        job_id: str | None,
        since: datetime | None,
        until: datetime | None,
        projects: frozenset[str] | None,
    ) -> AsyncIterator[str]:
        yield csv_text([LEDGER_HEADING])
        after: tuple[datetime, str] | None = None
        while True:
            async with self._database.reading() as tx:
                entries = await tx.ledger.page(
                    job_id=job_id,
                    since=since,
                    until=until,
                    after=after,
                    projects=projects,
                    limit=_ROWS_AT_ONCE,
                )
            if not entries:
                return
            yield csv_text(ledger_rows(entries))
            after = (entries[-1].created_at, entries[-1].id)

    async def costs(
        self,
        group_by: str,
        *,
        since: datetime | None,
        until: datetime | None,
        projects: frozenset[str] | None = None,
    ) -> CostReport:
        """What was charged and what is held, per group and currency.

        With `projects` by the jobs in these only.

        Raises:
            InvalidRequest: `group_by` is no grouping.
        """
        keys = _keys(group_by)
        async with self._database.reading() as tx:
            costs = await tx.reports.costs(keys, since=since, until=until, projects=projects)
        totals: defaultdict[str, Decimal] = defaultdict(Decimal)
        for cost in costs:
            totals[cost.currency] += cost.charged
        rows = tuple(
            CostRow(
                group=" / ".join(cost.keys),
                keys=cost.keys,
                jobs=cost.jobs,
                charged=Money(amount=cost.charged, currency=cost.currency),
                held=Money(amount=cost.held, currency=cost.currency),
                charged_usd=cost.charged_usd,
                held_usd=cost.held_usd,
            )
            for cost in costs
        )
        return CostReport(
            group_by=",".join(keys),
            since=since,
            until=until,
            rows=rows,
            total=tuple(
                Money(amount=amount, currency=name) for name, amount in sorted(totals.items())
            ),
            total_usd=sum((cost.charged_usd for cost in costs), Decimal(0)),
        )


def _keys(group_by: str) -> tuple[str, ...]:
    if re.fullmatch(GROUPING, group_by):
        return tuple(dict.fromkeys(key.strip(" ") for key in group_by.split(",")))
    message = f"must be one of {', '.join(KEYS)} or `label:<key>`, or two of them with a comma"
    raise InvalidRequest(
        f"`group_by` {message}", errors=[FieldError(field="group_by", message=message)]
    )
