"""The one watcher of a provider: reads its live leases, asks the network, tells the workflows.

Nothing is kept in memory that matters: the database is the registry, so a monitor that dies is
simply started again elsewhere. A change is recorded first and signalled second; a signal that
got lost is repeated at the next pass.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import WatchInput
from activities.monitor.logs import Audience, LogCopier
from activities.monitor.metrics import Sampler
from activities.monitor.recording import change_of, record
from activities.monitor.silence import LeaseSightings
from activities.monitor.usage import Meter
from activities.runtime.errors import relentless
from activities.runtime.fleet import Fleet
from cortex.db.engine import Database
from cortex.db.jobs.leases import CHANNEL as LEASES_CHANNEL
from cortex.db.jobs.logs import LOOKED_AT
from cortex.db.notify import Notifier
from cortex.domain.errors import DatabaseUnavailable
from cortex.domain.failures import FailureType
from cortex.domain.leases import Lease, LeaseSnapshot
from cortex.domain.states import LeaseState, RunState
from cortex.settings import JobSettings, MonitorSettings
from cortex.tasks import end_tasks
from cortex.temporal.contracts import SIGNAL_LEASE_CHANGED
from providers.base import looked_at
from providers.errors import ProviderError
from providers.registry import AnyProvider

_log = structlog.get_logger(__name__)
# A fresh activity every hour keeps timeouts meaningful and lets workers be replaced.
_SHIFT = timedelta(hours=1)
_FASTEST = 0.05
_SIGNAL_TIMEOUT = timedelta(seconds=3)
_FOLLOW_AGAIN = 5.0
# Heartbeats go on while a call hangs, so nothing else would end it.
_PATIENCE = 60.0


class MonitorActivities:
    def __init__(
        self,
        database: Database,
        fleet: Fleet,
        client: Client,
        notifier: Notifier,
        copier: LogCopier,
        settings: MonitorSettings,
        jobs: JobSettings,
        usage_every: timedelta = timedelta(minutes=1),
    ) -> None:
        self._jobs = jobs
        self._usage_every = usage_every
        self._database = database
        self._fleet = fleet
        self._client = client
        self._notifier = notifier
        self._copier = copier
        self._settings = settings

    @relentless
    async def watch(self, watched: WatchInput) -> None:
        """Watch all live leases of a provider for one shift."""
        shift = _Shift(self, watched.provider_id)
        try:
            await shift.work(_SHIFT)
        finally:
            await shift.end()

    async def tell(self, lease: Lease) -> None:
        """Tell the workflow the recorded change of its lease."""
        change = change_of(lease)
        if change is None:
            return
        handle = self._client.get_workflow_handle(lease.job_id)
        try:
            await handle.signal(SIGNAL_LEASE_CHANGED, change, rpc_timeout=_SIGNAL_TIMEOUT)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:  # closed: nobody is left to be told
                _log.warning("monitor.signal_failed", lease=lease.key, error=error.message)
                return
        async with self._database.transaction() as tx:
            await tx.leases.signalled(lease.key, lease.version)


class _Shift:
    """One run of the `watch` activity."""

    def __init__(self, owner: MonitorActivities, provider_id: str) -> None:
        self._o = owner
        self._provider_id = provider_id
        self._follows: dict[str, asyncio.Task[None]] = {}
        self._follow_after: dict[str, float] = {}
        self._frames: dict[str, int] = {}
        self._meter = Meter(owner._database, owner._usage_every)
        self._sampler = Sampler(owner._database, owner._jobs)
        self._sightings = LeaseSightings(owner._database, provider_id, owner._settings)
        self._down = asyncio.create_task(activity.wait_for_worker_shutdown())

    async def work(self, length: timedelta) -> None:
        until = time.monotonic() + length.total_seconds()
        with self._o._notifier.subscribe(LEASES_CHANNEL, self._provider_id) as woken:
            while time.monotonic() < until:
                started = time.monotonic()
                watched = await self._pass()
                activity.heartbeat(watched)
                # Many changes in a row are taken together.
                await asyncio.sleep(max(0.0, _FASTEST - (time.monotonic() - started)))
                await self._rest(woken)
                if self._down.done():
                    raise ApplicationError(
                        "the worker shuts down; another takes over",
                        type=FailureType.HAND_OVER.value,
                        next_retry_delay=timedelta(milliseconds=1),
                        category=ApplicationErrorCategory.BENIGN,
                    )

    async def end(self) -> None:
        await self._meter.aclose()
        await self._sampler.aclose()
        await end_tasks((self._down, *self._follows.values()))

    async def _pass(self) -> int:
        try:
            async with self._o._database.reading() as tx:
                leases = await tx.leases.watched(self._provider_id)
            live = [lease for lease in leases if lease.state == LeaseState.ACTIVE and lease.ref]
            self._sightings.begin(live)
            provider = self._o._fleet.get(self._provider_id)
            changed = await self._ask(provider, live)
            untold = [lease for lease in leases if lease.signalled_version < lease.version]
            told = {lease.key for lease in changed}
            await self._tell([*changed, *(lease for lease in untold if lease.key not in told)])
            self._copy_logs(provider, live)
            self._meter.tick(provider, live)
            self._sampler.watch(provider, live)
            async with asyncio.timeout(_PATIENCE):
                await provider.tend([lease.ref for lease in live if lease.ref])
            await self._sightings.end()
            return len(live)
        except (ProviderError, DatabaseUnavailable, TimeoutError) as error:
            why = str(error) or f"no answer within {_PATIENCE:g} s"
            if isinstance(error, TimeoutError) and not str(error):  # ours, which no call saw
                await self._o._fleet.timed_out(self._provider_id, why)
            _log.warning("monitor.pass_failed", provider=self._provider_id, error=why)
            if not isinstance(error, DatabaseUnavailable):
                with contextlib.suppress(DatabaseUnavailable):
                    await self._sightings.end(why)
            await asyncio.sleep(1)
            return 0

    async def _ask(self, provider: AnyProvider, live: Sequence[Lease]) -> list[Lease]:
        refs = [lease.ref for lease in live if lease.ref is not None]
        async with asyncio.timeout(_PATIENCE):
            snapshots = await provider.statuses(refs) if refs else []
        by_key = {lease.key: lease for lease in live}
        snapshots = await _confirmed(provider, by_key, snapshots)
        await self._sightings.seen({snapshot.key for snapshot in snapshots})
        self._frames = {key: seen for key, seen in self._frames.items() if key in by_key}
        changed: list[Lease] = []
        for snapshot in snapshots:
            known = by_key.get(snapshot.key)
            if known is None or self._tells_nothing_new(known, snapshot):
                continue
            try:
                lease = await self._record(known, snapshot)
            except DatabaseUnavailable:
                raise
            except Exception:  # one lease that cannot be recorded must not hide the others
                _log.exception("monitor.record_failed", lease=known.key)
                continue
            if snapshot.frames:
                self._frames[snapshot.key] = hash(snapshot.frames)
            if lease.signalled_version < lease.version:
                changed.append(lease)
        return changed

    def _tells_nothing_new(self, known: Lease, snapshot: LeaseSnapshot) -> bool:
        # A thousand frames are compared here, and written only when one of them has changed.
        if snapshot.frames and self._frames.get(snapshot.key) != hash(snapshot.frames):
            return False
        return known.run_state == snapshot.state and known.message == snapshot.message[:1000]

    async def _record(self, known: Lease, snapshot: LeaseSnapshot) -> Lease:
        async with self._o._database.transaction() as tx:
            await tx.jobs.lock(known.job_id)
            return await record(tx, await tx.leases.get(known.key), snapshot)

    async def _tell(self, leases: Sequence[Lease]) -> None:
        for start in range(0, len(leases), 20):
            part = leases[start : start + 20]
            await asyncio.gather(*(self._o.tell(lease) for lease in part))

    def _copy_logs(self, provider: AnyProvider, live: Sequence[Lease]) -> None:
        if not provider.capabilities().logs:
            return
        keys = {lease.key for lease in live}
        now = time.monotonic()
        for key in [key for key, task in self._follows.items() if task.done()]:
            # The stream may have broken off: follow again, but not in a tight loop.
            self._follows.pop(key)
            self._follow_after[key] = now + _FOLLOW_AGAIN
        for key in [key for key in self._follow_after if key not in keys]:
            self._follow_after.pop(key)
        for lease in live:
            if len(self._follows) >= self._o._settings.max_follows:
                return  # the rest is copied when it ends
            if lease.key in self._follows or self._follow_after.get(lease.key, 0) > now:
                continue
            if lease.ref is not None:
                task = asyncio.create_task(self._follow(provider, lease))
                self._follows[lease.key] = task

    async def _follow(self, provider: AnyProvider, lease: Lease) -> None:
        if lease.ref is None:
            return
        try:
            with self._o._notifier.subscribe(LOOKED_AT, lease.job_id) as looks:
                looked_at.set(Audience(looks))
                await self._o._copier.follow(provider, lease.key, lease.ref)
        except (ProviderError, DatabaseUnavailable) as error:
            _log.info("logs.broke_off", lease=lease.key, error=str(error))
        except Exception:
            _log.exception("logs.bug", lease=lease.key)

    async def _rest(self, woken: asyncio.Event) -> None:
        """Until something may have changed, or it is time to poll or to heartbeat."""
        beat = self._o._settings.heartbeat_timeout / 3
        try:
            provider = self._o._fleet.get(self._provider_id)
            timeout = min(provider.capabilities().poll_interval, beat)
            change = asyncio.create_task(provider.wait_for_change(timeout))
        except ProviderError:
            change = asyncio.create_task(asyncio.sleep(1))
        wake = asyncio.create_task(woken.wait())
        try:
            await asyncio.wait(
                {change, wake, self._down},
                timeout=beat.total_seconds(),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            await end_tasks((change, wake))
        woken.clear()
        failure = None if change.cancelled() else change.exception()
        if failure is not None:
            _log.warning("monitor.push_failed", provider=self._provider_id, error=str(failure))
            await asyncio.sleep(1)


async def _confirmed(
    provider: AnyProvider, live: Mapping[str, Lease], snapshots: Sequence[LeaseSnapshot]
) -> list[LeaseSnapshot]:
    """What is said to be lost is asked for once more, alone: a list may be old or incomplete.

    Whatever cannot be confirmed now is left out.
    """
    sure: list[LeaseSnapshot] = []
    for snapshot in snapshots:
        lease = live.get(snapshot.key)
        if snapshot.state is not RunState.LOST or lease is None or lease.ref is None:
            sure.append(snapshot)
            continue
        try:
            async with asyncio.timeout(_PATIENCE):
                sure.append(await provider.status(lease.ref))
        except (ProviderError, TimeoutError) as error:
            _log.info("monitor.unconfirmed", lease=snapshot.key, error=str(error))
    return sure
