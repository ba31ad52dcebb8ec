"""The order of a group: members, who needs whom, and which of them begin together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Final

from cortex.domain.errors import FieldError
from cortex.domain.groups.spec import GroupJob
from cortex.domain.patterns import is_pattern, related
from cortex.domain.spec import JobSpec
from cortex.domain.spec.inputs import MAX_INPUTS, Input, both_put, placed

GROUP_ID: Final = "CORTEX_GROUP_ID"

MAX_NEEDS: Final = 20_000
"""Pairs of members of which one needs the other. Two arrays of 500 would make 250,000."""


@dataclass(frozen=True)
class ExpandedJob:
    """One job of a group after expansion.

    Attributes:
        name: Its name in the group: `prep`, `train[3]` or `train[lr=0.1,seed=2]`.
        spec: Its job; `inputs` name members.
        array: The name of the job in the group spec that it was made of.
        needs: The members that must complete before it.
        gang: The number of its gang: all that need the same begin together.
    """

    name: str
    spec: JobSpec
    array: str
    index: int
    count: int
    params: Mapping[str, str]
    needs: tuple[str, ...] = ()
    gang: int = 0

    def job(self, group_id: str, ids: Mapping[str, str]) -> JobSpec:
        """The spec to store: it knows its group, and inputs come from job ids."""
        changes: dict[str, Any] = {}
        if self.spec.render is None:
            changes["env"] = {**self.spec.env, GROUP_ID: group_id}
        if self.spec.inputs:
            changes["inputs"] = tuple(
                source.model_copy(update={"source": ids[source.source]})
                for source in self.spec.inputs
            )
        return self.spec.model_copy(update=changes) if changes else self.spec


def check_order(jobs: Sequence[GroupJob]) -> list[FieldError]:
    """A cycle between jobs, if there is one; `after` entries that name no job are left out."""
    places = {job.array: number for number, job in enumerate(jobs)}
    edges = [[places[name] for name in map(_array_of, job.after) if name in places] for job in jobs]
    cycle = _cycle(edges)
    if cycle is None:
        return []
    names = [jobs[number].array for number in cycle]
    if len(names) == 2:
        message = f"`{names[0]}` cannot need itself"
    else:
        message = f"the jobs wait for each other: {' -> '.join(names)}"
    return [FieldError(field=f"jobs[{cycle[0]}].after", message=message)]


@dataclass
class Needs:
    """Links members to those they need.

    Attributes:
        members: All of the group.
        after: For each member the number of its job in the spec, and what that says in `after`.
    """

    members: Sequence[ExpandedJob]
    after: Mapping[str, tuple[int, tuple[str, ...]]]
    errors: list[FieldError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._by_name = {member.name: member for member in self.members}
        self._arrays: dict[str, list[ExpandedJob]] = {}
        for member in self.members:
            self._arrays.setdefault(member.array, []).append(member)
        self._known: dict[tuple[int, tuple[str, ...]], tuple[str, ...]] = {}

    def linked(self) -> list[ExpandedJob]:
        """The members with their needs, gangs, and inputs from members; see also `errors`."""
        gangs: dict[frozenset[str], int] = {}
        members: list[ExpandedJob] = []
        pairs = 0
        for member in self.members:
            number, after = self.after[member.name]
            needs = self._needs(number, after)
            pairs += len(needs)
            if pairs > MAX_NEEDS:
                self._too_many(number)
                break
            gang = gangs.setdefault(frozenset(needs), len(gangs))
            linked = replace(member, needs=needs, gang=gang)
            if member.spec.inputs:
                linked = self._with_inputs(number, linked)
            members.append(linked)
        return members

    def _needs(self, number: int, after: tuple[str, ...]) -> tuple[str, ...]:
        known = self._known.get((number, after))
        if known is None:
            names: dict[str, None] = {}
            for name in after:
                sources = self._sources(name)
                if not sources:
                    self._wrong(f"jobs[{number}].after", self._no_job(name))
                names.update((source.name, None) for source in sources)
            known = self._known[number, after] = tuple(names)
        return known

    def _sources(self, name: str) -> list[ExpandedJob]:
        """The members of an array, or the one with this name, or none."""
        if name in self._arrays:
            return self._arrays[name]
        return [self._by_name[name]] if name in self._by_name else []

    def _no_job(self, name: str) -> str:
        array = self._arrays.get(_array_of(name))
        if array is None:
            known = ", ".join(f"`{array_name}`" for array_name in list(self._arrays)[:10])
            return f"there is no job `{name[:80]}`; known are {known}"
        if len(array) == 1 and array[0].name == array[0].array:
            return f"there is no job `{name[:80]}`: `{array[0].name}` is no array"
        ends = f"`{array[0].name}` to `{array[-1].name}`"
        return f"there is no job `{name[:80]}`; the array has {ends}"

    def _with_inputs(self, number: int, member: ExpandedJob) -> ExpandedJob:
        needs = frozenset(member.needs)
        inputs: list[Input] = []
        for position, wanted in enumerate(member.spec.inputs):
            place = f"jobs[{number}].inputs[{position}]"
            sources = self._sources(wanted.source)
            if not sources:
                self._wrong(f"{place}.from", self._no_job(wanted.source))
            elif not needs.issuperset(source.name for source in sources):
                message = f"`{wanted.source}` is not needed by this job; name it in `after` too"
                self._wrong(f"{place}.from", message)
            else:
                inputs += self._from(place, wanted, sources)
        self._twice(number, inputs)
        if len(inputs) > MAX_INPUTS:
            message = f"give {len(inputs):,} inputs, and a job has at most {MAX_INPUTS:,}"
            self._wrong(f"jobs[{number}].inputs", message)
        return replace(member, spec=member.spec.model_copy(update={"inputs": tuple(inputs)}))

    def _twice(self, number: int, inputs: Sequence[Input]) -> None:
        """Refuse two files of one name in one folder, as far as declared outputs tell.

        What may be a folder may hold other names: that is seen when they are packed.
        """
        there: dict[str, str] = {}
        for wanted in inputs:
            for output in self._by_name[wanted.source].spec.kept():
                name = placed(wanted, output.removeprefix("./").lstrip("/"))
                if name is None or is_pattern(output) or not _is_file(output):
                    continue
                source = there.setdefault(name, wanted.source)
                if source != wanted.source:
                    message = both_put(name, source, wanted.source)
                    self._wrong(f"jobs[{number}].inputs", message)
                    return

    def _from(self, place: str, wanted: Input, sources: Sequence[ExpandedJob]) -> list[Input]:
        for source in sources:
            wrong = _not_kept(wanted, source)
            if wrong:
                self._wrong(*(f"{place}.{wrong[0]}", wrong[1]))
                return []
        whole = sources[0].array == wanted.source and sources[0].name != wanted.source
        if not whole:
            return [wanted.model_copy(update={"source": source.name}) for source in sources]
        return [_in_folder(wanted, source) for source in sources]

    def _too_many(self, number: int) -> None:
        message = (
            f"makes more than {MAX_NEEDS:,} pairs of members that need each other; "
            "put one small job between two large arrays"
        )
        self._wrong(f"jobs[{number}].after", message)

    def _wrong(self, where: str, message: str) -> None:
        error = FieldError(field=where, message=message)
        if error not in self.errors:
            self.errors.append(error)


def _not_kept(wanted: Input, source: ExpandedJob) -> tuple[str, str] | None:
    kept = source.spec.kept()
    if not kept:
        return "from", f"`{source.name}` keeps no files: give it `outputs`"
    if wanted.path is None:
        return None
    if any(related(name, wanted.path) for name in kept):
        return None
    names = ", ".join(f"`{name}`" for name in kept[:5])
    return "path", f"`{wanted.path}` is not among the outputs of `{source.name}`: {names}"


def _is_file(output: str) -> bool:
    """Whether a declared output looks like a file: its name has an end, as `.txt`."""
    return not output.endswith("/") and "." in PurePosixPath(output).name.lstrip(".")


def _in_folder(wanted: Input, source: ExpandedJob) -> Input:
    to = str(source.index) if wanted.to == "." else f"{wanted.to}/{source.index}"
    return wanted.model_copy(update={"source": source.name, "to": to})


def _array_of(name: str) -> str:
    return name.partition("[")[0]


def _cycle(edges: Sequence[Sequence[int]]) -> list[int] | None:
    """One cycle, first and last alike, or none."""
    done: set[int] = set()
    for start in range(len(edges)):
        path: list[int] = []
        place: dict[int, int] = {}
        todo: list[tuple[int, int]] = [(start, 0)]
        while todo:
            node, step = todo.pop()
            if step == 0:
                if node in done:
                    continue
                place[node] = len(path)
                path.append(node)
            if step < len(edges[node]):
                todo.append((node, step + 1))
                following = edges[node][step]
                if following in place:
                    return [*path[place[following] :], following]
                todo.append((following, 0))
            else:
                done.add(node)
                del place[node]
                path.pop()
    return None
