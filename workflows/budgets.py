"""A look at all budgets, started by a schedule (`budgets`)."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.budgets import BudgetActivities
    from activities.contracts import BudgetsResult
    from cortex.temporal.contracts import BUDGETS_WORKFLOW


@workflow.defn(name=BUDGETS_WORKFLOW)
class BudgetsWorkflow:
    @workflow.run
    async def run(self) -> BudgetsResult:
        """Returns how many were told and stopped. The next look makes up for one that failed."""
        return await workflow.execute_activity_method(
            BudgetActivities.check_budgets,
            start_to_close_timeout=timedelta(minutes=10),
            heartbeat_timeout=timedelta(seconds=15),  # jobs over a budget run on meanwhile
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=5),
            summary="rates, alerts, and jobs over a budget",
        )
