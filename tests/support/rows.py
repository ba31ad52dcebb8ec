"""Columns set at will, which no repository does: for states that tests need and Cortex avoids."""

from typing import Any

from sqlalchemy import update

from cortex.db.engine import Transaction
from cortex.db.tables.jobs import JobRow
from cortex.db.tables.leases import LeaseRow


async def set_job(tx: Transaction, job_id: str, **values: Any) -> None:
    """Write these columns of a job."""
    await tx.connection.execute(update(JobRow).where(JobRow.id == job_id).values(**values))


async def set_lease(tx: Transaction, key: str, **values: Any) -> None:
    """Write these columns of a lease."""
    await tx.connection.execute(update(LeaseRow).where(LeaseRow.key == key).values(**values))
