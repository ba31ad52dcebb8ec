"""What jobs cost: the ledger and reports on it."""

from collections import defaultdict
from datetime import datetime
from decimal import Decimal

from cortex.db.engine import Database
from cortex.domain.errors import FieldError, InvalidRequest
from cortex.domain.money import Money
from cortex.schemas import CostReport, CostRow, LedgerPage
from cortex.services.pagination import decode_cursor, encode_cursor
from cortex.services.views import ledger_view

_GROUPS = ("provider", "owner", "job", "day")


class Billing:
    """Reads the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ledger(self, *, job_id: str | None, cursor: str | None, limit: int) -> LedgerPage:
        """Entries, oldest first.

        Raises:
            NotFound: there is no such job.
            InvalidRequest: `cursor` is none of ours.
        """
        after = decode_cursor(cursor)
        async with self._database.reading() as tx:
            if job_id is not None:
                await tx.reads.state(job_id)
            entries = await tx.ledger.page(job_id=job_id, after=after, limit=limit + 1)
        more, entries = len(entries) > limit, entries[:limit]
        return LedgerPage(
            items=tuple(ledger_view(entry) for entry in entries),
            next_cursor=encode_cursor((entries[-1].created_at, entries[-1].id)) if more else None,
        )

    async def costs(
        self, group_by: str, *, since: datetime | None, until: datetime | None
    ) -> CostReport:
        """What was charged and what is held, per group and currency.

        Raises:
            InvalidRequest: `group_by` is no grouping.
        """
        label = group_by.removeprefix("label:")
        if group_by not in _GROUPS and (label == group_by or not label):
            message = f"must be one of {', '.join(_GROUPS)} or `label:<key>`"
            raise InvalidRequest(
                f"`group_by` {message}", errors=[FieldError(field="group_by", message=message)]
            )
        async with self._database.reading() as tx:
            found = await tx.ledger.costs(group_by, since=since, until=until)
        totals: defaultdict[str, Decimal] = defaultdict(Decimal)
        rows: list[CostRow] = []
        for group, jobs, currency, charged, held in found:
            totals[currency] += charged
            rows.append(
                CostRow(
                    group=group[:10] if group_by == "day" else group,
                    jobs=jobs,
                    charged=Money(amount=charged, currency=currency),
                    held=Money(amount=held, currency=currency),
                )
            )
        return CostReport(
            group_by=group_by,
            since=since,
            until=until,
            rows=tuple(rows),
            total=tuple(
                Money(amount=amount, currency=name) for name, amount in sorted(totals.items())
            ),
        )
