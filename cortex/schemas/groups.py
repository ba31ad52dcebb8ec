"""What the REST API answers about groups: shared by the server and the client."""

from datetime import datetime
from typing import Any

from pydantic import Field

from cortex.domain.groups.states import GroupState
from cortex.domain.jobs import Reason
from cortex.domain.money import Money
from cortex.domain.states import JobState
from cortex.domain.templates import TemplateRef
from cortex.schemas._view import View
from cortex.schemas.jobs import CostEstimate


class GroupSummary(View):
    """A group as it stands in a list."""

    id: str
    name: str
    owner: str
    project: str = ""
    state: GroupState
    reason: Reason | None = None
    message: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    total: int = Field(description="How many members it has.")
    counts: dict[JobState, int] = Field(
        default_factory=dict, description="Members by the state of their job."
    )
    waiting: int = Field(default=0, description="Pending members that the group has not started.")
    cost: Money
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None


class GangView(View):
    """Members that begin together, and what was decided about them."""

    gang: int
    members: int
    decision: str | None = Field(default=None, description="committed or aborted; none yet.")
    reason: str = ""
    started_at: datetime | None = None
    deadline_at: datetime | None = Field(
        default=None, description="When all must be prepared, or the gang is aborted."
    )
    decided_at: datetime | None = None


class MemberView(View):
    """A member of a group: a job, by its name in the group."""

    id: str
    member: str
    name: str
    gang: int
    state: JobState
    waiting: bool = Field(default=False, description="The group has not started it yet.")
    reason: Reason | None = None
    message: str = ""
    exit_code: int | None = None
    attempt: int = 0
    provider_id: str | None = None
    needs: tuple[str, ...] = ()
    cost: Money
    started_at: datetime | None = None
    finished_at: datetime | None = None


class MemberPage(View):
    items: tuple[MemberView, ...]
    next_cursor: str | None = None


class GroupView(GroupSummary):
    """A group with its gangs, a page of its members, and its spec (secrets masked)."""

    spec: dict[str, Any]
    gangs: tuple[GangView, ...] = ()
    template: TemplateRef | None = Field(
        default=None, description="The template that it was made from."
    )
    members: MemberPage
    temporal_url: str | None = Field(default=None, description="The run in Temporal's Web UI.")


class GroupPage(View):
    items: tuple[GroupSummary, ...]
    next_cursor: str | None = None


class ExpandedMember(View):
    """What a job of a group spec becomes."""

    member: str
    name: str
    gang: int
    params: dict[str, str] = Field(default_factory=dict)
    needs: tuple[str, ...] = ()
    cheapest: CostEstimate | None = Field(
        default=None, description="Of the providers that could run it; none told prices yet."
    )


class GroupValidation(View):
    """The members of a group spec, in their order, and what they may cost."""

    name: str
    policy: str
    total: int
    gangs: int
    members: tuple[ExpandedMember, ...]
    most: tuple[Money, ...] = Field(
        default=(),
        description="If each member runs at its cheapest provider for its whole duration; "
        "one amount per currency.",
    )
    notes: tuple[str, ...] = Field(
        default=(), description="How sizes were read that have other units, such as `4GB`."
    )
