"""Plans carried out in any order, with crashes: every group ends and keeps its word."""

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cortex.domain.groups.plan import Plan, plan
from cortex.domain.groups.rules import GroupRules
from cortex.domain.groups.snapshot import Member
from cortex.domain.groups.states import GROUP_TRANSITIONS
from cortex.domain.states import JobState
from tests.domain.groups.builders import BEST_EFFORT, NOW, gang, group, member


class TestAnyOrder:
    """A small world that carries out the plans and moves members by chance, to its end."""

    @pytest.mark.parametrize("seed", range(60))
    def test_every_group_ends_and_keeps_its_word(self, seed: int) -> None:
        World(random.Random(seed)).run()


class World:
    """Members as their workflows move them; a plan is carried out, or lost with its maker."""

    _NEXT = {
        JobState.PLACING: (JobState.DEPLOYING, JobState.DEPLOYING, JobState.SETTLING),
        JobState.DEPLOYING: (JobState.PLACING, JobState.SETTLING),
        JobState.RUNNING: (JobState.SETTLING,),
        JobState.CANCELLING: (JobState.SETTLING,),
    }

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        atomic = chance.random() < 0.6
        rules = GroupRules(fail_fast=chance.random() < 0.5) if atomic else BEST_EFFORT
        rules = replace(rules, commit_failure=chance.choice(["compensate", "retry"]))
        if not atomic:
            rules = replace(rules, concurrency=chance.choice([None, 1, 2]))
        first = [member(f"a[{i}]") for i in range(chance.randint(1, 3))]
        second = [member(f"b[{i}]", 1) for i in range(chance.randint(0, 3))]
        needs = gang(1, needs=tuple(member.name for member in first))
        gangs = (gang(), needs) if second else (gang(),)
        self.group = group(*first, *second, gangs=gangs, rules=rules)
        self.now = NOW

    def run(self) -> None:
        for _ in range(5_000):
            if self.group.state.terminal:
                return
            self.now += timedelta(seconds=self.chance.choice([1, 20, 200]))
            if self.chance.random() < 0.5:
                self.carry_out(plan(self.group, self.now))
            self.move()
            self.check()
        raise AssertionError(f"the group does not end: {self.group}")

    def put(self, member_id: str, **changes: Any) -> None:
        members = tuple(
            replace(member, **changes) if member.id == member_id else member
            for member in self.group.members
        )
        self.group = replace(self.group, members=members)

    def carry_out(self, made: Plan) -> None:
        gangs = dict(self.group.gangs)
        for decision in made.decisions:
            if gangs[decision.gang].decision is None:
                gangs[decision.gang] = replace(
                    gangs[decision.gang], decision=decision.decided, reason=decision.reason
                )
        for start in made.starts:
            old = gangs[start.gang]
            gangs[start.gang] = replace(
                old, started_at=old.started_at or self.now, deadline_at=start.deadline_at
            )
            for started_id in start.members:
                self.put(started_id, held=False, state=JobState.PLACING)
        self.group = replace(self.group, gangs=gangs)
        for ending in made.close:
            self.put(ending.member, state=JobState.CANCELLED, reason=ending.undo.cause, asked=True)
        for ending in made.cancel:
            self.put(ending.member, state=JobState.CANCELLING, reason=ending.undo.cause, asked=True)
        if made.enter is not None:
            assert made.enter in GROUP_TRANSITIONS[self.group.state]
            self.group = replace(self.group, state=made.enter)
        if made.end is not None:
            self.group = replace(self.group, state=made.end.state)

    def move(self) -> None:
        if self.chance.random() < 0.01:
            self.group = replace(self.group, cancel_requested=True)
        member = self.chance.choice(self.group.members)
        if member.held:
            if member.waiting and self.chance.random() < 0.01:
                self.put(member.id, state=JobState.CANCELLING, asked=True)
            return
        decision = self.group.gangs[member.gang].decision
        if member.state == JobState.SETTLING:
            ended = JobState.CANCELLED if member.asked else self.outcome(member)
            self.put(member.id, state=ended, exit_code=int(ended == JobState.FAILED))
        elif member.ready and (decision == "committed" or not self.group.rules.atomic):
            fell = self.chance.random() < 0.2
            state = JobState.SETTLING if fell else JobState.RUNNING
            self.put(member.id, ready=False, state=state, committed=not fell)
        elif not member.ready and member.state in self._NEXT:
            state = self.chance.choice(self._NEXT[member.state])
            self.put(member.id, state=state, ready=state == JobState.DEPLOYING)
        elif member.state == JobState.CANCELLING:
            self.put(member.id, state=JobState.SETTLING, ready=False)

    def outcome(self, member: Member) -> JobState:
        well = member.committed and self.chance.random() < 0.8
        return JobState.COMPLETED if well else JobState.FAILED

    def check(self) -> None:
        """No member is live without the decision of its gang; none begins before what it needs."""
        for each in self.group.members:
            gang = self.group.gangs[each.gang]
            if each.committed and self.group.rules.atomic:
                assert gang.decision == "committed"
            if not each.held:
                needed = {other.id: other for other in self.group.members}
                assert all(needed[name].state == JobState.COMPLETED for name in gang.needs)
        limit = self.group.rules.concurrency
        busy = [each for each in self.group.members if not each.held and not each.state.terminal]
        assert limit is None or len(busy) <= limit
