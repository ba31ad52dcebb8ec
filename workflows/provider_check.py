"""A check of a provider's configuration, for whoever adds or changes one."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.providers.drafts import DraftActivities
    from cortex.temporal.contracts import (
        PROVIDER_CHECK_WORKFLOW,
        ProviderCheckInput,
        ProviderCheckResult,
    )

_LONGEST = timedelta(seconds=40)


@workflow.defn(name=PROVIDER_CHECK_WORKFLOW)
class ProviderCheckWorkflow:
    @workflow.run
    async def run(self, draft: ProviderCheckInput) -> ProviderCheckResult:
        """One activity, on any worker: each knows the types that are installed there."""
        return await workflow.execute_activity_method(
            DraftActivities.check_draft,
            draft,
            start_to_close_timeout=_LONGEST,
            retry_policy=RetryPolicy(maximum_attempts=2),
            summary="check a provider's configuration",
        )
