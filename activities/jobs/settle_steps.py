"""The calls of a settlement at the network: written down for the explorer, and open to decisions.

Between two calls, a decision that somebody made by hand goes first.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Final

from activities.runtime.heartbeat import doing
from cortex.db.engine import Database
from cortex.domain.errors import DatabaseUnavailable
from cortex.domain.leases import Lease, SettleStep
from cortex.domain.trace.resolution import Resolution, resolution_of

# A settlement that goes quickly needs no second look at the database.
_LOOK_EVERY: Final = 2.0
_MAX_ERROR: Final = 500


class DecidedByHand(Exception):
    """Somebody ended the waiting for the network."""

    def __init__(self, resolution: Resolution) -> None:
        super().__init__(resolution.told())
        self.resolution = resolution


class SettleSteps:
    """Of one try to settle a lease; goes on where earlier tries got to."""

    def __init__(self, database: Database, lease: Lease) -> None:
        self._database = database
        self._lease = lease
        self._looked: float | None = None
        self._steps = {step.step: step for step in lease.settle_steps}

    @property
    def all(self) -> tuple[SettleStep, ...]:
        """In the order in which they were begun."""
        return tuple(self._steps.values())

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[None]:
        """Around one call.

        Raises:
            DecidedByHand: before the call, if somebody ended the waiting meanwhile.
        """
        await self._obey()
        before = self._steps.pop(name, None)  # so that it stands last: that is what happens now
        now = datetime.now(UTC)
        entry = SettleStep(
            step=name,
            started_at=before.started_at if before else now,
            tries=before.tries + 1 if before else 1,
        )
        self._steps[name] = entry
        try:
            with doing(name):
                yield
        except Exception as error:
            await self._failed(entry, error)
            raise
        self._steps[name] = entry.model_copy(update={"ended_at": datetime.now(UTC)})

    async def _failed(self, entry: SettleStep, error: Exception) -> None:
        text = str(error) or type(error).__name__
        self._steps[entry.step] = entry.model_copy(
            update={"ended_at": datetime.now(UTC), "error": text[:_MAX_ERROR]}
        )
        with suppress(DatabaseUnavailable):  # it is for show: the error itself goes on its way
            async with self._database.statement() as tx:
                steps = [each.model_dump(mode="json") for each in self.all]
                await tx.leases.note_steps(self._lease.key, steps)

    async def _obey(self) -> None:
        # At the begin of a try the lease is as new as can be.
        if self._looked is None:
            resolution = resolution_of(self._lease)
        elif time.monotonic() - self._looked < _LOOK_EVERY:
            return
        else:
            async with self._database.reading() as tx:
                resolution = resolution_of(await tx.leases.get(self._lease.key))
        self._looked = time.monotonic()
        if resolution is not None and resolution.ends:
            raise DecidedByHand(resolution)
