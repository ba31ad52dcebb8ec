"""The group spec: several jobs that are committed together, arrays, and who needs whom."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from cortex.domain.errors import FieldError
from cortex.domain.names import check_name
from cortex.domain.quantities import Duration
from cortex.domain.spec import JobSpec
from cortex.domain.spec.extensions import EXTENSION_SCHEMA, without_extensions
from cortex.domain.spec.notify import Notify
from cortex.domain.written import WrittenSecret, WrittenText

MAX_MEMBERS: Final = 1000

RESERVED: Final = ("index", "count", "member", "group")
"""Placeholders that every job has; no parameter is called like one."""

_BRACE = re.compile(r"[-._]*\{.*", re.DOTALL)
_PARAM = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")


def _text_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _texts(value: Any) -> Any:
    """A list of values of a parameter."""
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of values, such as [0.1, 0.01]")
    if not 1 <= len(value) <= MAX_MEMBERS:
        raise ValueError(f"must have from 1 to {MAX_MEMBERS:,} values")
    return value


_Ref = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_Value = Annotated[WrittenText, StringConstraints(max_length=200)]
_Values = Annotated[tuple[_Value, ...], BeforeValidator(_texts)]


class _JobPart(BaseModel):
    """Fields of a job spec, which are checked once a whole job has been made of them."""

    model_config = ConfigDict(frozen=True, extra="allow", json_schema_extra=EXTENSION_SCHEMA)

    __also_takes__: ClassVar[type[BaseModel]] = JobSpec

    secret_env: dict[str, WrittenSecret] | None = None

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        return without_extensions(value)

    def fields(self) -> dict[str, Any]:
        """What was written for the job spec, secrets in clear inside `SecretStr`."""
        fields = dict(self.model_extra or {})
        if self.secret_env is not None:
            fields["secret_env"] = dict(self.secret_env)
        return fields


class GroupDefaults(_JobPart):
    """A part of a job spec that stands under every job of the group."""


class GroupJob(_JobPart):
    """One job of a group, or an array of them; the other fields are those of a job spec."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    after: Annotated[tuple[_Ref, ...], BeforeValidator(_text_list)] = Field(
        default=(), max_length=MAX_MEMBERS, description="Jobs that must complete first."
    )
    count: int | None = Field(default=None, description="An array of so many.")
    matrix: dict[str, _Values] | None = Field(
        default=None, description="An array with one job for each combination of the values."
    )
    concurrency: int | None = Field(
        default=None, ge=1, description="How many of the array run at once."
    )
    fail_fast: bool | None = Field(
        default=None, description="A failed one ends the others of the array."
    )

    @property
    def array(self) -> str:
        """What other jobs call it: its name, up to the first placeholder."""
        return _BRACE.sub("", self.name)

    @property
    def many(self) -> bool:
        return self.count is not None or self.matrix is not None

    def size(self) -> int:
        """How many members it has, without making them."""
        size = self.count if self.count is not None else 1
        for values in (self.matrix or {}).values():
            size *= len(values)
        return size

    @field_validator("name")
    @classmethod
    def _plain_start(cls, value: str) -> str:
        start = _BRACE.sub("", value)
        if not start:
            raise ValueError("must begin with plain text: other jobs call it by that")
        check_name(start)
        return value

    @field_validator("count")
    @classmethod
    def _some(cls, value: int | None) -> int | None:
        if value is not None and not 1 <= value <= MAX_MEMBERS:
            raise ValueError(f"must be from 1 to {MAX_MEMBERS:,}")
        return value

    @field_validator("matrix")
    @classmethod
    def _parameters(cls, value: dict[str, tuple[str, ...]] | None) -> Any:
        if value is None:
            return None
        if not 1 <= len(value) <= 16:
            raise ValueError("must have from 1 to 16 parameters")
        _check_parameters(value)
        return value


class GroupSpec(BaseModel):
    """Several jobs, submitted as one."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=EXTENSION_SCHEMA)

    version: Literal[1] = 1
    name: str = "group"
    policy: Literal["all_or_nothing", "best_effort"] = Field(
        default="all_or_nothing",
        description="Jobs that can begin together are committed together or not at all; "
        "or each of them alone.",
    )
    prepare_timeout: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1))] = (
        Field(
            default=timedelta(minutes=5),
            description="How long to look for room for all that are committed together.",
        )
    )
    commit_failure: Literal["compensate", "retry"] | None = Field(
        default=None,
        description="When one cannot be committed after others were: end all, or place that one "
        "anew. Absent: `compensate` with all_or_nothing, `retry` with best_effort.",
    )
    on_lost: Literal["restart", "end_all"] = Field(
        default="restart", description="When the network loses one that ran."
    )
    fail_fast: bool | None = Field(
        default=None,
        description="A failed job ends all others. Absent: so with all_or_nothing only.",
    )
    concurrency: int | None = Field(
        default=None, ge=1, description="How many run at once; with best_effort only."
    )
    labels: dict[str, WrittenText] = Field(default_factory=dict, max_length=32)
    notify: Notify | None = Field(
        default=None,
        description="Who is told of what happens to it, besides their own choice: of all its jobs "
        "together.",
    )
    defaults: GroupDefaults = Field(
        default_factory=GroupDefaults, description="Part of a job spec, under that of every job."
    )
    jobs: tuple[GroupJob, ...] = Field(json_schema_extra={"minItems": 1, "maxItems": MAX_MEMBERS})

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        return without_extensions(value)

    @field_validator("jobs", mode="before")
    @classmethod
    def _counted(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and not 1 <= len(value) <= MAX_MEMBERS:
            raise ValueError(f"must be from 1 to {MAX_MEMBERS:,} jobs")
        return value

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return check_name(value)

    @property
    def atomic(self) -> bool:
        return self.policy == "all_or_nothing"

    @property
    def compensates(self) -> bool:
        """Whether a failed commit ends the group, rather than being tried again."""
        if self.commit_failure is None:
            return self.atomic
        return self.commit_failure == "compensate"

    @property
    def fails_fast(self) -> bool:
        """Whether a failed member ends all others."""
        return self.atomic if self.fail_fast is None else self.fail_fast

    def size(self) -> int:
        """How many members it has, without making them."""
        return sum(job.size() for job in self.jobs)

    def masked(self) -> dict[str, Any]:
        """The spec as it was written, as JSON values, secrets masked: to be stored and shown."""
        return self.model_dump(mode="json", exclude_unset=True)


def job_errors(spec: GroupSpec) -> list[FieldError]:
    """What contradicts itself in single jobs or in the policy."""
    errors = []
    if spec.concurrency is not None and spec.atomic:
        errors.append(FieldError(field="concurrency", message=_ONE_COMMIT))
    if "name" in (spec.defaults.model_extra or {}):
        message = "each job has a name of its own"
        errors.append(FieldError(field="defaults.name", message=message))
    if "notify" in (spec.defaults.model_extra or {}):
        errors.append(FieldError(field="defaults.notify", message=_TOGETHER))
    seen: dict[str, int] = {}
    for number, job in enumerate(spec.jobs):
        place = f"jobs[{number}]"
        if "notify" in (job.model_extra or {}):
            errors.append(FieldError(field=f"{place}.notify", message=_TOGETHER))
        if job.array in seen:
            twice = f"`{job.array}` is the name of jobs[{seen[job.array]}] too"
            errors.append(FieldError(field=f"{place}.name", message=twice))
        seen.setdefault(job.array, number)
        if job.count is not None and job.matrix is not None:
            message = "cannot stand beside `count`: its values say how many there are"
            errors.append(FieldError(field=f"{place}.matrix", message=message))
        if job.concurrency is not None and spec.atomic:
            errors.append(FieldError(field=f"{place}.concurrency", message=_ONE_COMMIT))
        elif job.concurrency is not None and not job.many:
            message = "is for an array, with `count` or `matrix`"
            errors.append(FieldError(field=f"{place}.concurrency", message=message))
    if spec.size() > MAX_MEMBERS:
        message = f"make {spec.size():,} members together, and a group has at most {MAX_MEMBERS:,}"
        errors.append(FieldError(field="jobs", message=message))
    return errors


_TOGETHER: Final = "stands at the top of a group: people are told of all its jobs together"
_ONE_COMMIT: Final = (
    "is for `policy: best_effort`: with all_or_nothing, jobs that can begin together "
    "are committed together"
)


def _check_parameters(matrix: Mapping[str, tuple[str, ...]]) -> None:
    names: set[str] = set()
    for name, values in matrix.items():
        if not _PARAM.fullmatch(name):
            raise ValueError(f"parameter `{name[:40]}` must be 1 to 32 letters, digits and `_`")
        if name.lower() in RESERVED:
            raise ValueError(f"parameter `{name}` has the name of a placeholder of its own")
        if name.upper() in names:
            raise ValueError(f"parameter `{name}` differs from another in case only")
        names.add(name.upper())
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise ValueError(f"parameter `{name}` has the value `{twice[:40]}` twice")
