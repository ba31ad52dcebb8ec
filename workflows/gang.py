"""A job's part in its group: it waits for the decision of its gang, and calls the group."""

from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError
from temporalio.workflow import ActivityHandle

with workflow.unsafe.imports_passed_through():
    from activities.contracts import PlaceResult, VerdictInput, VerdictResult, WakeInput
    from activities.groups import GroupActivities
    from cortex.domain.jobs import Reason
    from cortex.temporal import contracts
    from cortex.temporal.contracts import CancelSignal, JobInput
    from workflows.decisions import LeaseEnd
    from workflows.steps import QUICK
    from workflows.stopping import Stoppable

_ANSWER = timedelta(seconds=10)


class GangMember(Stoppable):
    """The waiting between prepare and commit. It ends whatever becomes of the group's workflow."""

    def __init__(self, job: JobInput) -> None:
        super().__init__()
        self._job = job
        self._called = False
        self._agreed = not job.gang
        """Its gang is committed, or it has none: a decision is never taken back."""
        self._was_live = False

    async def _may_commit(self, placement: PlaceResult) -> bool:
        """Wait until the gang has decided; False leaves this job stopped."""
        if self._agreed:
            return True
        self._called = False
        await self._call_group()
        # Mostly the answer is a call; asking at once would only hear that nothing is decided.
        await self._until(lambda: self._called or self._stopped(), _ANSWER)
        while not self._stopped():
            self._called = False
            verdict = await self._through(lambda: self._ask_verdict(placement))
            if verdict.answer == "commit":
                self._agreed = True
                return not self._stopped()
            if verdict.answer == "abort":
                self._stop_for(CancelSignal(reason=verdict.reason, cause=Reason.GROUP_ABORTED))
                return False
            await self._until(lambda: self._called or self._stopped(), verdict.wait)
        return False

    def _ask_verdict(self, placement: PlaceResult) -> ActivityHandle[VerdictResult]:
        return workflow.start_activity_method(
            GroupActivities.verdict,
            VerdictInput(job_id=self._job.job_id, lease_key=placement.lease_key or ""),
            start_to_close_timeout=timedelta(minutes=1),
            heartbeat_timeout=self._job.heartbeat_timeout,
            retry_policy=QUICK,
            summary="ask what the group has decided",
        )

    async def _call_group(self, *, surely: bool = False) -> None:
        """Let the group look. `surely`: even if its workflow has to be started again."""
        if self._job.group_id is None:
            return
        group = workflow.get_external_workflow_handle(self._job.group_id)
        try:
            await self._through(lambda: group.signal(contracts.SIGNAL_LOOK))
        except FailureError as error:
            workflow.logger.info("the workflow of the group does not hear: %s", error)
            if surely:
                await self._wake_group(self._job.group_id)

    async def _wake_group(self, group_id: str) -> None:
        try:
            await self._through(
                lambda: workflow.start_activity_method(
                    GroupActivities.wake_group,
                    WakeInput(group_id=group_id),
                    start_to_close_timeout=timedelta(minutes=1),
                    heartbeat_timeout=self._job.heartbeat_timeout,
                    schedule_to_close_timeout=timedelta(hours=1),
                    retry_policy=QUICK,
                    summary="start the group's workflow again",
                )
            )
        except ActivityError as error:  # the job has ended all the same
            workflow.logger.warning("the group could not be called: %s", error)

    def _of_commit(self, end: LeaseEnd) -> LeaseEnd:
        """What a failed commit means: for one of all or none, no other offer is taken."""
        together = self._job.gang and self._job.commit_failure == "end"
        return replace(end, last=True) if together and not self._was_live else end
