"""Which faults to try: every kind at every call that a job makes, and pairs of them.

The calls are learnt from a job on a good day. A place is the n-th call that fits a pattern (ids in
paths are replaced by `*`); counting is done by the simulators' own rules, so that a rule strikes
exactly there.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simulators.kit.faults import FAULTS, Rule

_AN_ID = re.compile(r"(?=.*\d)(?!v\d+(beta\d+)?$)(?=.{5,})|^\d+$|^[1-9A-HJ-NP-Za-km-z]{32,}$|^job_")


@dataclass(frozen=True)
class Call:
    """A call as a simulator saw it."""

    method: str
    path: str
    fault: str | None = None

    @property
    def pattern(self) -> str:
        """Its method and path, with `*` for ids."""
        parts = ["*" if _AN_ID.search(part) else part for part in self.path.split("/")]
        return f"{self.method} {'/'.join(parts)}"


@dataclass(frozen=True)
class Place:
    """The call number `skip` (from 0) of those that fit."""

    match: str
    skip: int

    def __str__(self) -> str:
        return f"{self.match} #{self.skip + 1}"


@dataclass(frozen=True)
class Fault:
    """One fault at one place."""

    kind: str
    place: Place

    def rule(self) -> dict[str, Any]:
        """As the simulator takes it."""
        return {
            "match": self.place.match,
            "fault": self.kind,
            "skip": self.place.skip,
            "seconds": 0.5,
            "retry_after": 0.2,
        }

    def at_the_last(self, calls: Sequence[Call]) -> "Fault | None":
        """The same at the last of these calls that fits; None if none does."""
        rule = Rule(match=self.place.match, fault="latency")
        fitting = sum(1 for call in calls if rule.fits(call.method, call.path))
        return Fault(self.kind, Place(self.place.match, fitting - 1)) if fitting else None

    def __str__(self) -> str:
        return f"{self.kind} at {self.place}"


def places(calls: Sequence[Call]) -> list[Place]:
    """Where each of these calls is to be met again."""
    places: list[Place] = []
    for number, call in enumerate(calls):
        rule = Rule(match=call.pattern, fault="latency")
        before = sum(1 for other in calls[:number] if rule.fits(other.method, other.path))
        places.append(Place(call.pattern, before))
    return places


def singles(at: Sequence[Place]) -> list[Fault]:
    """Every fault at every place; a stale answer is one of a read."""
    return [
        Fault(kind, place)
        for place in at
        for kind in FAULTS
        if kind != "stale" or place.match.startswith("GET ")
    ]


def spread(faults: Sequence[Fault], count: int, seed: str) -> list[Fault]:
    """So many of them: other kinds and places for every seed, and each kind as often as it goes."""
    chance = random.Random(seed)
    by_kind = {kind: [fault for fault in faults if fault.kind == kind] for kind in FAULTS}
    chosen: list[Fault] = []
    while len(chosen) < min(count, len(faults)):
        for some in by_kind.values():
            if some and len(chosen) < count:
                chosen.append(some.pop(chance.randrange(len(some))))
    return chosen


def pairs(faults: Sequence[Fault], count: int, seed: str) -> list[tuple[Fault, Fault]]:
    """Random pairs of different places."""
    chance = random.Random(seed)
    chosen: list[tuple[Fault, Fault]] = []
    while len(chosen) < count:
        first, second = chance.sample(list(faults), 2)
        if first.place != second.place:
            chosen.append((first, second))
    return chosen
