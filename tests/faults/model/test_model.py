"""The protocol of jobs and groups, explored as a model: nothing leaks, nothing is paid twice, all
or nothing holds, and an end stays in reach, whatever crashes, whenever, and whatever is answered.

The planner of groups, the rules of a job's end and the legal moves are the real ones. A protocol
that is broken on purpose must be found out, or the exploration proves nothing.
"""

import sys
import time
from dataclasses import replace

import pytest

from cortex.domain.groups.plan import Plan, plan
from cortex.domain.groups.snapshot import Snapshot
from cortex.domain.jobs import Outcome
from cortex.temporal.contracts import JobInput
from tests.faults.model import group, job
from tests.faults.model.explore import Found, explore
from tests.faults.model.state import Mutation, Setup
from tests.faults.report import Row, full, record
from workflows.decisions import LeaseEnd, Retry, Tally, decide

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

ALONE = Setup(trouble=2, losses=0, late=1, cancels=1)
"""Two things go wrong (a try dies or stalls, a call is lost or late), and the user cancels."""
CAREFUL = Setup(trouble=1, cancels=1, retries_on_failure=1, idempotent=True, reconcile=False)
"""On a network that knows its keys nothing may be left, even if nobody reconciles."""
PLAIN = Setup(trouble=2, losses=1, cancels=1, reconcile=False, stalls=False)
"""On one that does not: the same, unless two tries run at once or a call lands late."""
PAIR = Setup(gangs=(0, 0), grouped=True, trouble=1)
SMALL = PAIR._replace(fails=False, stalls=False, offers=1)
"""What is left of it where more goes wrong at once: its commands succeed, tries die for good."""
CHAIN = Setup(gangs=(0, 1), grouped=True, trouble=1)

QUICK = {
    "one job": ALONE,
    "one job, keys known, nobody reconciles": CAREFUL,
    "one job, dying only, nobody reconciles": PLAIN,
    "one job, reserved and committed in two steps": CAREFUL._replace(apart=True),
    "gang of 2": PAIR,
    "gang of 2, cancelled": PAIR._replace(trouble=0, cancels=1, fails=False),
    "2 in a row": CHAIN,
}
FULL = {
    "one job, two steps": ALONE._replace(apart=True),
    "one job, retries": ALONE._replace(losses=1, retries_on_failure=1),
    "one job, 3 troubles": ALONE._replace(trouble=3, losses=1),
    "gang of 2, cancelled, lost": PAIR._replace(cancels=1, losses=1, trouble=0),
    "gang of 2, cancelled, in trouble": SMALL._replace(cancels=1),
    "gang of 2, late calls": SMALL._replace(late=1, offers=2),
    "gang of 2, commit is tried again": SMALL._replace(commit_failure="retry", offers=2),
    "gang of 2, 2 troubles": SMALL._replace(trouble=2),
    "gang of 3": SMALL._replace(gangs=(0, 0, 0)),
    "2 in a row, cancelled": CHAIN._replace(cancels=1, stalls=False),
    "2, then 1": PAIR._replace(gangs=(0, 0, 1), trouble=0, cancels=1),
}


def setups() -> dict[str, Setup]:
    return {**QUICK, **FULL} if full() else QUICK


class TestPromise:
    @pytest.mark.parametrize("name", setups())
    def test_holds_in_every_state(self, name: str) -> None:
        began = time.monotonic()
        exploration = explore(setups()[name])
        took = time.monotonic() - began
        sys.stdout.write(f"model: {name}: {exploration}\n")
        assert not exploration.violation, str(exploration)
        assert exploration.ends
        record(
            Row(
                part="model",
                # States of a model are no faults that struck: they are not to be summed with those.
                scenario=f"{name}: {exploration.states:,} states",
                seconds=took,
            )
        )


class TestMutations:
    """Each mistake is found, and without it nothing is."""

    @pytest.mark.parametrize(
        ("mutation", "setup", "words"),
        [
            (Mutation.NO_INTENT, PLAIN, "which is written nowhere"),
            (Mutation.BLIND_RETRY, PLAIN, "the network still holds lease"),
            (Mutation.UNCONFIRMED_RELEASE, PLAIN, "the network still holds lease"),
            (Mutation.UNGUARDED_CHARGE, PLAIN, "is charged twice"),
            (Mutation.NO_DECISION, PAIR._replace(trouble=0), "one of it was started"),
            (Mutation.ABORT_AFTER_COMMIT, PAIR._replace(trouble=0), "committed to aborted"),
            (Mutation.STUCK_HELD, CHAIN._replace(trouble=0), "no end can be reached"),
        ],
    )
    def test_is_found(self, mutation: Mutation, setup: Setup, words: str) -> None:
        assert not explore(setup).violation
        exploration = explore(setup._replace(mutation=mutation))
        assert words in exploration.violation, str(exploration)
        assert exploration.trace

    def test_a_call_that_lands_late_needs_reconcile(self) -> None:
        """What no client can promise: it is found out here, and closed there."""
        exploration = explore(ALONE._replace(reconcile=False))
        assert "the network still holds lease" in exploration.violation
        assert "0: acquire asks, and its call is held up" in exploration.trace

    def test_two_tries_at_once_need_reconcile_where_keys_are_not_known(self) -> None:
        exploration = explore(PLAIN._replace(trouble=1, stalls=True))
        assert "the network still holds lease" in exploration.violation
        assert any("stalls" in label for label in exploration.trace)


class TestOurCode:
    """The rules that are explored are those of the product: a mistake there is found as well."""

    def test_a_planner_that_forgets_needs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def careless(snapshot: Snapshot, now: object) -> Plan:
            gangs = {
                number: replace(gang, needs=frozenset()) for number, gang in snapshot.gangs.items()
            }
            return plan(replace(snapshot, gangs=gangs), group.NOW)

        monkeypatch.setattr(group, "plan", careless)
        assert "before what it needs" in self._explored(CHAIN).violation

    def test_a_planner_that_leaves_the_others_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def careless(snapshot: Snapshot, now: object) -> Plan:
            return replace(plan(snapshot, group.NOW), close=())

        monkeypatch.setattr(group, "plan", careless)
        assert "no end can be reached" in self._explored(CHAIN).violation

    def test_a_rule_that_starts_a_finished_command_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def careless(end: LeaseEnd, job: JobInput, tally: Tally) -> Outcome | Retry:
            return decide(replace(end, exit_code=1) if end.exit_code == 0 else end, job, tally)

        monkeypatch.setattr(job, "decide", careless)
        counterexample = self._explored(ALONE._replace(retries_on_failure=1))
        assert "had succeeded was started again" in counterexample.violation

    def _explored(self, setup: Setup) -> Found:
        return explore(setup._replace(trouble=0))
