"""Which jobs count as stuck, and what one may do about each."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cortex.domain.leases import SettleStep
from cortex.domain.states import JobState, LeaseState
from cortex.domain.trace.stuck import JobFacts, StuckRules, stuck, stuck_gang

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
RULES = StuckRules()
JOB = JobFacts(
    id="job_x",
    name="x",
    owner="ann",
    project="ann",
    state=JobState.PENDING,
    entered_at=NOW,
    message="said",
    placement_timeout=timedelta(minutes=10),
)
HELD: dict[str, Any] = {"provider_id": "p", "lease_key": "job_x-1"}


def after(job: JobFacts, wait: timedelta) -> bool:
    """Whether it is stuck so long after it got where it is."""
    return stuck(job, RULES, NOW + wait) is not None


class TestLimits:
    @pytest.mark.parametrize(
        ("state", "limit"),
        [
            (JobState.PENDING, RULES.starting),
            (JobState.PLACING, RULES.placing + JOB.placement_timeout),
            (JobState.DEPLOYING, RULES.deploying),
            (JobState.CANCELLING, RULES.cancelling),
            (JobState.SETTLING, RULES.settling),
        ],
    )
    def test_of_each_state(self, state: JobState, limit: timedelta) -> None:
        job = replace(JOB, state=state)
        assert not after(job, limit)
        assert after(job, limit + timedelta(seconds=1))

    def test_a_running_job_only_past_its_deadline_or_out_of_sight(self) -> None:
        job = replace(JOB, state=JobState.RUNNING)
        assert not after(job, timedelta(days=9))
        late = replace(job, deadline_at=NOW)
        assert not after(late, RULES.running)
        assert after(late, RULES.running + timedelta(seconds=1))
        unseen = replace(job, unknown_since=NOW, unknown_reason="silent", **HELD)
        subject = stuck(unseen, RULES, NOW + RULES.unknown + timedelta(seconds=1))
        assert subject is not None
        assert (subject.error, subject.may) == ("silent", ("cancel",))


class TestWhatOneMayDo:
    def test_by_hand_only_while_the_lease_is_being_released(self) -> None:
        failed = SettleStep(step="cancel", started_at=NOW, ended_at=NOW, tries=7, error="refused")
        job = replace(
            JOB,
            state=JobState.CANCELLING,
            lease_state=LeaseState.RELEASING,
            settle_steps=(failed,),
            **HELD,
        )
        subject = stuck(job, RULES, NOW + timedelta(hours=1))
        assert subject is not None
        assert subject.may == ("retry", "force_release", "settle")
        assert subject.step == "release the lease at `p` (cancel, try 7)"
        assert subject.error == "refused"
        assert "`cancelling` for more than 5m" in subject.told()
        committing = replace(job, lease_state=LeaseState.RESERVED, settle_steps=())
        subject = stuck(committing, RULES, NOW + timedelta(hours=1))
        assert subject is not None
        assert (subject.step, subject.may) == ("start at `p`", ("retry",))


def test_a_gang_past_its_deadline() -> None:
    def at(wait: timedelta) -> bool:
        subject = stuck_gang(
            "grp_x",
            name="x",
            owner="ann",
            project="ann",
            state="preparing",
            gang=1,
            deadline_at=NOW,
            limit=RULES.preparing,
            now=NOW + wait,
        )
        return subject is not None

    assert not at(RULES.preparing)
    assert at(RULES.preparing + timedelta(seconds=1))
