"""A status changes after several checks, not after one."""

from collections.abc import Sequence

import pytest

from cortex.domain.providers.health import CheckGrade, HealthRules, HealthState

RULES = HealthRules(failures=3, successes=2)


def statuses(verdicts: Sequence[CheckGrade], start: str = "online") -> list[str]:
    standing = HealthState.model_validate({"status": start})
    told: list[str] = []
    for verdict in verdicts:
        standing = standing.after(verdict, RULES)
        told.append(standing.status)
    return told


@pytest.mark.parametrize(
    ("verdict", "status"), [("good", "online"), ("slow", "degraded"), ("bad", "offline")]
)
def test_the_first_check_counts_at_once(verdict: CheckGrade, status: str) -> None:
    assert HealthState().after(verdict, RULES, first=True).status == status


def test_goes_down_after_failures_in_a_row() -> None:
    assert statuses(["bad", "bad", "good", "bad", "bad", "bad"]) == ["online"] * 5 + ["offline"]


def test_comes_up_after_successes_in_a_row() -> None:
    seen = statuses(["good", "bad", "good", "good"], start="offline")
    assert seen == ["offline"] * 3 + ["online"]


def test_slow_ones_degrade() -> None:
    assert statuses(["slow", "slow", "slow"]) == ["online", "online", "degraded"]
    assert statuses(["slow", "good", "slow", "slow"]) == ["online"] * 4
    assert statuses(["good", "good"], start="degraded") == ["degraded", "online"]


def test_slow_and_bad_ones_together_degrade() -> None:
    assert statuses(["bad", "slow", "bad", "slow"])[-1] == "degraded"


def test_a_slow_network_comes_back_as_degraded() -> None:
    assert statuses(["slow", "slow"], start="offline") == ["offline", "degraded"]
