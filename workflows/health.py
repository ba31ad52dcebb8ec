"""One check of a provider, started by its schedule (`health:<provider>`)."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.providers.health import HealthActivities
    from cortex.temporal.contracts import (
        HEALTH_WORKFLOW,
        HealthInput,
        HealthResult,
        provider_queue,
    )

_WAIT = timedelta(seconds=30)
"""For a worker. The next check is due soon: this one need not wait for ever."""


@workflow.defn(name=HEALTH_WORKFLOW)
class ProviderHealthWorkflow:
    @workflow.run
    async def run(self, checked: HealthInput) -> HealthResult:
        """Ask on the provider's own queue. Without a worker there, nothing is known."""
        try:
            return await workflow.execute_activity_method(
                HealthActivities.check_health,
                checked,
                task_queue=provider_queue(checked.provider_id),
                schedule_to_start_timeout=_WAIT,
                start_to_close_timeout=checked.timeout + timedelta(seconds=15),
                retry_policy=RetryPolicy(maximum_attempts=1),
                summary=f"how is {checked.provider_id}?",
            )
        except ActivityError:
            return HealthResult(status="unknown")
