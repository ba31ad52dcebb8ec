"""Losing sight of jobs: a network that is silent, or says nothing of one of its leases.

That is a flag beside the job's state, never a state: as far as anybody knows the job runs on. It
is written down and told once, and once more when the network says something again.
"""

import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from activities.trouble import trouble
from cortex.db.engine import Database
from cortex.domain.events import EventType
from cortex.domain.leases import Lease
from cortex.domain.units import format_duration
from cortex.settings import MonitorSettings

_THEN = (
    "as far as Cortex knows the job runs on there; Cortex keeps asking, and the job's deadline "
    "holds"
)


class LeaseSightings:
    """What the monitor of one provider sees of its leases."""

    def __init__(self, database: Database, provider_id: str, settings: MonitorSettings) -> None:
        self._database = database
        self._provider_id = provider_id
        self._patience = settings.tell_after.total_seconds()
        self._seen_at: dict[str, float] = {}
        self._unnamed: dict[str, Lease] = {}

    def begin(self, live: Sequence[Lease]) -> None:
        """The network is asked for these leases."""
        # Of a lease that is new here, the time counts from now on.
        now = time.monotonic()
        before = self._seen_at
        self._seen_at = {lease.key: before.get(lease.key, now) for lease in live}
        self._unnamed = {lease.key: lease for lease in live}

    async def seen(self, keys: Collection[str]) -> None:
        """It said something of these."""
        now = time.monotonic()
        for key in keys:
            lease = self._unnamed.pop(key, None)
            if lease is not None:
                self._seen_at[key] = now
                await self._regained(lease)

    async def end(self, why: str = "") -> None:
        """It has been asked for everything; `why` says what it failed with, if it did."""
        what = f"does not answer: {why}" if why else "says nothing of the job's lease"
        for lease in self._unnamed.values():
            await self._missed(lease, f"`{self._provider_id}` {what}")

    async def _missed(self, lease: Lease, why: str) -> None:
        dark = time.monotonic() - self._seen_at[lease.key]
        if lease.unknown_since is not None or dark < self._patience:
            return
        since = datetime.now(UTC) - timedelta(seconds=dark)
        async with self._database.transaction() as tx:
            await tx.jobs.lock(lease.job_id)
            if not await tx.leases.lose_sight(lease.key, since, why):
                return
            data = {
                "lease": lease.key,
                "provider": lease.provider_id,
                "since": since.isoformat(),
                "message": why[:600],
                "next": _THEN,
            }
            await tx.events.add(EventType.JOB_UNKNOWN, lease.job_id, job_id=lease.job_id, data=data)
            await trouble(tx, lease.job_id, why, _THEN, lease.provider_id)

    async def _regained(self, lease: Lease) -> None:
        if lease.unknown_since is None:
            return
        dark = format_duration(timedelta(seconds=round(_age(lease.unknown_since))))
        what = f"`{self._provider_id}` answers again"
        then = "Cortex watches the job as before"
        async with self._database.transaction() as tx:
            await tx.jobs.lock(lease.job_id)
            if not await tx.leases.regain_sight(lease.key):
                return
            data = {
                "lease": lease.key,
                "provider": lease.provider_id,
                "message": f"{what}, after {dark}",
                "next": then,
            }
            await tx.events.add(EventType.JOB_KNOWN, lease.job_id, job_id=lease.job_id, data=data)
            await trouble(tx, lease.job_id, what, then, lease.provider_id)


def _age(time_: datetime) -> float:
    return max(0.0, (datetime.now(UTC) - time_).total_seconds())
