"""What a verification comes to: its steps, its runs, and the report about them."""

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.money import Money
from cortex.domain.providers.inspection import Adapter, CallTally


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Result(StrEnum):
    OK = "ok"
    DIFFERENT = "different"
    """It was done, and came out otherwise than the adapter promises."""
    CANNOT = "cannot"
    """This provider cannot be asked that, for a known reason."""
    FAILED = "failed"
    """Nothing could be run: there is nothing to compare."""
    NOT_REACHED = "not reached"


class Verdict(IntEnum):
    """What `cortex provider verify` ends with."""

    AS_EXPECTED = 0
    DIFFERENCES = 1
    COULD_NOT_RUN = 2
    INTERRUPTED = 130


class Step(_Model):
    """One thing that was looked at."""

    name: str
    result: Result
    expected: str = ""
    observed: str = ""
    todo: str = Field(default="", description="What to do about it.")
    seconds: float | None = None


class Moment(_Model):
    """An event of a run."""

    after: float = Field(description="Seconds since the run's job was accepted.")
    type: str
    data: dict[str, Any] = Field(default_factory=dict)


class RunReport(_Model):
    """One of the two jobs."""

    name: Literal["command", "stop"]
    job_id: str
    state: str
    reason: str | None = None
    message: str = ""
    exit_code: int | None = None
    lease_keys: tuple[str, ...] = ()
    price_per_hour: Money | None = None
    most: Money | None = Field(default=None, description="Price times the run's limit.")
    charged: tuple[Money, ...] = ()
    cost: Money
    moments: tuple[Moment, ...] = ()


class VerifyReport(_Model):
    """All that is told about one verification. It holds no secret."""

    report_version: Literal[1] = 1
    id: str
    provider_id: str
    verdict: Literal["as expected", "differences", "could not run", "interrupted"]
    summary: str
    adapter: Adapter | None = None
    cortex_version: str = ""
    network_version: str = ""
    simulated: bool = False
    config: dict[str, Any] = Field(default_factory=dict, description="Without secrets.")
    capabilities: dict[str, Any] = Field(default_factory=dict)
    image: str | None = None
    budget: Money
    run_limit_seconds: float
    started_at: datetime
    finished_at: datetime
    spent: Money = Field(description="In USD, at the rates of the bills.")
    steps: tuple[Step, ...]
    runs: tuple[RunReport, ...] = ()
    calls: tuple[CallTally, ...] = ()
    notes: tuple[str, ...] = ()
    remaining: tuple[str, ...] = Field(default=(), description="What was still there at the end.")


def verdict(steps: list[Step], *, interrupted: bool) -> Verdict:
    """What the steps come to."""
    if interrupted:
        return Verdict.INTERRUPTED
    results = {step.result for step in steps}
    if Result.FAILED in results:
        return Verdict.COULD_NOT_RUN
    return Verdict.DIFFERENCES if Result.DIFFERENT in results else Verdict.AS_EXPECTED
