"""Finishes a job whose own workflow is gone: terminated by hand, or lost by Temporal.

It takes the same steps as the job's workflow would have taken at the end, with the same guards in
the database: even if that workflow ran after all, nothing is done twice. Id `rescue:<job id>`.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.contracts import FinishInput, LeaseInput, SettleInput
    from activities.jobs.placement import PlacementActivities
    from activities.jobs.settlement import SettlementActivities
    from activities.reconcile.rescue import RescueActivities, RescuePlan
    from cortex.domain.jobs import Outcome
    from cortex.temporal.contracts import RESCUE_WORKFLOW, RescueInput, RescueResult, provider_queue

_RELENTLESS = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=5)
)
_QUICK = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10))


@workflow.defn(name=RESCUE_WORKFLOW)
class RescueWorkflow:
    @workflow.run
    async def run(self, abandoned: RescueInput) -> RescueResult:
        """Release every open lease, whatever it takes, then close the job."""
        plan = await self._plan(abandoned)
        if plan.why_not:
            return RescueResult(message=plan.why_not)
        for lease in plan.leases[:-1]:
            await self._settle(abandoned, lease, None)
        if plan.leases:
            await self._settle(abandoned, plan.leases[-1], plan.outcome)
        elif plan.outcome is not None:
            await self._finish(abandoned, plan.outcome)
        if plan.outcome is None:
            return RescueResult(message="the job had ended; its leases are released")
        return RescueResult(state=plan.outcome.state, message=plan.outcome.message)

    async def _plan(self, abandoned: RescueInput) -> RescuePlan:
        return await workflow.execute_activity_method(
            RescueActivities.plan_rescue,
            abandoned,
            start_to_close_timeout=timedelta(minutes=1),
            heartbeat_timeout=abandoned.heartbeat_timeout,
            retry_policy=_QUICK,
            summary="is its workflow gone?",
        )

    async def _settle(
        self, abandoned: RescueInput, lease: LeaseInput, outcome: Outcome | None
    ) -> None:
        workflow.set_current_details(f"releasing {lease.lease_key} at {lease.provider_id}")
        await workflow.execute_activity_method(
            SettlementActivities.settle,
            SettleInput(
                job_id=abandoned.job_id,
                lease_key=lease.lease_key,
                outcome=outcome,
                lease_only=outcome is None,
            ),
            task_queue=provider_queue(lease.provider_id),
            start_to_close_timeout=timedelta(hours=2),
            heartbeat_timeout=abandoned.heartbeat_timeout,
            retry_policy=_RELENTLESS,
            summary=f"release and book at {lease.provider_id}",
        )

    async def _finish(self, abandoned: RescueInput, outcome: Outcome) -> None:
        await workflow.execute_activity_method(
            PlacementActivities.finish,
            FinishInput(job_id=abandoned.job_id, outcome=outcome),
            start_to_close_timeout=timedelta(minutes=1),
            heartbeat_timeout=abandoned.heartbeat_timeout,
            retry_policy=_QUICK,
            summary="close the job",
        )
