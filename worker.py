"""Runs the workflows and activities: `python -m worker`.

Serves every task queue by default, or those of `CORTEX_WORKER__QUEUES`; providers that are added
while it runs are taken up (`activities.runtime.queues`). Also runs the relay, which delivers
commands that nobody delivered yet. Stops on SIGTERM: activities are handed over to other workers,
jobs go on.
"""

import cortex.telemetry.structlog_alone  # noqa: F401  # the first of all

# isort: split
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
from temporalio.client import Client, Interceptor
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker

from activities.budgets import BudgetActivities
from activities.groups import GroupActivities
from activities.jobs.deadlines import DeadlineActivities
from activities.jobs.inputs import InputStore
from activities.jobs.leasing import LeaseActivities
from activities.jobs.market import Market
from activities.jobs.placement import PlacementActivities
from activities.jobs.settlement import SettlementActivities
from activities.jobs.track import TrackRecords
from activities.maintenance import MaintenanceActivities
from activities.monitor.logs import LogCopier
from activities.monitor.watch import MonitorActivities
from activities.providers.drafts import DraftActivities
from activities.providers.health import HealthActivities
from activities.providers.inspection import InspectActivities
from activities.reconcile.rescue import RescueActivities
from activities.reconcile.run import ReconcileActivities
from activities.runtime.builder import Builder
from activities.runtime.fleet import Fleet
from activities.runtime.queues import ProviderQueues, check_queues, make_worker, serves
from activities.schedules import ScheduleActivities
from cortex import faultpoints, garbage
from cortex.db.engine import Database
from cortex.db.jobs.leases import CHANNEL as LEASES_CHANNEL
from cortex.db.jobs.logs import LOOKED_AT
from cortex.db.messages import CHANNEL as MESSAGES_CHANNEL
from cortex.db.notify import Notifier
from cortex.db.outbox.commands import CHANNEL as COMMANDS_CHANNEL
from cortex.db.outbox.events import CHANNEL as EVENTS_CHANNEL
from cortex.db.providers.circuits import CHANNEL as CIRCUITS_CHANNEL
from cortex.db.providers.repository import CHANNEL as PROVIDERS_CHANNEL
from cortex.db.runtime_settings import CHANNEL as SETTINGS_CHANNEL
from cortex.db.webhooks.repository import CHANNEL as WEBHOOKS_CHANNEL
from cortex.domain.errors import CortexError, ServiceUnavailable
from cortex.loops import loop_factory
from cortex.notices.host import NoticeHost
from cortex.plugins.host import PluginHost
from cortex.plugins.loading import Loaded, load_plugins, strategies_of
from cortex.runtime_settings import RuntimeSettings, SettingsFollower
from cortex.security.keyring import KeyRing
from cortex.security.kms import with_open_keys
from cortex.settings import Settings, read_settings
from cortex.telemetry.logging import configure_logging
from cortex.telemetry.tracing import configure_tracing
from cortex.temporal.client import connect, prepare_namespace
from cortex.temporal.contracts import TASK_QUEUE
from cortex.temporal.outbox.relay import Relay
from cortex.temporal.schedules import ensure_books, ensure_budgets, ensure_maintenance
from cortex.webhooks.host import WebhookHost
from workflows.registry import WORKFLOWS

_log = structlog.get_logger("worker")
# Tasks of a worker that was killed wait this long before another gets them.
_STICKY_TIMEOUT = timedelta(seconds=5)
_CHANNELS = (
    COMMANDS_CHANNEL,
    LEASES_CHANNEL,
    PROVIDERS_CHANNEL,
    CIRCUITS_CHANNEL,
    LOOKED_AT,
    WEBHOOKS_CHANNEL,
    MESSAGES_CHANNEL,
    SETTINGS_CHANNEL,
)


@dataclass
class Service:
    """Everything one worker process has open."""

    settings: Settings
    database: Database
    client: Client
    fleet: Fleet
    notifier: Notifier
    follower: SettingsFollower
    relay: Relay
    plugins: PluginHost
    webhooks: WebhookHost
    notices: NoticeHost
    core: Worker | None
    queues: ProviderQueues

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
            CortexError: the settings are not valid.
        """
        check_queues(settings.worker.queues, list(settings.providers))
        client = await connect(
            settings.temporal,
            KeyRing.from_setting(settings.encryption_keys),
            lazy=False,
            runtime=runtime,
            interceptors=interceptors,
        )
        await prepare_namespace(client, settings.temporal.retention)
        database = Database(settings.database, application="cortex-worker")
        fleet = Fleet(settings, database)
        loaded = await asyncio.to_thread(load_plugins, settings.plugin_sections())
        # Of events only plugins are told here; a job has ten of them.
        events = (EVENTS_CHANNEL,) if loaded else ()
        notifier = Notifier(settings.database, (*_CHANNELS, *events))
        relay = Relay(database, client, notifier, settings.jobs)
        plugins = PluginHost(loaded, database, notifier, settings.plugin_delivery)
        webhooks = WebhookHost(database, notifier, settings)
        notices = NoticeHost(database, notifier, settings)
        await fleet.start()
        follower = SettingsFollower(database, notifier, RuntimeSettings(settings))
        await notifier.start()
        await follower.start()
        offered, steps = make_activities(settings, database, client, fleet, notifier, loaded)
        served = serves(settings.worker.queues, TASK_QUEUE)
        core = core_worker(client, settings, offered) if served else None
        queues = ProviderQueues(client, settings, fleet, notifier, steps)
        return cls(
            settings,
            database,
            client,
            fleet,
            notifier,
            follower,
            relay,
            plugins,
            webhooks,
            notices,
            core,
            queues,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then hand over."""
        async with contextlib.AsyncExitStack() as stack:
            if self.core is not None:
                await stack.enter_async_context(self.core)
            stack.push_async_callback(self.queues.aclose)
            await self.queues.start()
            await ensure_maintenance(self.client)
            await ensure_budgets(self.client, self.settings.budgets)
            await ensure_books(self.client, self.settings.reconcile)
            await self.relay.start()
            await self.plugins.start()
            await self.webhooks.start()
            await self.notices.start()
            own = () if self.core is None else (TASK_QUEUE,)
            _log.info("worker.ready", queues=[*own, *self.queues.names])
            tasks = [
                asyncio.create_task(self.queues.keep(), name="queues"),
                asyncio.create_task(_touch(self.settings.worker.health_file)),
            ]
            await stop.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.notices.aclose()
            await self.webhooks.aclose()
            await self.plugins.aclose()
            await self.relay.aclose()

    async def aclose(self) -> None:
        await self.relay.aclose()
        await self.follower.aclose()
        await self.notifier.aclose()
        await self.fleet.aclose()
        await self.database.aclose()


def make_activities(
    settings: Settings,
    database: Database,
    client: Client,
    fleet: Fleet,
    notifier: Notifier,
    plugins: Sequence[Loaded] = (),
) -> tuple[list[Callable[..., Any]], list[Callable[..., Any]]]:
    """What the queue `cortex` offers, and what every provider's queue offers."""
    copier = LogCopier(database, settings.logs)
    records = TrackRecords(database, settings.placement)
    market = Market(fleet, settings.placement, records, strategies_of(plugins))
    placement = PlacementActivities(database, fleet, settings, market)
    leasing = LeaseActivities(
        database,
        fleet,
        KeyRing.from_setting(settings.encryption_keys),
        InputStore(settings.outputs_dir, settings.disk.keep_free),
    )
    settlement = SettlementActivities(database, fleet, settings, copier)
    monitor = MonitorActivities(
        database,
        fleet,
        client,
        notifier,
        copier,
        settings.monitor,
        settings.jobs,
        settings.budgets.usage_every,
    )
    maintenance = MaintenanceActivities(database, settings, client)
    deadlines = DeadlineActivities(database, settings)
    groups = GroupActivities(database)
    health = HealthActivities(fleet, fleet.checkup)
    drafts = DraftActivities(database, settings, Builder(settings))
    inspecting = InspectActivities(database, fleet)
    budgets = BudgetActivities(database)
    reconcile = ReconcileActivities(database, fleet, client, settings)
    rescue = RescueActivities(database, client)
    schedules = ScheduleActivities(settings, database, client)
    core: list[Callable[..., Any]] = [
        placement.place,
        placement.quote,
        placement.finish,
        deadlines.warn,
        groups.advance,
        groups.verdict,
        groups.wake_group,
        maintenance.maintain,
        drafts.check_draft,
        budgets.check_budgets,
        schedules.fire,
        reconcile.reconcile_books,
        rescue.plan_rescue,
    ]
    steps: list[Callable[..., Any]] = [
        leasing.acquire,
        leasing.prepare,
        leasing.commit,
        leasing.check,
        settlement.settle,
        monitor.watch,
        health.check_health,
        reconcile.reconcile_provider,
        inspecting.inspect_provider,
    ]
    return core, steps


def core_worker(
    client: Client, settings: Settings, activities: Sequence[Callable[..., Any]]
) -> Worker:
    """The worker of the queue `cortex`: workflows, and the steps that need no network."""
    limits = settings.worker
    return make_worker(
        client,
        settings,
        TASK_QUEUE,
        activities=activities,
        workflows=WORKFLOWS,
        # The tests run them in the sandbox: docs/decisions/workflow-sandbox.md.
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=limits.max_workflow_tasks,
        max_cached_workflows=limits.cached_workflows,
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(initial=2, maximum=10),
        sticky_queue_schedule_to_start_timeout=_STICKY_TIMEOUT,
    )


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
    garbage.freeze()
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
    faultpoints.arm()
    try:
        settings = read_settings()
        configure_logging(settings.telemetry)
        settings = with_open_keys(settings)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(main_async(settings))
    except CortexError as error:
        sys.exit(f"the worker cannot start: {error.detail}")


if __name__ == "__main__":
    main()
