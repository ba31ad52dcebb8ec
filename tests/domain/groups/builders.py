"""Groups as a test needs them, in a few words."""

from datetime import UTC, datetime
from typing import Any

from cortex.domain.groups.rules import GroupRules
from cortex.domain.groups.snapshot import Gang, Member, Snapshot
from cortex.domain.groups.states import GroupState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BEST_EFFORT = GroupRules(policy="best_effort", commit_failure="retry", fail_fast=False)


def member(name: str, gang: int = 0, **changes: Any) -> Member:
    return Member(f"job_{name}", name, gang, **changes)


def gang(number: int = 0, *, needs: tuple[str, ...] = (), **changes: Any) -> Gang:
    return Gang(number, frozenset(f"job_{name}" for name in needs), **changes)


def group(*members: Member, gangs: tuple[Gang, ...] = (), **changes: Any) -> Snapshot:
    by_number = {number: Gang(number) for number in {member.gang for member in members}}
    by_number |= {gang.number: gang for gang in gangs}
    values: dict[str, Any] = {"state": GroupState.PENDING, "rules": GroupRules(), **changes}
    return Snapshot("grp_1", members=members, gangs=by_number, **values)
