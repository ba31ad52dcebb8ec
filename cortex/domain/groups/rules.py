"""What the planner of a group reads in its spec: the policy, without the jobs' own fields."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal, get_args

from cortex.domain.units import parse_duration

Policy = Literal["all_or_nothing", "best_effort"]
CommitFailure = Literal["compensate", "retry"]
OnLost = Literal["restart", "end_all"]

DEFAULT_PREPARE_TIMEOUT: Final = timedelta(minutes=5)
_VARYING = re.compile(r"(\[|[-._]*\{).*", re.DOTALL)


@dataclass(frozen=True)
class ArrayRules:
    """What one job of the spec says of the members that are made of it."""

    concurrency: int | None = None
    fail_fast: bool | None = None


@dataclass(frozen=True)
class GroupRules:
    policy: Policy = "all_or_nothing"
    prepare_timeout: timedelta = DEFAULT_PREPARE_TIMEOUT
    commit_failure: CommitFailure = "compensate"
    on_lost: OnLost = "restart"
    fail_fast: bool = True
    concurrency: int | None = None
    arrays: Mapping[str, ArrayRules] = field(default_factory=dict)

    @property
    def atomic(self) -> bool:
        return self.policy == "all_or_nothing"

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "GroupRules":
        """The rules in a stored spec, where absent fields have the defaults of their policy.

        A value that no rule knows is as good as absent: what was stored was checked when it was
        accepted, and a group must come to its end with whatever version wrote it.
        """
        policy: Policy = _one_of(spec.get("policy"), get_args(Policy), "all_or_nothing")
        atomic = policy == "all_or_nothing"
        fail_fast = spec.get("fail_fast")
        timeout = spec.get("prepare_timeout")
        return cls(
            policy=policy,
            prepare_timeout=DEFAULT_PREPARE_TIMEOUT if timeout is None else parse_duration(timeout),
            commit_failure=_one_of(
                spec.get("commit_failure"),
                get_args(CommitFailure),
                "compensate" if atomic else "retry",
            ),
            on_lost=_one_of(spec.get("on_lost"), get_args(OnLost), "restart"),
            fail_fast=atomic if fail_fast is None else bool(fail_fast),
            concurrency=None if atomic else spec.get("concurrency"),
            arrays={
                array_of(str(job.get("name", ""))): ArrayRules(
                    None if atomic else job.get("concurrency"), job.get("fail_fast")
                )
                for job in spec.get("jobs", ())
                if job.get("concurrency") is not None or job.get("fail_fast") is not None
            },
        )

    def array(self, member: str) -> ArrayRules:
        """The rules of the array that a member is of."""
        return self.arrays.get(array_of(member), _NO_RULES)


_NO_RULES: Final = ArrayRules()


def array_of(member: str) -> str:
    """`train` of `train[3]`, and of the name `train-{index}` in the spec."""
    return _VARYING.sub("", member)


def _one_of(value: Any, allowed: tuple[Any, ...], default: Any) -> Any:
    return value if value in allowed else default
