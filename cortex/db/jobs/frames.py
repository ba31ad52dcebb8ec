"""The frames of render jobs: what is known of each, over all leases of its job.

A frame belongs to the lease that reported it last. When another lease reports it, what it took
before is added up, so that attempts and cost are those of all leases together. A frame that an
earlier lease has finished is never touched by a later one.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from cortex.db.base import Access, Repository, Row, Transacts, Writes
from cortex.db.tables.jobs import JobFrameRow, JobOutputRow
from cortex.domain.money import Money
from cortex.domain.rendering.frames import FrameState, FrameStatus

_KEY = ("job_id", "frame")
_MESSAGE = 500


class FrameRepository(Repository[Access]):
    async def record(
        self: "FrameRepository[Transacts]",
        job_id: str,
        lease_key: str,
        frames: Sequence[FrameStatus],
    ) -> list[FrameStatus]:
        """Write what a lease says about its frames; returns those whose state has changed.

        The caller holds the job's lock.
        """
        known = await self._rows(job_id, [frame.frame for frame in frames])
        rows: list[dict[str, Any]] = []
        changed: list[FrameStatus] = []
        for frame in frames:
            before = known.get(frame.frame)
            row = _row(job_id, lease_key, frame, before)
            if row is None:
                continue
            rows.append(row)
            if before is None or before["state"] != row["state"]:
                changed.append(_status(row))
        if rows:
            await self._put(rows)
        return changed

    async def settle(self: "FrameRepository[Writes]", job_id: str, lease_key: str) -> int:
        """Take back what a lease did not bring: how many frames of it must be rendered anew.

        A frame counts as done only with its file in our hands.
        """
        kept = select(JobOutputRow.path).where(
            JobOutputRow.job_id == job_id, JobOutputRow.kind == "file"
        )
        lost = (JobFrameRow.state == FrameState.DONE.value) & (
            JobFrameRow.output.is_(None) | JobFrameRow.output.not_in(kept)
        )
        statement = (
            update(JobFrameRow)
            .where(
                JobFrameRow.job_id == job_id,
                JobFrameRow.lease_key == lease_key,
                lost | (JobFrameRow.state == FrameState.RENDERING.value),
            )
            .values(state=FrameState.QUEUED.value, output=None, finished_at=None)
            .returning(JobFrameRow.frame)
        )
        return len((await self.connection.execute(statement)).all())

    async def done(self, job_id: str) -> frozenset[int]:
        """The frames that are finished and kept."""
        query = select(JobFrameRow.frame).where(
            JobFrameRow.job_id == job_id, JobFrameRow.state == FrameState.DONE.value
        )
        return frozenset((await self.connection.execute(query)).scalars())

    async def counts(self, job_id: str) -> dict[FrameState, int]:
        """How many frames are known to be in each state."""
        query = (
            select(JobFrameRow.state, func.count())
            .where(JobFrameRow.job_id == job_id)
            .group_by(JobFrameRow.state)
        )
        return {FrameState(row[0]): row[1] for row in await self.connection.execute(query)}

    async def of_job(self, job_id: str) -> list[FrameStatus]:
        """All frames of a job of which something is known, in order."""
        query = (
            select(JobFrameRow.__table__)
            .where(JobFrameRow.job_id == job_id)
            .order_by(JobFrameRow.frame)
        )
        return [_status(row) for row in (await self.connection.execute(query)).mappings()]

    async def _rows(self, job_id: str, frames: Sequence[int]) -> dict[int, Row]:
        query = select(JobFrameRow.__table__).where(
            JobFrameRow.job_id == job_id, JobFrameRow.frame.in_(frames)
        )
        rows = (await self.connection.execute(query)).mappings()
        return {row["frame"]: row for row in rows}

    async def _put(self: "FrameRepository[Transacts]", rows: list[dict[str, Any]]) -> None:
        statement = insert(JobFrameRow)
        values = {name: statement.excluded[name] for name in rows[0] if name not in _KEY}
        await self.connection.execute(
            statement.on_conflict_do_update(index_elements=list(_KEY), set_=values), rows
        )


def _row(
    job_id: str, lease_key: str, frame: FrameStatus, before: Row | None
) -> dict[str, Any] | None:
    """The row to write; None if it says nothing new."""
    row: dict[str, Any] = {
        "job_id": job_id,
        "frame": frame.frame,
        "lease_key": lease_key,
        "state": frame.state.value,
        "attempts": frame.attempts,
        "earlier_attempts": 0,
        "cost": frame.cost.amount if frame.cost else None,
        "earlier_cost": None,
        "currency": frame.cost.currency if frame.cost else None,
        "seconds": frame.seconds,
        "message": frame.message[:_MESSAGE],
        "output": frame.output,
        "finished_at": frame.finished_at,
    }
    if before is None:
        return row
    if before["lease_key"] != lease_key:
        if before["state"] == FrameState.DONE.value:
            return None
        return row | _carried(row, before)
    if before["state"] == FrameState.DONE.value and frame.state is not FrameState.DONE:
        return None  # an older answer
    row["earlier_attempts"] = before["earlier_attempts"]
    row["earlier_cost"] = before["earlier_cost"]
    row["currency"] = row["currency"] or before["currency"]
    return None if all(before[name] == value for name, value in row.items()) else row


def _carried(row: dict[str, Any], before: Row) -> dict[str, Any]:
    """What a frame took in leases before this one."""
    attempts = before["earlier_attempts"] + before["attempts"]
    currency = row["currency"] or before["currency"]
    # Of another currency nothing can be added up here; the job's bill has it in any case.
    same = currency == before["currency"]
    costs = [before["earlier_cost"], before["cost"]] if same else []
    known = [amount for amount in costs if amount is not None]
    return {
        "earlier_attempts": attempts,
        "earlier_cost": sum(known, Decimal(0)) if known else None,
        "currency": currency,
    }


def _status(row: Row | dict[str, Any]) -> FrameStatus:
    amounts = [amount for amount in (row["earlier_cost"], row["cost"]) if amount is not None]
    cost = None
    if amounts and row["currency"]:
        cost = Money(amount=sum(amounts, Decimal(0)), currency=row["currency"])
    finished: datetime | None = row["finished_at"]
    return FrameStatus(
        frame=row["frame"],
        state=FrameState(row["state"]),
        attempts=row["earlier_attempts"] + row["attempts"],
        cost=cost,
        seconds=row["seconds"],
        message=row["message"],
        output=row["output"],
        finished_at=finished,
    )
