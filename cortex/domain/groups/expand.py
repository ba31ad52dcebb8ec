"""Groups: the spec that a user writes, and its members: `expand`."""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import ValidationError

from cortex.domain.conditions.kernel import word_errors
from cortex.domain.errors import FieldError, InvalidRequest, field_errors
from cortex.domain.groups.order import GROUP_ID, ExpandedJob, Needs, check_order
from cortex.domain.groups.placeholders import fill
from cortex.domain.groups.spec import GroupJob, GroupSpec, job_errors
from cortex.domain.spec import JobSpec

__all__ = ["GROUP_ID", "GroupJob", "GroupSpec", "ExpandedJob", "expand"]

_FILLED: Final = frozenset(
    {"name", "command", "args", "env", "outputs", "inputs", "labels", "after"}
)
_NAMED: Final = ("name", "after")
_OF_ARRAYS: Final = ("index", "count")
"""A job that is no array has neither: elsewhere than in names they stay as they stand there."""
_NOTHING: Final[tuple[str, ...]] = ()
_SIMPLE = re.compile(r"[\w.+:/-]{1,32}")
_MAX_NAME: Final = 120


def expand(spec: GroupSpec) -> list[ExpandedJob]:
    """The members of a group, in the order of the spec.

    Raises:
        InvalidRequest: one entry per wrong field.
    """
    _refuse(job_errors(spec))
    _refuse(check_order(spec.jobs))
    work = _Work(spec)
    members = [
        member for number, job in enumerate(spec.jobs) for member in work.members(number, job)
    ]
    _refuse(work.errors)
    needs = Needs(members, work.after)
    members = needs.linked()
    _refuse(needs.errors)
    return members


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        names = ", ".join(f"`{problem.field}` {problem.message}" for problem in errors[:3])
        raise InvalidRequest(f"the group spec is not valid: {names}", errors=errors)


@dataclass
class _Work:
    """Members made so far, and what was wrong with them."""

    spec: GroupSpec
    errors: list[FieldError] = field(default_factory=list)
    after: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)

    def members(self, number: int, job: GroupJob) -> Iterator[ExpandedJob]:
        """The members of one job of the spec; ends at the first that is wrong."""
        merged = _merged({"labels": self.spec.labels}, self.spec.defaults.fields())
        merged = _merged(merged, job.fields())
        named = "{" in job.name or not job.many
        merged["name"] = job.name if named else f"{job.array}-{{index}}"
        simple = _simple_names(job)
        count = job.size()
        for index, params in enumerate(_combinations(job)):
            name = job.array if not job.many else _name(job, index, params if simple else {})
            values = {
                "index": str(index),
                "count": str(count),
                "member": name,
                "group": self.spec.name,
                **params,
            }
            member = ExpandedJob(name, _EMPTY, job.array, index, count, params)
            made = self._filled(number, job, merged, values, member)
            if made is None:
                return
            yield made

    def _filled(
        self,
        number: int,
        job: GroupJob,
        merged: Mapping[str, Any],
        values: Mapping[str, str],
        member: ExpandedJob,
    ) -> ExpandedJob | None:
        place = f"jobs[{number}]"
        fields = dict(merged)
        which = f" (in `{member.name}`)" if member.count > 1 else ""
        fields["after"] = list(job.after)
        for name in fields.keys() & _FILLED:
            known, left = values, _NOTHING
            if not job.many and name not in _NAMED:
                known, left = {k: v for k, v in values.items() if k not in _OF_ARRAYS}, _OF_ARRAYS
            try:
                fields[name] = fill(fields[name], known, left)
            except ValueError as error:
                self._wrong(f"{place}.{name}", f"{error}{which}")
                return None
        self.after[member.name] = (number, tuple(fields.pop("after")))
        try:
            made = JobSpec.model_validate(fields)
        except ValidationError as error:
            self._invalid(place, job, field_errors(error), which if member.index else "")
            return None
        long = word_errors(made)
        if long:
            self._invalid(place, job, long, which if member.index else "")
            return None
        taken = self._variables(member, values)
        clash = min({*taken, GROUP_ID} & {*made.env, *made.secret_env}, default=None)
        if clash is not None:
            self._wrong(f"{place}.env.{clash}", "is set by the group; choose another name")
            return None
        if made.render is None:
            made = made.model_copy(update={"env": {**made.env, **taken}})
        return replace(member, spec=made)

    def _variables(self, member: ExpandedJob, values: Mapping[str, str]) -> dict[str, str]:
        return {
            "CORTEX_GROUP_NAME": self.spec.name,
            "CORTEX_MEMBER": member.name,
            "CORTEX_INDEX": values["index"],
            "CORTEX_COUNT": values["count"],
            **{f"CORTEX_PARAM_{name.upper()}": value for name, value in member.params.items()},
        }

    def _invalid(self, place: str, job: GroupJob, errors: list[FieldError], which: str) -> None:
        """Errors of a job spec, each said of the part of the group spec that it stands in."""
        own, under = job.fields(), self.spec.defaults.fields()
        for problem in errors:
            top = re.split(r"[.\[]", problem.field, maxsplit=1)[0]
            if problem.field == "spec":
                self._wrong(place, f"{problem.message}{which}")
            elif top == "name" or top in own or (top not in under and top != "labels"):
                self._wrong(f"{place}.{problem.field}", f"{problem.message}{which}")
            else:
                where = f"defaults.{problem.field}" if top in under else problem.field
                self._wrong(where, problem.message)

    def _wrong(self, where: str, message: str) -> None:
        error = FieldError(field=where, message=message)
        if error not in self.errors:
            self.errors.append(error)


_EMPTY: Final = JobSpec(command=("true",))


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged field by field; anything else is replaced."""
    merged = dict(under)
    for name, value in over.items():
        below = merged.get(name)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[name] = _merged(below, value)
        else:
            merged[name] = value
    return merged


def _combinations(job: GroupJob) -> Iterator[dict[str, str]]:
    if job.matrix is None:
        yield from ({} for _ in range(job.size()))
        return
    for values in itertools.product(*job.matrix.values()):
        yield dict(zip(job.matrix, values, strict=True))


def _simple_names(job: GroupJob) -> bool:
    """Whether values may stand in the names of members: short, and not to be misread."""
    if job.matrix is None:
        return False
    longest = sum(
        len(name) + 2 + max(len(value) for value in values) for name, values in job.matrix.items()
    )
    plain = all(_SIMPLE.fullmatch(value) for values in job.matrix.values() for value in values)
    return plain and len(job.array) + longest <= _MAX_NAME


def _name(job: GroupJob, index: int, params: Mapping[str, str]) -> str:
    inside = ",".join(f"{name}={value}" for name, value in params.items()) or str(index)
    return f"{job.array}[{inside}]"
