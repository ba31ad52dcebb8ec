"""What reconcile makes of what it compares."""

from datetime import UTC, datetime, timedelta

import pytest

from cortex.domain.ids import lease_key, new_id
from cortex.domain.jobs import Job, Reason
from cortex.domain.leases import Lease
from cortex.domain.money import Money
from cortex.domain.offers import Offer, Usage
from cortex.domain.reconcile import (
    BOOK_KINDS,
    PROVIDER_KINDS,
    CareCase,
    Fate,
    Finding,
    FindingKind,
    OpenHold,
    forsaken,
    forsaken_groups,
    late_charge,
    orphans,
    stale_holds,
    suspects,
    unserved,
)
from cortex.domain.reconcile.rescue import rescue_outcome
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState, LeaseState, RunState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JOB = new_id("job")
KEY = lease_key(JOB, 1)
GONE = Fate(status="closed", how="was terminated in Temporal")
MISSING = Fate(status="missing", how="is not in Temporal")
RUNNING = Fate(status="running")


def lease(**changes: object) -> Lease:
    values = {
        "key": KEY,
        "job_id": JOB,
        "attempt": 1,
        "provider_id": "p",
        "state": LeaseState.RELEASED,
        "offer": Offer(provider_id="p", price_per_hour=Money.model_validate("1 USD")),
        "created_at": NOW,
        **changes,
    }
    return Lease.model_validate(values)


def job(state: JobState, **changes: object) -> Job:
    values = {
        "id": JOB,
        "name": "x",
        "owner": "me",
        "spec": JobSpec.model_validate({"command": ["true"]}),
        "state": state,
        "cost": Money.zero(),
        "created_at": NOW,
        "updated_at": NOW,
        **changes,
    }
    return Job.model_validate(values)


def usage(amount: str, *, final: bool = True) -> Usage:
    return Usage(cost=Money.model_validate(amount), final=final)


class TestOrphans:
    @pytest.mark.parametrize("state", [s for s in LeaseState if s is not LeaseState.RELEASED])
    def test_an_open_lease_is_nobody_to_suspect(self, state: LeaseState) -> None:
        assert suspects([KEY], {KEY: state}) == []

    def test_unknown_and_released_keys_are_suspects(self) -> None:
        assert suspects([KEY, "other"], {KEY: LeaseState.RELEASED}) == [KEY, "other"]

    @pytest.mark.parametrize("run", [None, *RunState])
    def test_what_was_never_leased_is_an_orphan_however_it_is(self, run: RunState | None) -> None:
        compared = orphans("p", [KEY], {}, {KEY: run} if run else {})
        assert [(issue.kind, issue.subject) for issue in compared.issues] == [
            (FindingKind.ORPHAN, KEY)
        ]
        assert compared.issues[0].data == {"lease": "unknown"}

    @pytest.mark.parametrize(
        ("run", "expected"),
        [
            (RunState.STARTING, "orphan"),
            (RunState.RUNNING, "orphan"),
            (RunState.EXITED, "kept"),
            (RunState.LOST, "kept"),
            (None, "unsure"),
        ],
    )
    def test_released_ones_by_what_the_network_says(
        self, run: RunState | None, expected: str
    ) -> None:
        states = {KEY: LeaseState.RELEASED}
        compared = orphans("p", [KEY], states, {KEY: run} if run else {})
        assert [issue.subject for issue in compared.issues] == (
            [KEY] if expected == "orphan" else []
        )
        assert compared.kept == ([KEY] if expected == "kept" else [])
        assert compared.unsure == ({KEY} if expected == "unsure" else set())


class TestForsaken:
    @pytest.mark.parametrize(
        ("case", "fate", "expected"),
        [
            (CareCase(job_id=JOB, state=JobState.RUNNING, open_leases=1), RUNNING, None),
            (CareCase(job_id=JOB, state=JobState.RUNNING, open_leases=1), GONE, "gone_workflow"),
            (CareCase(job_id=JOB, state=JobState.RUNNING), MISSING, "gone_workflow"),
            (CareCase(job_id=JOB, state=JobState.PENDING), MISSING, "lost_start"),
            (CareCase(job_id=JOB, state=JobState.PENDING), GONE, "gone_workflow"),
            (CareCase(job_id=JOB, state=JobState.PENDING, leased=True), MISSING, "gone_workflow"),
            (CareCase(job_id=JOB, state=JobState.CANCELLING), MISSING, "gone_workflow"),
            (CareCase(job_id=JOB, state=JobState.FAILED, open_leases=1), GONE, "gone_workflow"),
        ],
    )
    def test_by_state_and_fate(self, case: CareCase, fate: Fate, expected: str | None) -> None:
        kinds = [issue.kind.value for issue in forsaken([case], {JOB: fate})]
        assert kinds == ([expected] if expected else [])

    def test_without_a_known_fate_nothing_is_said(self) -> None:
        assert forsaken([CareCase(job_id=JOB, state=JobState.RUNNING)], {}) == []

    def test_the_message_says_what_is_at_stake(self) -> None:
        case = CareCase(job_id=JOB, state=JobState.RUNNING, open_leases=2)
        (issue,) = forsaken([case], {JOB: GONE})
        assert issue.message == (
            f"job `{JOB}` is running and holds 2 leases; its workflow was terminated in Temporal"
        )

    def test_groups(self) -> None:
        fates = {"grp_1": GONE, "grp_2": RUNNING, "grp_3": MISSING}
        states = {"grp_1": "running", "grp_2": "running", "grp_3": "pending", "grp_4": "running"}
        assert [issue.subject for issue in forsaken_groups(states, fates)] == ["grp_1", "grp_3"]


class TestMoney:
    def test_stale_holds(self) -> None:
        held = Money.model_validate("2.5 USD")
        hold = OpenHold(lease_key=KEY, job_id=JOB, provider_id="p", held=held)
        (issue,) = stale_holds([hold])
        assert issue.message == f"2.5 USD are held for lease `{KEY}`, which is released"

    @pytest.mark.parametrize(
        ("booked", "bill", "expected"),
        [
            ("0.5 USD", usage("0.5 USD"), None),
            ("0.5 USD", usage("0.50000 USD"), None),
            ("0.5 USD", usage("0.7 USD", final=False), None),
            ("0.5 USD", usage("0.7 USD"), "bills 0.7 USD for lease `{}`, and 0.5 USD are booked"),
            ("0.5 USD", usage("0.5 AKT"), "bills 0.5 AKT for lease `{}`, and 0.5 USD are booked"),
            ("0 USD", usage("0 GLM"), None),
            ("0 USD", usage("0.7 GLM"), "bills 0.7 GLM for lease `{}`, and nothing is booked"),
            (None, usage("0.7 USD"), "bills 0.7 USD for lease `{}`, and nothing is booked"),
            (None, usage("0 USD"), None),
        ],
    )
    def test_late_charge(self, booked: str | None, bill: Usage, expected: str | None) -> None:
        issue = late_charge(lease(cost=Money.model_validate(booked) if booked else None), bill)
        told = None if issue is None else issue.message.removeprefix("`p` ")
        assert told == (expected.format(KEY) if expected else None)

    def test_an_open_lease_has_no_late_charge(self) -> None:
        assert late_charge(lease(state=LeaseState.RELEASING), usage("1 USD")) is None


class TestFindings:
    def test_every_kind_is_found_by_somebody(self) -> None:
        assert set(FindingKind) == PROVIDER_KINDS | BOOK_KINDS
        assert not PROVIDER_KINDS & BOOK_KINDS

    def test_due_after_the_grace(self) -> None:
        issue = unserved("p", [KEY])
        finding = Finding(**issue.model_dump(), id="fnd_1", first_seen_at=NOW, last_seen_at=NOW)
        assert finding.due_at(timedelta(minutes=2)) == NOW + timedelta(minutes=2)
        assert f"`{KEY}`" in finding.message

    def test_what_is_known_to_be_older_is_due_earlier(self) -> None:
        closed_at = NOW - timedelta(minutes=3)
        fate = GONE.model_copy(update={"closed_at": closed_at})
        (issue,) = forsaken([CareCase(job_id=JOB, state=JobState.RUNNING)], {JOB: fate})
        finding = Finding(**issue.model_dump(), id="fnd_1", first_seen_at=NOW, last_seen_at=NOW)
        assert finding.due_at(timedelta(minutes=2)) == NOW - timedelta(minutes=1)
        late = finding.model_copy(update={"first_seen_at": closed_at - timedelta(minutes=9)})
        assert late.due_at(timedelta(0)) == closed_at - timedelta(minutes=9)


class TestRescue:
    HOW = "was terminated in Temporal"

    def test_failed_and_says_why(self) -> None:
        open_ = lease(state=LeaseState.ACTIVE, run_state=RunState.RUNNING)
        outcome = rescue_outcome(job(JobState.RUNNING), [open_], self.HOW)
        assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.WORKFLOW_GONE)
        assert outcome.message == (
            "its workflow was terminated in Temporal; Cortex released its lease and booked its bill"
        )

    def test_exit_code_is_kept(self) -> None:
        ended = lease(state=LeaseState.ENDED, run_state=RunState.EXITED, exit_code=3)
        outcome = rescue_outcome(job(JobState.RUNNING), [ended], self.HOW)
        assert (outcome.state, outcome.exit_code) == (JobState.FAILED, 3)

    @pytest.mark.parametrize("state", [JobState.RUNNING, JobState.SETTLING, JobState.CANCELLING])
    def test_success_stays_success(self, state: JobState) -> None:
        ended = lease(state=LeaseState.RELEASING, run_state=RunState.EXITED, exit_code=0)
        outcome = rescue_outcome(job(state), [ended], self.HOW)
        assert (outcome.state, outcome.reason) == (JobState.COMPLETED, Reason.EXITED)

    @pytest.mark.parametrize(
        "stopped", [job(JobState.CANCELLING), job(JobState.SETTLING, cancel_requested_at=NOW)]
    )
    def test_cancelled_on_request(self, stopped: Job) -> None:
        outcome = rescue_outcome(stopped, [], self.HOW)
        assert (outcome.state, outcome.reason) == (JobState.CANCELLED, Reason.CANCELLED)
        assert outcome.message.startswith("cancelled on request; its workflow was terminated")

    def test_an_earlier_lease_says_nothing(self) -> None:
        first = lease(state=LeaseState.RELEASING, run_state=RunState.EXITED, exit_code=0)
        second = lease(key=lease_key(JOB, 2), attempt=2, state=LeaseState.ACTIVE)
        assert rescue_outcome(job(JobState.RUNNING), [first, second], self.HOW).exit_code is None
