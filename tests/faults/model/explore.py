"""Every state that can be reached, breadth first; the invariants in each; a trace to what is wrong.

Members, groups and what a coordinator has read are interned: a world is a few numbers, and what a
member may do next is worked out once for each state that it is ever in.
"""

from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from cortex.domain.groups.plan import Plan
from cortex.domain.groups.states import GroupState
from cortex.domain.states import JobState
from tests.faults.model.group import Seen, Shown, carried_out, planned, shown, ticked, with_decision
from tests.faults.model.job import Step, View, steps, wrong
from tests.faults.model.state import GangRow, Group, Left, ModelMember, Setup

T = TypeVar("T")


class World(NamedTuple):
    """Numbers of interned values. `seen`: what a round of the coordinator has read, or -1."""

    members: tuple[int, ...]
    group: int
    seen: int
    left: Left


class _Table(Generic[T]):
    def __init__(self) -> None:
        self.items: list[T] = []
        self._numbers: dict[T, int] = {}

    def number(self, entry: T) -> int:
        number = self._numbers.get(entry)
        if number is None:
            number = self._numbers[entry] = len(self.items)
            self.items.append(entry)
        return number


@dataclass
class Found:
    """What an exploration came to."""

    states: int = 0
    moves: int = 0
    ends: int = 0
    violation: str = ""
    trace: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = f"{self.states:,} states, {self.moves:,} moves, {self.ends:,} ends"
        if not self.violation:
            return told
        return "\n".join([f"{self.violation} (after {told})", *self.trace])


def explore(setup: Setup) -> Found:
    """All that may happen in this setup, or the shortest way to something that must not."""
    return _Explorer(setup).run()


class _Explorer:
    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._members: _Table[ModelMember] = _Table()
        self._groups: _Table[Group] = _Table()
        self._reads: _Table[Seen] = _Table()
        self._steps: dict[tuple[int, View], list[tuple[Step, int]]] = {}
        self._wrong: dict[int, str | None] = {}
        self._plans: dict[int, Plan] = {}
        self._shown: dict[int, Shown] = {}
        self._worlds: dict[World, int] = {}
        self._parents = array("l")
        self._labels: list[str] = []
        self._edges_from, self._edges_to = array("l"), array("l")
        self._ends: list[int] = []
        self._found = Found()

    def run(self) -> Found:
        first = self._first()
        queue = deque([first])
        self._add(first, -1, "begin")
        while queue:
            world = queue.popleft()
            number = self._worlds[world]
            for label, following in self._following(world):
                self._found.moves += 1
                bad = self._flipped(world, following)
                known = self._worlds.get(following)
                if known is None:
                    known = self._add(following, number, label)
                    queue.append(following)
                    bad = bad or self._broken(following)
                self._edges_from.append(number)
                self._edges_to.append(known)
                if bad:
                    return self._violated(bad, known)
        self._found.states = len(self._worlds)
        self._found.ends = len(self._ends)
        stuck = self._stuck()
        return self._violated("no end can be reached from here", stuck) if stuck else self._found

    def _first(self) -> World:
        setup = self._setup
        grouped = setup.grouped
        members = tuple(ModelMember(gang, held=grouped, start=not grouped) for gang in setup.gangs)
        gangs = tuple(GangRow() for _ in range(max(setup.gangs) + 1)) if grouped else ()
        return World(
            tuple(map(self._members.number, members)),
            self._groups.number(Group(gangs=gangs)),
            -1,
            Left(setup.trouble, setup.losses, setup.late, setup.cancels),
        )

    def _add(self, world: World, parent: int, label: str) -> int:
        number = self._worlds[world] = len(self._worlds)
        self._parents.append(parent)
        self._labels.append(label)
        if self._over(world):
            self._ends.append(number)
        return number

    def _following(self, world: World) -> Iterator[tuple[str, World]]:
        group = self._groups.items[world.group]
        for place, number in enumerate(world.members):
            member = self._members.items[number]
            row = group.gangs[member.gang] if group.gangs else GangRow()
            view = View(row.decision, row.clock == 2, world.left)
            for step, after in self._steps_of(number, view):
                yield self._stepped(world, place, step, after, group)
        if self._setup.grouped and not group.state.terminal:
            yield from self._coordinated(world, group)

    def _steps_of(self, number: int, view: View) -> list[tuple[Step, int]]:
        known = self._steps.get((number, view))
        if known is None:
            taken = steps(self._members.items[number], view, self._setup)
            known = [(step, self._members.number(step.after)) for step in taken]
            self._steps[number, view] = known
        return known

    def _stepped(
        self, world: World, place: int, step: Step, after: int, group: Group
    ) -> tuple[str, World]:
        left = world.left
        if step.trouble or step.losses or step.late or step.cancels:
            left = Left(
                left.trouble - step.trouble,
                left.losses - step.losses,
                left.late - step.late,
                left.cancels - step.cancels,
            )
        members = (*world.members[:place], after, *world.members[place + 1 :])
        number = world.group
        if step.writes is not None:
            gang = self._members.items[after].gang
            changed = with_decision(group, gang, step.writes, self._setup)
            number = self._groups.number(changed)
        return f"{place}: {step.what}", self._ordered(World(members, number, world.seen, left))

    def _coordinated(self, world: World, group: Group) -> Iterator[tuple[str, World]]:
        if world.left.cancels and not group.cancel:
            asked = self._groups.number(group._replace(cancel=True))
            left = world.left._replace(cancels=world.left.cancels - 1)
            yield "the user cancels the group", world._replace(group=asked, left=left)
        for gang in range(len(group.gangs)):
            later = ticked(group, gang)
            if later is not None:
                number = self._groups.number(later)
                yield f"time goes on for gang {gang}", world._replace(group=number)
        if world.seen < 0:
            read = self._reads.number(Seen(group, tuple(map(self._shown_of, world.members))))
            if _does_something(self._plan(read)):
                yield "the coordinator reads", world._replace(seen=read)
            return
        made = self._plan(world.seen)
        members = tuple(self._members.items[number] for number in world.members)
        group, members = carried_out(made, group, members, self._setup)
        after = World(
            tuple(map(self._members.number, members)), self._groups.number(group), -1, world.left
        )
        yield "the coordinator writes", self._ordered(after)

    def _shown_of(self, number: int) -> Shown:
        known = self._shown.get(number)
        if known is None:
            known = self._shown[number] = shown(self._members.items[number])
        return known

    def _plan(self, read: int) -> Plan:
        made = self._plans.get(read)
        if made is None:
            made = self._plans[read] = planned(self._reads.items[read], self._setup)
        return made

    def _ordered(self, world: World) -> World:
        """Members of one gang are alike: one order of them stands for all."""
        if len(self._setup.gangs) == 1 or len(set(self._setup.gangs)) > 1 or world.seen >= 0:
            return world
        return world._replace(members=tuple(sorted(world.members)))

    def _over(self, world: World) -> bool:
        members = [self._members.items[number] for number in world.members]
        if not all(member.job.terminal and member.idle for member in members):
            return False
        if any(net.alive for member in members for net in member.nets):
            return False
        return not self._setup.grouped or self._groups.items[world.group].state.terminal

    def _flipped(self, before: World, after: World) -> str | None:
        if before.group == after.group:
            return None
        old, new = self._groups.items[before.group], self._groups.items[after.group]
        if old.state.terminal and new.state is not old.state:
            return f"the group went from {old.state} to {new.state}"
        for was, now in zip(old.gangs, new.gangs, strict=True):
            if was.decision is not None and was.decision != now.decision:
                return f"a decision went from {was.decision} to {now.decision}"
        return None

    def _broken(self, world: World) -> str | None:
        for place, number in enumerate(world.members):
            if number not in self._wrong:
                self._wrong[number] = wrong(self._members.items[number], self._setup)
            bad = self._wrong[number]
            if bad is not None:
                return f"job {place}: {bad}"
        if not self._setup.grouped:
            return None
        members = [self._members.items[number] for number in world.members]
        return _group_broken(self._groups.items[world.group], members)

    def _violated(self, what: str, number: int) -> Found:
        self._found.states, self._found.violation = len(self._worlds), what
        while number > 0:
            self._found.trace.append(self._labels[number])
            number = self._parents[number]
        self._found.trace.reverse()
        return self._found

    def _stuck(self) -> int | None:
        """A world from which no end can be reached any more."""
        total = len(self._worlds)
        before: list[list[int]] = [[] for _ in range(total)]
        for source, target in zip(self._edges_from, self._edges_to, strict=True):
            before[target].append(source)
        good = bytearray(total)
        todo = list(self._ends)
        for number in todo:
            good[number] = 1
        while todo:
            for source in before[todo.pop()]:
                if not good[source]:
                    good[source] = 1
                    todo.append(source)
        first = good.find(0)
        return first if first >= 0 else None


def _does_something(made: Plan) -> bool:
    return bool(made.acts or made.cancel or made.enter)


def _group_broken(group: Group, members: list[ModelMember]) -> str | None:
    """All or nothing: nothing of a gang runs before its decision, and no end hides a part."""
    for number, row in enumerate(group.gangs):
        mine = [member for member in members if member.gang == number]
        ran = any(net.starts for member in mine for net in member.nets)
        if ran and row.decision != "committed":
            return f"gang {number} is {row.decision or 'undecided'} and one of it was started"
        begun = any(not member.held for member in mine)
        before = [member for member in members if member.gang == number - 1]
        if begun and not all(member.job is JobState.COMPLETED for member in before):
            return f"gang {number} has begun before what it needs was completed"
    if not group.state.terminal:
        return None
    if not all(member.job.terminal for member in members):
        return "the group has ended and a member has not"
    completed = all(member.job is JobState.COMPLETED for member in members)
    if completed != (group.state is GroupState.COMPLETED):
        return f"the group is {group.state}, its members are {[m.job.value for m in members]}"
    return None
