"""Every statement moves jobs, leases and groups only as the domain allows it."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import TextClause

import cortex.db
from cortex.db.direct import Direct
from cortex.domain.groups.states import GroupState, group_sources
from cortex.domain.states import (
    TERMINAL_JOB_STATES,
    JobState,
    LeaseState,
    job_sources,
    lease_sources,
)

MOVE = re.compile(
    r"UPDATE (jobs|leases|job_groups) SET (.*?)\bWHERE\b(.*?)(?=\bRETURNING\b|\bEXISTS\b|\)|$)"
)
TO = re.compile(r"(?:^|, )state = (?:'(\w+)'|(:state)|CASE WHEN .*? THEN '(\w+)' ELSE state END)")
FROM = re.compile(r"(?<![\w.])state (?:= '(\w+)'|IN (<[^>]*>))")
BY_HAND = re.compile(r"\bstate (?:=|<>|(?:NOT )?IN) \(?'[a-z]")
MADE = Path(cortex.db.__file__).parent


class Move(NamedTuple):
    name: str
    target: StrEnum
    sources: set[StrEnum]


def moves() -> Iterator[Move]:
    """Every move of a state in a named statement, with the states that it says it comes from."""
    for module in pkgutil.walk_packages(cortex.db.__path__, "cortex.db."):
        if ".migrations" in module.name:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            statement = value.statement if isinstance(value, Direct) else value
            if isinstance(statement, TextClause):
                yield from moves_of(name, statement.text)


def moves_of(name: str, statement: str) -> Iterator[Move]:
    text = re.sub(r"(IN) \(([^()]*)\)", r"\1 <\2>", " ".join(statement.split()))
    text = re.sub(r"ANY\([^()]*\)", "ANY", text)
    for table, changes, where in MOVE.findall(text):
        kind: type[StrEnum] = {"jobs": JobState, "leases": LeaseState}.get(table, GroupState)
        to = TO.search(changes)
        if to is None:
            continue
        fixed = to[1] or to[3]
        targets = [kind(fixed)] if fixed else sorted(TERMINAL_JOB_STATES)
        said = changes[to.start() : to.end()] if to[3] else where
        sources: set[StrEnum] = set()
        for one, several in FROM.findall(said):
            sources |= {kind(state) for state in re.findall(r"\w+", one or several)}
        yield from (Move(name, target, sources) for target in targets)


ALL = list(dict.fromkeys((move.name, move.target, frozenset(move.sources)) for move in moves()))


def legal(target: StrEnum) -> frozenset[StrEnum]:
    if isinstance(target, JobState):
        return job_sources(target)
    if isinstance(target, LeaseState):
        return lease_sources(target)
    return group_sources(GroupState(target))


@pytest.mark.parametrize(("name", "target", "sources"), ALL)
def test_it_comes_from_where_it_may(
    name: str, target: StrEnum, sources: frozenset[StrEnum]
) -> None:
    assert sources, f"{name} moves to {target} from anywhere"
    if name == "LIVE_ENDED" and target is LeaseState.ENDED:
        target = LeaseState.ACTIVE  # it is both at once
    assert sources <= legal(target)


def test_all_steps_are_looked_at() -> None:
    names = {name for name, _, _ in ALL}
    assert names >= {"INTEND", "DEPLOY", "RESERVE", "LIVE", "LIVE_RUNNING", "LIVE_ENDED"}
    assert names >= {"RELEASE", "CLOSE", "STOP", "CANCEL_HELD", "SETTLE_HELD", "END_HELD"}


def test_a_wrong_one_would_be_seen() -> None:
    wrong = "UPDATE jobs SET updated_at = now(), state = 'running' WHERE id = :id RETURNING id"
    assert list(moves_of("W", wrong)) == [Move("W", JobState.RUNNING, set())]
    wrong = "UPDATE leases SET state = 'active' FROM l WHERE key = :k AND state IN ('released')"
    assert list(moves_of("W", wrong)) == [Move("W", LeaseState.ACTIVE, {LeaseState.RELEASED})]


def test_no_statement_writes_a_state_by_hand() -> None:
    wrote = [
        f"{path.relative_to(MADE)}: {statement[0]}"
        for path in sorted(MADE.rglob("*.py"))
        if not {"migrations", "tables"} & set(path.parts)
        for statement in BY_HAND.finditer(path.read_text())
    ]
    assert wrote == []
