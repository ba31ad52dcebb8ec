"""The task queues of the providers: served while their provider is there, by one loop.

The loop takes up what changed in the database, then starts and stops what follows from it: the
worker of each queue, the monitor of each provider, and the schedules that look at it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import structlog
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import PollerBehaviorAutoscaling, Worker

from activities.runtime.boundaries import bounded_activities
from activities.runtime.fleet import Fleet
from activities.runtime.heartbeat import ActivityGuard
from cortex.db.notify import Notifier, wait_event
from cortex.db.providers import circuits
from cortex.db.providers import repository as providers
from cortex.domain.errors import CortexError, DatabaseUnavailable
from cortex.settings import Settings
from cortex.temporal.contracts import (
    MONITOR_WORKFLOW,
    TASK_QUEUE,
    MonitorInput,
    monitor_id,
    provider_queue,
)
from cortex.temporal.schedules import ensure_provider, remove_others, remove_provider

_log = structlog.get_logger(__name__)
# Notifications wake the loop; this is for what nobody notifies: leases that end, lost messages.
_AT_LEAST_EVERY = 10.0
_QUEUE_PREFIX = provider_queue("")


@dataclass
class _Served:
    """One queue with its worker."""

    worker: Worker
    task: asyncio.Task[None]
    rate_limit: float | None


class ProviderQueues:
    """Serves the queues of all providers that the settings allow."""

    def __init__(
        self,
        client: Client,
        settings: Settings,
        fleet: Fleet,
        notifier: Notifier,
        steps: Sequence[Callable[..., Any]],
    ) -> None:
        self._client = client
        self._settings = settings
        self._fleet = fleet
        self._notifier = notifier
        self._steps = steps
        self._served: dict[str, _Served] = {}
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._watched: set[str] = set()
        self._again = asyncio.Event()

    @property
    def names(self) -> tuple[str, ...]:
        """The task queues that are served now."""
        return tuple(self._served)

    async def start(self) -> None:
        """Serve the queues of all that the fleet has, watch and check them."""
        await self._apply([])
        await self._attempt("remove the schedules of providers that are gone", self._tidy)

    async def keep(self) -> None:
        """Follow the changes until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_providers())
            tasks.create_task(self._keep_circuits())

    async def aclose(self) -> None:
        """Hand over: activities that run get their time to end."""
        for name in list(self._served):
            self._stop(name)
        await asyncio.gather(*self._stopping.values(), return_exceptions=True)

    async def _keep_providers(self) -> None:
        # Read first, wait second: what changed before this listened must not be missed.
        with self._notifier.subscribe(providers.CHANNEL) as self._again:
            while True:
                try:
                    await self._apply(await self._fleet.sync())
                except DatabaseUnavailable as error:
                    _log.warning("queues.database_away", error=error.detail)
                except Exception:  # it must go on: new providers come in here
                    _log.exception("queues.bug")
                await wait_event(self._again, _AT_LEAST_EVERY)

    async def _keep_circuits(self) -> None:
        with self._notifier.subscribe(circuits.CHANNEL) as changed:
            while True:
                with contextlib.suppress(DatabaseUnavailable):
                    await self._fleet.breakers.refresh()
                await wait_event(changed, _AT_LEAST_EVERY)

    async def _apply(self, back: Sequence[str]) -> None:
        """Make it so. `back`: providers that were said to be gone, and are not."""
        served = self._fleet.served
        await self._serve(served)
        new = [name for name in served if name not in self._watched or name in back]
        old = self._watched - set(served)
        await asyncio.gather(
            *(self._attempt(f"watch {name}", self._watch, name) for name in new),
            *(self._attempt(f"unwatch {name}", self._unwatch, name) for name in old),
        )

    async def _serve(self, served: Mapping[str, float | None]) -> None:
        wanted = {
            provider_queue(name): limit
            for name, limit in served.items()
            if serves(self._settings.worker.queues, provider_queue(name))
        }
        for name, queue in list(self._served.items()):
            broken = queue.task.done()
            if broken or name not in wanted or wanted[name] != queue.rate_limit:
                self._stop(name)
        for name, limit in wanted.items():
            # Of one queue only one worker at a time: the old one is still handing over.
            if name not in self._served and name not in self._stopping:
                self._start(name, limit)

    def _start(self, name: str, rate_limit: float | None) -> None:
        worker = make_worker(
            self._client,
            self._settings,
            name,
            activities=self._steps,
            max_task_queue_activities_per_second=rate_limit,
        )
        self._served[name] = _Served(worker, asyncio.create_task(worker.run()), rate_limit)
        _log.info("queue.served", queue=name, rate_limit=rate_limit)

    def _stop(self, name: str) -> None:
        queue = self._served.pop(name)

        async def end() -> None:
            if not queue.task.done():
                await queue.worker.shutdown()
            outcome = (await asyncio.gather(queue.task, return_exceptions=True))[0]
            if isinstance(outcome, Exception):
                _log.error("queue.broke", queue=name, error=str(outcome)[:300])
            else:
                _log.info("queue.left", queue=name)

        def ended(_: asyncio.Task[None]) -> None:
            self._stopping.pop(name, None)
            self._again.set()  # it may be wanted again by now

        task = self._stopping[name] = asyncio.create_task(end())
        task.add_done_callback(ended)

    async def _watch(self, provider_id: str) -> None:
        await ensure_monitor(self._client, self._settings, provider_id)
        await ensure_provider(self._client, provider_id, self._settings)
        self._watched.add(provider_id)

    async def _unwatch(self, provider_id: str) -> None:
        """Switched off and empty, or removed: nothing is left to be watched or checked."""
        await remove_provider(self._client, provider_id)
        if provider_id not in self._fleet.ids:
            await end_monitor(self._client, provider_id)
        self._watched.discard(provider_id)

    async def _tidy(self) -> None:
        """Schedules of providers that were removed while no worker ran, or left the settings."""
        await remove_others(self._client, list(self._fleet.served))

    async def _attempt(self, what: str, work: Callable[..., Awaitable[None]], *args: str) -> None:
        """What Temporal refuses now is tried again in the next round."""
        try:
            await work(*args)
        except RPCError as error:
            _log.warning("queues.temporal", what=what, error=error.message)


def serves(patterns: Sequence[str], queue: str) -> bool:
    """Whether `worker.queues` names this queue; it may say `provider.*`. Empty: all."""
    return not patterns or any(fnmatchcase(queue, pattern) for pattern in patterns)


def check_queues(patterns: Sequence[str], known: Sequence[str]) -> None:
    """Refuse names that can never be a queue, and say which providers are not there (yet).

    Raises:
        CortexError: a name is neither `cortex` nor `provider.<id>`.
    """
    wrong = [
        name
        for name in patterns
        if name != TASK_QUEUE and not (name.startswith(_QUEUE_PREFIX) and name != _QUEUE_PREFIX)
    ]
    queues = [TASK_QUEUE, *(provider_queue(name) for name in known)]
    if wrong:
        raise CortexError(
            f"`worker.queues` names {', '.join(wrong)}; there are {', '.join(queues)}"
        )
    missing = [name for name in patterns if not any(fnmatchcase(queue, name) for queue in queues)]
    if missing:
        _log.warning("worker.queues_without_provider", queues=missing, there_are=queues)


def make_worker(
    client: Client,
    settings: Settings,
    queue: str,
    *,
    activities: Sequence[Callable[..., Any]],
    **options: Any,
) -> Worker:
    """A worker of one task queue, as the settings want it."""
    limits = settings.worker
    return Worker(
        client,
        task_queue=queue,
        activities=activities,
        interceptors=[*bounded_activities(), ActivityGuard()],
        max_concurrent_activities=limits.max_activities,
        activity_task_poller_behavior=PollerBehaviorAutoscaling(initial=2, maximum=10),
        graceful_shutdown_timeout=limits.graceful_shutdown,
        **options,
    )


async def ensure_monitor(client: Client, settings: Settings, provider_id: str) -> None:
    """The one monitor of a provider runs, whoever started it."""
    await client.start_workflow(
        MONITOR_WORKFLOW,
        MonitorInput(provider_id=provider_id, heartbeat_timeout=settings.monitor.heartbeat_timeout),
        id=monitor_id(provider_id),
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"watches all leases of {provider_id}",
    )


async def end_monitor(client: Client, provider_id: str) -> None:
    """Of a provider that is removed; harmless if there is none."""
    try:
        handle = client.get_workflow_handle(monitor_id(provider_id))
        await handle.terminate("the provider was removed")
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
