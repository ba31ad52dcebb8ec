"""How a job ends whose own workflow is gone."""

from collections.abc import Sequence

from cortex.domain.jobs import Job, Outcome, Reason
from cortex.domain.leases import Lease
from cortex.domain.states import JobState, RunState


def rescue_outcome(job: Job, leases: Sequence[Lease], how: str) -> Outcome:
    """The end of the job, from what is written down of it.

    Args:
        job: A job that has not ended.
        leases: Those of its leases that are not released.
        how: What happened to its workflow, to be read after "its workflow".
    """
    last = leases[-1] if leases else None
    ended = last if last is not None and last.run_state is RunState.EXITED else None
    exit_code = ended.exit_code if ended else None
    done = (
        "Cortex released its lease and booked its bill" if leases else "it held no lease, no bill"
    )
    told = f"its workflow {how}; {done}"
    if exit_code == 0:
        # A command that has succeeded stays so, whoever looks after it.
        return Outcome(
            state=JobState.COMPLETED, reason=Reason.EXITED, message=told, exit_code=exit_code
        )
    if job.state is JobState.CANCELLING or job.cancel_requested_at is not None:
        return Outcome(
            state=JobState.CANCELLED,
            reason=Reason.CANCELLED,
            message=f"cancelled on request; {told}",
            exit_code=exit_code,
        )
    return Outcome(
        state=JobState.FAILED, reason=Reason.WORKFLOW_GONE, message=told, exit_code=exit_code
    )
