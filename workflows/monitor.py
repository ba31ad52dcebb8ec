"""The one watcher per provider: a single long, heartbeating activity.

What it does is in docs/architecture/watching.md.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.contracts import WatchInput
    from activities.monitor.watch import MonitorActivities
    from cortex.temporal.contracts import MONITOR_WORKFLOW, MonitorInput, provider_queue


@workflow.defn(name=MONITOR_WORKFLOW)
class ProviderMonitorWorkflow:
    @workflow.run
    async def run(self, watched: MonitorInput) -> None:
        """One shift of watching, then a fresh run: histories stay small for ever."""
        await workflow.execute_activity_method(
            MonitorActivities.watch,
            WatchInput(provider_id=watched.provider_id),
            task_queue=provider_queue(watched.provider_id),
            start_to_close_timeout=timedelta(hours=2),
            heartbeat_timeout=watched.heartbeat_timeout,
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10)
            ),
            summary=f"watch all leases of {watched.provider_id}",
        )
        workflow.continue_as_new(watched)
