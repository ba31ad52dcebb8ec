"""What the explorer's routes take and answer: traces, stuck jobs, decisions by hand."""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints, WithJsonSchema

from cortex.domain.money import NOT_NEGATIVE, Money
from cortex.domain.names import WORDS
from cortex.domain.quantities import Duration
from cortex.domain.states import JobState, LeaseState
from cortex.domain.trace.resolution import ResolveAction
from cortex.domain.trace.stuck import May
from cortex.schemas._view import View

Words = Annotated[
    str,
    StringConstraints(strip_whitespace=True, pattern=WORDS, max_length=500),
    WithJsonSchema({"type": "string", "pattern": WORDS, "minLength": 1, "maxLength": 500}),
]
# An amount for `settle`, and for nothing else.
_AMOUNTS: Final[list[Any]] = [
    {
        "properties": {"action": {"const": "settle"}, "amount": NOT_NEGATIVE},
        "required": ["amount"],
    },
    {
        "properties": {
            "action": {"enum": ["retry", "force_release"]},
            "amount": {"type": "null"},
        }
    },
]


class ResolveRequest(BaseModel):
    """A decision by hand about a job that does not get on."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"oneOf": _AMOUNTS})

    action: ResolveAction
    amount: Money | None = Field(
        default=None,
        description="What is booked, such as `1.20 USD`; for `settle` only. More than the lease "
        "can have cost takes `force`.",
    )
    reason: Words = Field(description="Why; is kept in the audit log, the ledger and the events.")
    force: StrictBool = Field(
        default=False,
        description="Also where nothing is stuck: the job is cancelled first. Also an amount above "
        "what the lease can have cost.",
    )


class ResolutionView(View):
    """What became of a decision by hand."""

    job_id: str
    state: JobState
    lease_key: str | None = None
    lease_state: LeaseState | None = None
    action: ResolveAction
    amount: Money | None = None
    reason: str
    by: str
    at: datetime
    done: str = Field(description="What was set going.")
    note: str = Field(default="", description="What to know about it.")


class StuckView(View):
    """A job or group that does not get on."""

    id: str
    name: str
    owner: str
    project: str = ""
    state: str
    since: datetime = Field(description="From when the limit is counted.")
    limit: Duration
    step: str = Field(description="What it is at.")
    error: str = Field(default="", description="What was heard last about it.")
    may: tuple[May, ...] = Field(
        default=(), description="What one may do: `cancel`, or the actions of `resolve`."
    )
    group_id: str | None = None
    provider_id: str | None = None
    lease_key: str | None = None
    lease_state: LeaseState | None = None


class StuckPage(View):
    items: tuple[StuckView, ...]
    total: int = Field(description="How many there are, also beyond `limit`.")
