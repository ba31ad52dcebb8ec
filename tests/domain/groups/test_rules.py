"""The rules of a group, read from what was stored, and its states."""

from datetime import timedelta

import pytest

from cortex.domain.groups.rules import ArrayRules, GroupRules, array_of
from cortex.domain.groups.states import (
    GROUP_TRANSITIONS,
    TERMINAL_GROUP_STATES,
    GroupState,
    group_sources,
)


class TestRules:
    def test_defaults_by_policy(self) -> None:
        atomic, single = GroupRules.of({}), GroupRules.of({"policy": "best_effort"})
        assert (atomic.fail_fast, atomic.commit_failure) == (True, "compensate")
        assert (single.fail_fast, single.commit_failure) == (False, "retry")

    def test_reads_what_was_written(self) -> None:
        rules = GroupRules.of(
            {
                "policy": "best_effort",
                "prepare_timeout": "90s",
                "concurrency": 7,
                "fail_fast": True,
                "jobs": [
                    {"name": "x-{index}", "count": 3, "concurrency": 2},
                    {"name": "y", "fail_fast": False},
                    {"name": "z"},
                ],
            }
        )
        assert rules.prepare_timeout == timedelta(seconds=90)
        assert (rules.concurrency, rules.fail_fast) == (7, True)
        assert rules.array("x[1]").concurrency == 2
        assert rules.array("y").fail_fast is False
        assert rules.array("z") == ArrayRules()

    @pytest.mark.parametrize(
        ("name", "array"),
        [("a", "a"), ("a-", "a-"), ("a[3]", "a"), ("a[lr=0.1,s=2]", "a"), ("a-{index}", "a")],
    )
    def test_array_of_a_member(self, name: str, array: str) -> None:
        assert array_of(name) == array


class TestStates:
    def test_no_way_back(self) -> None:
        order = list(GroupState)
        for state, targets in GROUP_TRANSITIONS.items():
            assert all(order.index(target) > order.index(state) for target in targets)
        assert group_sources(GroupState.COMPLETED) == set(GroupState) - TERMINAL_GROUP_STATES
