"""Which events a webhook wants, and how long it is left alone."""

import random
from datetime import timedelta

import pytest

from cortex.domain.events import EventType
from cortex.domain.rights import Reach
from cortex.domain.webhooks import (
    JobFilter,
    Subject,
    is_visible,
    known_patterns,
    matches,
    pause,
    wants,
)

RED = Subject("ann", "team", {"team": "red", "tier": "a"}, "grp_1")
NOBODY = Subject()


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("job.state.changed", {"job.state.changed"}),
        ("job.state.*", {"job.state.changed"}),
        ("provider.*", {each.value for each in EventType if each.startswith("provider.")}),
        ("*", {each.value for each in EventType}),
        ("job.state", set()),
    ],
)
def test_types(pattern: str, matched: set[str]) -> None:
    assert {each.value for each in EventType if matches(pattern, each.value)} == matched


def test_every_known_pattern_matches_something() -> None:
    patterns = known_patterns()
    assert len(set(patterns)) == len(patterns)
    for pattern in patterns:
        assert any(matches(pattern, each.value) for each in EventType), pattern


@pytest.mark.parametrize(
    ("jobs", "subject", "wanted"),
    [
        (JobFilter(), RED, True),
        (JobFilter(), NOBODY, True),
        (JobFilter(labels={"team": "red"}), RED, True),
        (JobFilter(labels={"team": "red", "tier": "b"}), RED, False),
        (JobFilter(labels={"team": "red"}), NOBODY, False),
        (JobFilter(group="grp_1"), RED, True),
        (JobFilter(group="grp_2"), RED, False),
        (JobFilter(owner="ann"), RED, True),
        (JobFilter(owner="bob"), RED, False),
        (JobFilter(owner="ann"), NOBODY, False),
        (JobFilter(project="team"), RED, True),
        (JobFilter(project="ann"), RED, False),
        (JobFilter(project="team"), NOBODY, False),
    ],
)
def test_jobs(jobs: JobFilter, subject: Subject, wanted: bool) -> None:
    assert wants(("job.*",), jobs, "job.progress", subject) is wanted
    assert not wants(("group.*",), jobs, "job.progress", subject)


def test_who_reaches_to_own_things_only() -> None:
    assert is_visible(Reach.OWN, "ann", ["team"], RED, "ann")
    assert is_visible(Reach.OWN, "ann", [], Subject("ann", "ann"), "ann")
    assert not is_visible(Reach.OWN, "ann", ["other"], RED, "ann")
    assert not is_visible(Reach.OWN, "bob", ["team"], RED, "bob")
    assert not is_visible(Reach.OWN, "bob", ["team"], NOBODY, "bob")
    assert is_visible(Reach.ALL, "bob", [], RED, "bob")
    assert is_visible(Reach.ALL, "bob", [], NOBODY, "bob")


def test_one_of_a_project_gets_what_is_there_alone() -> None:
    for reach in (Reach.OWN, Reach.ALL):
        assert is_visible(reach, "bob", [], RED, "team")
        assert not is_visible(reach, "ann", ["team"], RED, "other")
        assert not is_visible(reach, "ann", ["team"], Subject("ann", "ann"), "team")
        assert not is_visible(reach, "bob", ["team"], NOBODY, "team")


def test_pauses_grow_vary_and_are_bounded() -> None:
    chance, first, longest = random.Random(7), timedelta(seconds=5), timedelta(hours=1)
    for attempts, whole in ((1, 5), (2, 10), (5, 80), (10, 2560), (11, 3600), (500, 3600)):
        pauses = {pause(attempts, first, longest, chance) for _ in range(50)}
        assert len(pauses) > 40
        assert timedelta(seconds=whole / 2) <= min(pauses)
        assert max(pauses) <= timedelta(seconds=whole)
