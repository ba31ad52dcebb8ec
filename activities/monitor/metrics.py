"""What running jobs take of their machines: asked in rounds, in a loop of its own.

It goes beside the monitor's passes, so that a network which hangs here keeps nobody waiting there,
and the other way round. A round asks and writes a bounded number of leases, whatever runs.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlalchemy.exc import IntegrityError

from cortex.db.engine import Database
from cortex.db.jobs.metrics import Attempt
from cortex.db.partitions import ensure_partitions
from cortex.domain.errors import DatabaseUnavailable
from cortex.domain.leases import Lease, LeaseRef
from cortex.domain.metrics import Measured, Progress, Sample, measured, tells_nothing_new
from cortex.domain.states import LeaseState, RunState
from cortex.settings import JobSettings
from cortex.tasks import end_task
from providers.registry import AnyProvider

_log = structlog.get_logger(__name__)
_MOST: Final = 1000
"""Leases of one round; with more, those wait for the next that were measured last."""
_PART: Final = 200
"""Leases of one call of a provider, which bounds what it asks at once."""
_PATIENCE: Final = 20.0
_SHORTEST: Final = 0.05
_OFF: Final = 5.0
"""Seconds after which it is looked whether sampling was switched on."""


class Sampler:
    """Measures the running leases of one provider."""

    def __init__(self, database: Database, settings: JobSettings) -> None:
        self._database = database
        self._settings = settings
        self._provider: AnyProvider | None = None
        self._running: dict[str, Lease] = {}
        self._last: dict[str, Progress] = {}
        self._asked: dict[str, float] = {}
        self._loop: asyncio.Task[None] | None = None

    def watch(self, provider: AnyProvider, live: Iterable[Lease]) -> None:
        """From now on it is these leases that are measured."""
        self._provider = provider
        self._running = {lease.key: lease for lease in live if _runs(lease)}
        if self._loop is None and self._running and provider.capabilities().metrics:
            self._loop = asyncio.create_task(self._sample())

    async def aclose(self) -> None:
        """End the loop, with the round that is under way."""
        if self._loop is not None:
            await end_task(self._loop)

    async def _sample(self) -> None:
        while True:
            every = self._settings.metrics_interval.total_seconds()
            began = time.monotonic()
            if every:
                try:
                    await self._round()
                except DatabaseUnavailable as error:
                    _log.warning("metrics.database_away", error=error.detail)
                except Exception:  # it must go on, and nothing else waits for it
                    _log.exception("metrics.bug")
            left = every - (time.monotonic() - began) if every else _OFF
            await asyncio.sleep(max(_SHORTEST, left))

    async def _round(self) -> None:
        provider, running = self._provider, self._running
        if provider is None or not provider.capabilities().metrics:
            return
        for kept in (self._last, self._asked):
            for key in [key for key in kept if key not in running]:
                del kept[key]
        due = sorted(running, key=lambda key: self._asked.get(key, 0.0))[:_MOST]
        await self._recall([running[key] for key in due])
        rows: list[tuple[Attempt, Measured]] = []
        for start in range(0, len(due), _PART):
            part = due[start : start + _PART]
            self._asked |= dict.fromkeys(part, time.monotonic())
            samples = await self._ask(provider, [running[key] for key in part])
            if samples is None:
                break
            rows += self._measured(samples, running)
        if rows:
            await self._store(rows)

    async def _ask(self, provider: AnyProvider, leases: Sequence[Lease]) -> list[Sample] | None:
        """What the network says; None if it does not answer, and is left alone for now."""
        refs: list[LeaseRef] = [lease.ref for lease in leases if lease.ref is not None]
        try:
            async with asyncio.timeout(_PATIENCE):
                return await provider.metrics(refs)
        except Exception as error:  # whatever it is: there are no figures, and nothing else is lost
            why = str(error)[:300] or type(error).__name__
            _log.info("metrics.not_told", provider=provider.id, error=why)
            return None

    def _measured(
        self, samples: Sequence[Sample], running: dict[str, Lease]
    ) -> list[tuple[Attempt, Measured]]:
        now, clock = datetime.now(UTC), time.monotonic()
        rows: list[tuple[Attempt, Measured]] = []
        for sample in samples:
            lease, before = running.get(sample.key), self._last.get(sample.key)
            if lease is None or tells_nothing_new(sample, before):
                continue
            row = measured(sample, before, now=now, clock=clock)
            self._last[sample.key] = row.progress
            rows.append((_attempt(lease), row))
        return rows

    async def _recall(self, leases: Sequence[Lease]) -> None:
        """Go on from what another process has measured; else from the lease's start."""
        unknown = [lease for lease in leases if lease.key not in self._last]
        if not unknown:
            return
        async with self._database.reading() as tx:
            known = await tx.metrics.last([_attempt(lease) for lease in unknown])
        for lease in unknown:
            progress = known.get(_attempt(lease))
            if progress is None and lease.started_at is not None:
                progress = Progress(at=lease.started_at, cpu_seconds=0.0, counter=0.0)
            if progress is not None:
                self._last[lease.key] = progress

    async def _store(self, rows: Sequence[tuple[Attempt, Measured]]) -> None:
        """In one statement."""
        try:
            async with self._database.statement() as tx:
                await tx.metrics.add(rows)
        except IntegrityError:  # housekeeping has not run for days
            with contextlib.suppress(IntegrityError):
                async with self._database.transaction() as tx:
                    await ensure_partitions(tx.connection, datetime.now(UTC))


def _runs(lease: Lease) -> bool:
    return (
        lease.state is LeaseState.ACTIVE
        and lease.ref is not None
        and lease.run_state is RunState.RUNNING
    )


def _attempt(lease: Lease) -> Attempt:
    return lease.job_id, lease.attempt
