"""Runs the workflows and activities: `python -m worker`.

Serves every task queue by default, or those of `CORTEX_WORKER__QUEUES`. Also runs the relay,
which delivers commands that nobody delivered yet. Stops on SIGTERM: activities are handed over
to other workers, jobs go on.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from temporalio.client import (
    Client,
    Interceptor,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError
from temporalio.worker import PollerBehaviorAutoscaling, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.fleet import Fleet
from activities.heartbeat import ActivityGuard
from activities.leasing import LeaseActivities
from activities.logs import LogCopier
from activities.maintenance import MaintenanceActivities
from activities.market import Market
from activities.monitor import MonitorActivities
from activities.placement import PlacementActivities
from activities.settlement import SettlementActivities
from activities.track import TrackRecords
from cortex.db.commands import CHANNEL as COMMANDS_CHANNEL
from cortex.db.engine import Database
from cortex.db.events import CHANNEL as EVENTS_CHANNEL
from cortex.db.leases import CHANNEL as LEASES_CHANNEL
from cortex.db.notify import Notifier
from cortex.domain.errors import CortexError, ServiceUnavailable
from cortex.plugins.host import PluginHost
from cortex.plugins.loading import Loaded, load_plugins, strategies_of
from cortex.security.keyring import KeyRing
from cortex.settings import Settings
from cortex.telemetry.logging import configure_logging
from cortex.telemetry.tracing import configure_tracing
from cortex.temporal.client import connect, prepare_namespace
from cortex.temporal.contracts import (
    MAINTENANCE_WORKFLOW,
    MONITOR_WORKFLOW,
    TASK_QUEUE,
    MonitorInput,
    monitor_id,
    provider_queue,
)
from cortex.temporal.relay import Relay
from workflows.registry import WORKFLOWS

_log = structlog.get_logger("worker")
# Tasks of a worker that was killed wait this long before another gets them.
_STICKY_TIMEOUT = timedelta(seconds=5)
_MAINTENANCE_EVERY = timedelta(hours=1)
RUNNER = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules(
        "cortex",
        "activities",
        "providers",
        "workflows.decisions",
        "workflows.search",
        "sqlalchemy",
        "structlog",
    )
)


@dataclass
class Service:
    """Everything one worker process has open."""

    settings: Settings
    database: Database
    client: Client
    fleet: Fleet
    notifier: Notifier
    relay: Relay
    plugins: PluginHost
    workers: list[Worker]

    @classmethod
    async def open(
        cls,
        settings: Settings,
        runtime: Runtime | None = None,
        interceptors: Sequence[Interceptor] = (),
    ) -> "Service":
        """Open all of it.

        Raises:
            ServiceUnavailable: the database or Temporal is away.
        """
        client = await connect(
            settings.temporal, lazy=False, runtime=runtime, interceptors=interceptors
        )
        await prepare_namespace(client, settings.temporal.retention)
        database = Database(settings.database, application="cortex-worker")
        fleet = Fleet(settings, database)
        notifier = Notifier(settings.database, (COMMANDS_CHANNEL, LEASES_CHANNEL, EVENTS_CHANNEL))
        relay = Relay(database, client, notifier, settings.jobs)
        loaded = await asyncio.to_thread(load_plugins, settings.plugins)
        plugins = PluginHost(loaded, database, notifier, settings.plugin_delivery)
        await fleet.start()
        await notifier.start()
        workers = make_workers(settings, database, client, fleet, notifier, loaded)
        return cls(settings, database, client, fleet, notifier, relay, plugins, workers)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then hand over."""
        async with contextlib.AsyncExitStack() as stack:
            for worker in self.workers:
                await stack.enter_async_context(worker)
            await ensure_monitors(self.client, self.settings, self.fleet)
            await ensure_maintenance(self.client)
            await self.relay.start()
            await self.plugins.start()
            _log.info("worker.ready", queues=[worker.task_queue for worker in self.workers])
            beat = asyncio.create_task(_touch(self.settings.worker.health_file))
            await stop.wait()
            beat.cancel()
            await self.plugins.aclose()
            await self.relay.aclose()

    async def aclose(self) -> None:
        await self.relay.aclose()
        await self.notifier.aclose()
        await self.fleet.aclose()
        await self.database.aclose()


def make_workers(
    settings: Settings,
    database: Database,
    client: Client,
    fleet: Fleet,
    notifier: Notifier,
    plugins: Sequence[Loaded] = (),
) -> list[Worker]:
    """One worker for workflows and database steps, and one for each provider's queue."""
    copier = LogCopier(database, settings.logs)
    records = TrackRecords(database, settings.placement)
    market = Market(fleet, settings.placement, records, strategies_of(plugins))
    placement = PlacementActivities(database, fleet, settings, market)
    leasing = LeaseActivities(database, fleet, KeyRing.from_setting(settings.encryption_keys))
    settlement = SettlementActivities(database, fleet, settings, copier)
    monitor = MonitorActivities(database, fleet, client, notifier, copier, settings.monitor)
    maintenance = MaintenanceActivities(database, settings)
    core: list[Callable[..., Any]] = [
        placement.place,
        placement.quote,
        placement.finish,
        maintenance.maintain,
    ]
    steps: list[Callable[..., Any]] = [
        leasing.prepare,
        leasing.commit,
        leasing.check,
        settlement.settle,
        monitor.watch,
    ]
    queues: dict[str, tuple[list[type], list[Callable[..., Any]]]] = {
        TASK_QUEUE: (list(WORKFLOWS), core),
        **{provider_queue(provider_id): ([], steps) for provider_id in fleet.ids},
    }
    wanted = settings.worker.queues or tuple(queues)
    unknown = sorted(set(wanted) - set(queues))
    if unknown:
        raise CortexError(
            f"`worker.queues` names {', '.join(unknown)}; there are {', '.join(queues)}"
        )
    return [_worker(client, settings, name, *queues[name]) for name in wanted]


def _worker(
    client: Client,
    settings: Settings,
    queue: str,
    workflows: list[type],
    activities: list[Callable[..., Any]],
) -> Worker:
    limits = settings.worker
    return Worker(
        client,
        task_queue=queue,
        workflows=workflows,
        activities=activities,
        interceptors=[ActivityGuard()],
        workflow_runner=RUNNER,
        max_concurrent_activities=limits.max_activities,
        max_concurrent_workflow_tasks=limits.max_workflow_tasks if workflows else None,
        max_cached_workflows=limits.cached_workflows if workflows else 0,
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(initial=2, maximum=10),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(initial=2, maximum=10),
        sticky_queue_schedule_to_start_timeout=_STICKY_TIMEOUT,
        graceful_shutdown_timeout=limits.graceful_shutdown,
    )


async def ensure_monitors(client: Client, settings: Settings, fleet: Fleet) -> None:
    """One monitor per provider runs, whoever started it."""
    for provider_id in fleet.ids:
        await client.start_workflow(
            MONITOR_WORKFLOW,
            MonitorInput(
                provider_id=provider_id, heartbeat_timeout=settings.monitor.heartbeat_timeout
            ),
            id=monitor_id(provider_id),
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=f"watches all leases of {provider_id}",
        )


async def ensure_maintenance(client: Client) -> None:
    """The housekeeping schedule exists and is as this version wants it."""
    wanted = Schedule(
        action=ScheduleActionStartWorkflow(
            MAINTENANCE_WORKFLOW, id="maintenance", task_queue=TASK_QUEUE
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=_MAINTENANCE_EVERY)]),
        policy=SchedulePolicy(catchup_window=_MAINTENANCE_EVERY),
    )
    try:
        await client.create_schedule("maintenance", wanted)
    except ScheduleAlreadyRunningError:

        async def update(now: ScheduleUpdateInput) -> ScheduleUpdate:
            wanted.state = now.description.schedule.state  # keep an operator's pause
            return ScheduleUpdate(schedule=wanted)

        await client.get_schedule_handle("maintenance").update(update)


async def patiently(what: Callable[[], Awaitable[Service]], stop: asyncio.Event) -> Service | None:
    """Open the service; while something it needs is away, say so and try again."""
    wait = 0.5
    while not stop.is_set():
        try:
            return await what()
        except (ServiceUnavailable, RPCError) as error:
            _log.warning("worker.waiting", why=str(error), again_in=wait)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait)
        wait = min(wait * 2, 5.0)
    return None


async def main_async(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runtime = _runtime(settings)
    tracing = configure_tracing(settings.telemetry, "cortex-worker")
    service = await patiently(lambda: Service.open(settings, runtime, tracing), stop)
    if service is None:
        return
    try:
        await service.run(stop)
    finally:
        await service.aclose()
    _log.info("worker.stopped")


def _runtime(settings: Settings) -> Runtime | None:
    port = settings.telemetry.metrics_port
    if port is None:
        return None
    metrics = PrometheusConfig(
        bind_address=f"{settings.api.host}:{port}",
        durations_as_seconds=True,
        counters_total_suffix=True,
        unit_suffix=True,
    )
    return Runtime(telemetry=TelemetryConfig(metrics=metrics))


async def _touch(health_file: Path | None) -> None:
    while health_file is not None:
        await asyncio.to_thread(health_file.touch)
        await asyncio.sleep(5)


def main() -> None:
    settings = Settings()
    configure_logging(settings.telemetry)
    try:
        asyncio.run(main_async(settings))
    except CortexError as error:
        sys.exit(f"the worker cannot start: {error.detail}")


if __name__ == "__main__":
    main()
