"""What a trace says, from facts alone."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from cortex.domain.jobs import Job
from cortex.domain.leases import Lease, SettleStep
from cortex.domain.money import Money
from cortex.domain.offers import Offer
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState, LeaseState, RunState
from cortex.domain.trace.job import job_steps
from cortex.domain.trace.model import GangFact, History, JobStory, Phase, Ran, StepState, TraceStep

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)
PRICE = Money(amount=Decimal(1), currency="USD")


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def job(state: JobState, **values: Any) -> Job:
    return Job(
        id="job_x",
        name="x",
        owner="ann",
        spec=JobSpec(command=["true"]),
        state=state,
        cost=Money.zero(),
        created_at=T0,
        updated_at=T0,
        **values,
    )


def lease(state: LeaseState, **values: Any) -> Lease:
    return Lease(
        key="job_x-1",
        job_id="job_x",
        attempt=1,
        provider_id="p",
        state=state,
        offer=Offer(provider_id="p", price_per_hour=PRICE),
        created_at=at(1),
        **values,
    )


def states(story: JobStory, history: History | None = None) -> dict[Phase, TraceStep]:
    return {step.phase: step for step in job_steps(story, history or History("away"))}


class TestLease:
    def test_a_reservation_that_failed(self) -> None:
        ran = Ran("prepare", lease_key="job_x-1", tries=4, outcome="failed", error="no bid")
        story = JobStory(
            job(JobState.PLACING),
            leases=[lease(LeaseState.RELEASED, releasing_at=at(5), released_at=at(6))],
        )
        steps = states(story, History("read", ran=[ran]))
        reserve = steps[Phase.RESERVE]
        assert (reserve.state, reserve.tries, reserve.error) == (StepState.FAILED, 4, "no bid")
        assert steps[Phase.COMMIT].state is StepState.SKIPPED
        assert steps[Phase.INTEND].state is StepState.COMPENSATED
        assert steps[Phase.SETTLE].compensates == (Phase.RESERVE,)
        assert Phase.WATCH not in steps

    def test_a_commit_that_failed_in_the_step_that_reserved(self) -> None:
        ran = Ran(
            "acquire",
            lease_key="job_x-1",
            scheduled_at=at(1),
            ended_at=at(4),
            outcome="failed",
            error="the node is gone",
        )
        times = {"reserved_at": at(2), "releasing_at": at(5), "released_at": at(6)}
        story = JobStory(job(JobState.PLACING), leases=[lease(LeaseState.RELEASED, **times)])
        steps = states(story, History("read", ran=[ran]))
        reserve, commit = steps[Phase.RESERVE], steps[Phase.COMMIT]
        assert (reserve.state, reserve.error) == (StepState.COMPENSATED, "")
        assert (reserve.started_at, reserve.ended_at) == (at(1), at(2))
        assert (commit.state, commit.error) == (StepState.FAILED, "the node is gone")
        assert (commit.started_at, commit.ended_at) == (at(2), at(4))
        assert "`acquire`" in reserve.sent
        assert "`acquire`" in commit.sent

    def test_what_was_done_and_undone(self) -> None:
        times = {"reserved_at": at(2), "committed_at": at(3), "releasing_at": at(8)}
        stopped = lease(LeaseState.RELEASED, released_at=at(9), **times)
        steps = states(JobStory(job(JobState.CANCELLED, finished_at=at(9)), leases=[stopped]))
        assert steps[Phase.COMMIT].state is StepState.COMPENSATED
        ended = stopped.model_copy(update={"run_state": RunState.EXITED, "exit_code": 0})
        steps = states(JobStory(job(JobState.COMPLETED, finished_at=at(9)), leases=[ended]))
        assert steps[Phase.COMMIT].state is StepState.DONE
        assert steps[Phase.WATCH].known == "exited with 0"

    def test_a_settlement_that_is_tried_again(self) -> None:
        failed = SettleStep(
            step="cancel", started_at=at(9), ended_at=at(20), tries=3, error="no answer"
        )
        times = {"reserved_at": at(2), "committed_at": at(3), "releasing_at": at(8)}
        held = lease(LeaseState.RELEASING, settle_steps=(failed,), **times)
        ran = Ran("settle", lease_key="job_x-1", tries=3, next_at=at(60))
        story = JobStory(job(JobState.CANCELLING, cancel_requested_at=at(7)), leases=[held])
        steps = states(story, History("read", ran=[ran]))
        settle = steps[Phase.SETTLE]
        assert (settle.state, settle.part, settle.tries) == (StepState.WAITING, "cancel", 3)
        assert (settle.error, settle.next_try_at) == ("no answer", at(60))
        assert steps[Phase.BOOK].state is StepState.WAITING
        assert steps[Phase.CLOSE].state is StepState.WAITING

    def test_a_member_waits_for_the_decision(self) -> None:
        ready = lease(LeaseState.RESERVED, reserved_at=at(2))
        gang = GangFact(0, None, "", at(0), at(60), None)
        steps = states(JobStory(job(JobState.DEPLOYING, gang=0), leases=[ready], gang=gang))
        assert steps[Phase.VERDICT].state is StepState.WAITING
        assert steps[Phase.COMMIT].state is StepState.WAITING
        decided = GangFact(0, "aborted", "b has no offer", at(0), at(60), at(3))
        steps = states(JobStory(job(JobState.DEPLOYING, gang=0), leases=[ready], gang=decided))
        assert steps[Phase.VERDICT].known == "aborted: b has no offer"


class TestOrder:
    def test_steps_stand_in_the_order_of_their_begin(self) -> None:
        times = {"reserved_at": at(2), "committed_at": at(3), "releasing_at": at(8)}
        held = lease(LeaseState.RELEASED, released_at=at(9), run_state=RunState.EXITED, **times)
        story = JobStory(job(JobState.COMPLETED, finished_at=at(9)), leases=[held])
        steps = job_steps(story, History("away"))
        begun = [step.started_at for step in steps if step.started_at is not None]
        assert begun == sorted(begun)
        assert steps[0].phase is Phase.ACCEPT
        assert steps[-1].phase is Phase.CLOSE
