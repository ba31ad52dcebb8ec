"""Offers of all providers for a spec, for whoever asks before submitting."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.jobs.placement import PlacementActivities
    from cortex.temporal.contracts import QUOTE_WORKFLOW, QuoteInput, QuoteResult


@workflow.defn(name=QUOTE_WORKFLOW)
class QuoteWorkflow:
    @workflow.run
    async def run(self, wanted: QuoteInput) -> QuoteResult:
        """One activity that asks all providers at once."""
        return await workflow.execute_activity_method(
            PlacementActivities.quote,
            wanted,
            start_to_close_timeout=wanted.timeout + timedelta(seconds=5),
            retry_policy=RetryPolicy(maximum_attempts=2),
            summary="ask all providers",
        )
