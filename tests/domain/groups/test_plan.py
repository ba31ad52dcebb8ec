"""What the planner of a group does, state by state; nothing here but pure functions."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cortex.domain.groups.plan import LATER, SOON, Plan, plan
from cortex.domain.groups.rules import ArrayRules, GroupRules
from cortex.domain.groups.snapshot import Gang, Member
from cortex.domain.groups.states import GroupState
from cortex.domain.jobs import Reason
from cortex.domain.states import JobState
from tests.domain.groups.builders import BEST_EFFORT, NOW, gang, group, member


def started(name: str, state: JobState = JobState.PLACING, **changes: Any) -> Member:
    return member(name, held=False, state=state, **changes)


def ready(name: str, **changes: Any) -> Member:
    return started(name, JobState.DEPLOYING, ready=True, **changes)


def running(name: str, **changes: Any) -> Member:
    return started(name, JobState.RUNNING, committed=True, **changes)


def completed(name: str, **changes: Any) -> Member:
    return started(name, JobState.COMPLETED, committed=True, exit_code=0, **changes)


def failed(name: str, **changes: Any) -> Member:
    values: dict[str, Any] = {"committed": True, "exit_code": 1, "reason": Reason.EXITED}
    return started(name, JobState.FAILED, **{**values, **changes})


def begun(number: int = 0, **changes: Any) -> Gang:
    """A gang whose members are being prepared."""
    values = {"started_at": NOW, "deadline_at": NOW + timedelta(minutes=5)}
    return gang(number, **{**values, **changes})


def committed(number: int = 0, **changes: Any) -> Gang:
    return begun(number, decision="committed", **changes)


def decided(made: Plan) -> list[tuple[int, str]]:
    return [(decision.gang, decision.decided) for decision in made.decisions]


def cancelled(made: Plan) -> dict[str, Reason]:
    return {ending.member.removeprefix("job_"): ending.undo.cause for ending in made.cancel}


def closed(made: Plan) -> dict[str, Reason]:
    return {ending.member.removeprefix("job_"): ending.undo.cause for ending in made.close}


class TestBegin:
    def test_gang_starts_whole_with_a_deadline(self) -> None:
        made = plan(group(member("a"), member("b")), NOW)
        assert [start.members for start in made.starts] == [("job_a", "job_b")]
        assert made.starts[0].deadline_at == NOW + timedelta(minutes=5)
        assert made.enter is GroupState.PREPARING
        assert made.wake_at == NOW + SOON

    def test_wakes_for_a_deadline_that_comes_before_the_next_look(self) -> None:
        rules = GroupRules(prepare_timeout=timedelta(seconds=20))
        assert plan(group(member("a"), rules=rules), NOW).wake_at == NOW + timedelta(seconds=20)

    def test_gang_waits_for_what_it_needs(self) -> None:
        needs = gang(1, needs=("prep",))
        made = plan(group(running("prep"), member("a", 1), gangs=(committed(), needs)), NOW)
        assert not made.starts
        made = plan(group(completed("prep"), member("a", 1), gangs=(committed(), needs)), NOW)
        assert [start.gang for start in made.starts] == [1]

    def test_gang_is_not_started_twice(self) -> None:
        assert not plan(group(started("a"), member("b"), gangs=(begun(),)), NOW).starts

    def test_gang_with_a_member_that_was_cancelled_before_is_never_started(self) -> None:
        made = plan(group(member("a", state=JobState.CANCELLING), member("b")), NOW)
        assert decided(made) == [(0, "aborted")]
        assert closed(made) == {"a": Reason.CANCELLED, "b": Reason.GROUP_ABORTED}
        assert not made.starts


class TestDecide:
    def test_commits_once_all_are_reserved(self) -> None:
        made = plan(group(ready("a"), ready("b"), gangs=(begun(),)), NOW)
        assert decided(made) == [(0, "committed")]
        assert made.decisions[0].members == ("job_a", "job_b")
        assert made.enter is GroupState.RUNNING

    def test_waits_for_the_last(self) -> None:
        made = plan(group(ready("a"), started("b"), gangs=(begun(),)), NOW)
        assert not made.decisions
        assert not made.acts

    def test_aborts_at_the_deadline_and_says_who_was_late(self) -> None:
        late = started("b", message="no provider offers")
        made = plan(group(ready("a"), late, gangs=(begun(),)), NOW + timedelta(minutes=5))
        assert decided(made) == [(0, "aborted")]
        assert "within 5m: `b` is placing (no provider offers)" in made.decisions[0].reason
        assert cancelled(made) == {"a": Reason.GROUP_ABORTED, "b": Reason.GROUP_ABORTED}
        assert made.enter is GroupState.ENDING

    def test_all_reserved_counts_even_after_the_deadline(self) -> None:
        made = plan(group(ready("a"), gangs=(begun(),)), NOW + timedelta(hours=1))
        assert decided(made) == [(0, "committed")]

    @pytest.mark.parametrize("state", [JobState.FAILED, JobState.SETTLING, JobState.CANCELLING])
    def test_aborts_early_when_a_member_is_gone(self, state: JobState) -> None:
        gone = started("b", state)
        made = plan(group(ready("a"), gone, gangs=(begun(),)), NOW)
        assert decided(made) == [(0, "aborted")]
        assert cancelled(made) == {"a": Reason.GROUP_ABORTED}

    def test_a_decision_stands(self) -> None:
        members = (ready("a"), ready("b"))
        for decision in ("committed", "aborted"):
            gangs = (begun(decision=decision, reason="said before"),)
            assert not plan(group(*members, gangs=gangs), NOW + timedelta(days=1)).decisions

    def test_presumed_abort_of_a_member_is_taken_up(self) -> None:
        gangs = (begun(decision="aborted", reason="no decision in time"),)
        made = plan(group(ready("a"), started("b"), gangs=gangs), NOW)
        assert cancelled(made) == {"a": Reason.GROUP_ABORTED, "b": Reason.GROUP_ABORTED}
        assert made.message == "no decision in time"

    def test_other_gangs_go_on_without_fail_fast(self) -> None:
        rules = GroupRules(fail_fast=False)
        gangs = (begun(decision="aborted", reason="no"), committed(1))
        made = plan(group(ready("a"), running("b", gang=1), gangs=gangs, rules=rules), NOW)
        assert cancelled(made) == {"a": Reason.GROUP_ABORTED}
        assert made.enter is GroupState.RUNNING


class TestCommitFailure:
    MEMBERS = (
        running("a"),
        completed("b"),
        started("c", JobState.SETTLING),
    )

    def test_compensates_all(self) -> None:
        made = plan(group(*self.MEMBERS, gangs=(committed(),)), NOW)
        assert cancelled(made) == {"a": Reason.GROUP_ABORTED}
        assert "`c` could not be committed after the others were" in made.message

    def test_retry_leaves_it_to_the_member(self) -> None:
        rules = GroupRules(commit_failure="retry")
        made = plan(group(*self.MEMBERS, gangs=(committed(),), rules=rules), NOW)
        assert not made.cancel

    def test_a_member_that_is_placed_anew_has_not_fallen_through(self) -> None:
        members = (running("a"), started("b", committed=True))
        assert not plan(group(*members, gangs=(committed(),)), NOW).cancel

    def test_one_that_its_user_cancels_between_decision_and_commit_ends_all(self) -> None:
        members = (running("a"), started("b", JobState.CANCELLING, asked=True))
        made = plan(group(*members, gangs=(committed(),)), NOW)
        assert cancelled(made) == {"a": Reason.GROUP_ABORTED}
        assert "was cancelled after the others were" in made.message

    def test_the_first_cause_is_told_not_its_consequences(self) -> None:
        members = (failed("a"), started("b", JobState.CANCELLING, asked=True), running("c"))
        assert "`a` failed (exit 1)" in plan(group(*members, gangs=(committed(),)), NOW).message


class TestFailures:
    def test_fail_fast_ends_the_others(self) -> None:
        members = (failed("a"), running("b"), member("c", 1), completed("d"))
        gangs = (committed(), gang(1, needs=("b",)))
        made = plan(group(*members, gangs=gangs), NOW)
        assert cancelled(made) == {"b": Reason.GROUP_ABORTED}
        assert closed(made) == {"c": Reason.GROUP_ABORTED}

    def test_without_it_only_those_that_need_the_failed_one_end(self) -> None:
        members = (failed("a"), running("b", gang=1), member("c", 2), member("d", 3))
        gangs = (gang(), gang(1), gang(2, needs=("a",)), gang(3, needs=("b",)))
        made = plan(group(*members, gangs=gangs, rules=BEST_EFFORT), NOW)
        assert not made.cancel
        assert closed(made) == {"c": Reason.DEPENDENCY_FAILED}
        assert "needs `a`, which has ended as failed" in made.close[0].undo.message

    def test_need_that_is_not_there_ends_its_dependents(self) -> None:
        made = plan(group(member("a"), gangs=(gang(needs=("gone",)),), rules=BEST_EFFORT), NOW)
        assert closed(made) == {"a": Reason.DEPENDENCY_FAILED}

    def test_array_with_its_own_fail_fast_ends_itself_only(self) -> None:
        rules = replace(BEST_EFFORT, arrays={"x": ArrayRules(fail_fast=True)})
        members = (failed("x[0]"), running("x[1]"), member("x[2]"), running("y"))
        made = plan(group(*members, rules=rules), NOW)
        assert cancelled(made) == {"x[1]": Reason.GROUP_ABORTED}
        assert closed(made) == {"x[2]": Reason.GROUP_ABORTED}

    def test_array_that_keeps_its_failures_to_itself(self) -> None:
        rules = GroupRules(arrays={"x": ArrayRules(fail_fast=False)})
        made = plan(group(failed("x[0]"), running("y"), gangs=(committed(),), rules=rules), NOW)
        assert not made.cancel

    def test_array_that_ends_itself_does_not_make_the_group_compensate(self) -> None:
        rules = GroupRules(fail_fast=False, arrays={"x": ArrayRules(fail_fast=True)})
        stopped = started("x[1]", JobState.CANCELLING, asked=True)
        members = (failed("x[0]"), stopped, running("y"))
        assert not plan(group(*members, gangs=(committed(),), rules=rules), NOW).cancel

    def test_lost_member_ends_all_if_the_group_says_so(self) -> None:
        lost = failed("a", reason=Reason.LEASE_LOST, exit_code=None)
        rules = replace(BEST_EFFORT, on_lost="end_all")
        made = plan(group(lost, running("b"), member("c"), rules=rules), NOW)
        assert cancelled(made) == {"b": Reason.GROUP_ABORTED}
        assert closed(made) == {"c": Reason.GROUP_ABORTED}
        assert not plan(group(lost, running("b"), rules=BEST_EFFORT), NOW).cancel


class TestConcurrency:
    def test_of_the_group(self) -> None:
        rules = replace(BEST_EFFORT, concurrency=2)
        members = (running("a"), member("b"), member("c"), completed("d"))
        made = plan(group(*members, rules=rules), NOW)
        assert [start.members for start in made.starts] == [("job_b",)]
        assert made.starts[0].deadline_at is None

    def test_of_an_array_beside_others(self) -> None:
        rules = replace(BEST_EFFORT, arrays={"x": ArrayRules(concurrency=1)})
        members = (member("x[0]"), member("x[1]"), member("y[0]"), member("y[1]"))
        made = plan(group(*members, rules=rules), NOW)
        assert made.starts[0].members == ("job_x[0]", "job_y[0]", "job_y[1]")

    def test_one_that_settles_still_counts(self) -> None:
        rules = replace(BEST_EFFORT, concurrency=1)
        members = (started("a", JobState.SETTLING), member("b"))
        assert not plan(group(*members, rules=rules), NOW).starts

    def test_one_that_is_about_to_end_is_not_started(self) -> None:
        members = (member("a", state=JobState.CANCELLING), member("b"))
        made = plan(group(*members, rules=BEST_EFFORT), NOW)
        assert made.starts[0].members == ("job_b",)
        assert closed(made) == {"a": Reason.CANCELLED}


class TestCancel:
    def test_ends_everything_where_it_stands(self) -> None:
        members = (ready("a"), started("b", JobState.SETTLING), member("c", 1), completed("d"))
        made = plan(
            group(
                *members, gangs=(begun(), gang(1)), cancel_requested=True, cancel_reason="enough"
            ),
            NOW,
        )
        assert decided(made) == [(0, "aborted")]
        assert cancelled(made) == {"a": Reason.CANCELLED}
        assert closed(made) == {"c": Reason.CANCELLED}
        assert made.cancel[0].undo.message == "enough"
        assert made.enter is GroupState.ENDING

    def test_comes_before_a_commit(self) -> None:
        made = plan(group(ready("a"), gangs=(begun(),), cancel_requested=True), NOW)
        assert decided(made) == [(0, "aborted")]

    def test_is_not_repeated_for_those_that_are_on_their_way(self) -> None:
        members = (started("a", JobState.CANCELLING), started("b", JobState.SETTLING))
        made = plan(group(*members, state=GroupState.ENDING, cancel_requested=True), NOW)
        assert not made.cancel
        assert made.enter is None


class TestEnd:
    def end(self, *members: Member, **changes: Any) -> tuple[GroupState, Reason | None, str]:
        end = plan(group(*members, **changes), NOW).end
        assert end is not None
        return end.state, end.reason, end.message

    def test_all_completed(self) -> None:
        assert self.end(completed("a"), completed("b")) == (
            GroupState.COMPLETED,
            None,
            "2 of 2 completed",
        )

    def test_counts_and_names_the_failed(self) -> None:
        members = [completed(f"t[{i}]") for i in range(3)] + [
            failed(f"t[{i}]", exit_code=i) for i in range(3, 12)
        ]
        state, reason, message = self.end(*members, rules=BEST_EFFORT)
        assert (state, reason) == (GroupState.FAILED, Reason.EXITED)
        assert message.startswith("3 of 12 completed; 9 failed: t[3] (exit 3), t[4] (exit 4)")
        assert "and 4 more" in message

    def test_aborted_gang_is_a_failed_group(self) -> None:
        undone = started("a", JobState.CANCELLED, reason=Reason.GROUP_ABORTED)
        state, reason, message = self.end(
            undone, undone, gangs=(begun(decision="aborted", reason="`b` was late"),)
        )
        assert (state, reason) == (GroupState.FAILED, Reason.GROUP_ABORTED)
        assert "`b` was late" in message

    def test_cancel_after_all_had_completed_changes_nothing(self) -> None:
        assert self.end(completed("a"), cancel_requested=True)[0] is GroupState.COMPLETED

    def test_cancelled(self) -> None:
        gone = started("a", JobState.CANCELLED, reason=Reason.CANCELLED)
        assert self.end(gone, completed("b"), cancel_requested=True)[0] is GroupState.CANCELLED
        assert self.end(gone, rules=BEST_EFFORT)[0] is GroupState.CANCELLED

    def test_a_terminal_group_is_left_alone(self) -> None:
        assert plan(group(completed("a"), state=GroupState.FAILED), NOW) == Plan()

    def test_waits_for_the_last_bill(self) -> None:
        made = plan(
            group(
                completed("a"),
                started("b", JobState.SETTLING),
                state=GroupState.RUNNING,
                rules=BEST_EFFORT,
            ),
            NOW,
        )
        assert made.end is None
        assert made.wake_at == NOW + LATER
