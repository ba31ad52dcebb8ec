"""Housekeeping of the database, run by a Temporal schedule."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.maintenance import MaintenanceActivities
    from cortex.temporal.contracts import MAINTENANCE_WORKFLOW


@workflow.defn(name=MAINTENANCE_WORKFLOW)
class MaintenanceWorkflow:
    @workflow.run
    async def run(self) -> dict[str, int]:
        """Returns how many of each kind were made or deleted."""
        return await workflow.execute_activity_method(
            MaintenanceActivities.maintain,
            start_to_close_timeout=timedelta(minutes=10),
            retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1), maximum_attempts=10),
            summary="partitions and retention",
        )
