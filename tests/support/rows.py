"""Rows as only tests read and write them.

Columns set at will, which no repository does: for states that tests need and Cortex avoids.
"""

from typing import Any

from sqlalchemy import select, update

from cortex.db.engine import Reading, Transaction
from cortex.db.tables.jobs import JobRow, JobStatusRow
from cortex.db.tables.leases import LeaseRow
from cortex.db.tables.money import LedgerRow
from cortex.domain.money.ledger import EntryKind
from cortex.domain.states import JobState


async def set_job(tx: Transaction, job_id: str, **values: Any) -> None:
    """Write these columns of a job."""
    await tx.connection.execute(update(JobRow).where(JobRow.id == job_id).values(**values))


async def set_lease(tx: Transaction, key: str, **values: Any) -> None:
    """Write these columns of a lease."""
    await tx.connection.execute(update(LeaseRow).where(LeaseRow.key == key).values(**values))


async def job_states(tx: Reading | Transaction, job_id: str) -> list[JobState]:
    """Every state that a job was in, oldest first."""
    query = (
        select(JobStatusRow.state).where(JobStatusRow.job_id == job_id).order_by(JobStatusRow.id)
    )
    return [JobState(state) for state in (await tx.connection.execute(query)).scalars()]


async def open_holds(tx: Reading | Transaction) -> list[str]:
    """Lease keys with a hold that nothing has closed yet."""
    closed = select(LedgerRow.lease_key).where(LedgerRow.kind == EntryKind.RELEASE.value)
    query = (
        select(LedgerRow.lease_key)
        .where(LedgerRow.kind == EntryKind.HOLD.value, LedgerRow.lease_key.not_in(closed))
        .distinct()
    )
    return list((await tx.connection.execute(query)).scalars())
