"""What the routes about reconcile take and answer."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from cortex.domain.reconcile import FindingKind
from cortex.schemas._view import View


class ReconcileRequest(BaseModel):
    """Compare now. Without `provider` all of them and the books are looked at."""

    model_config = ConfigDict(extra="forbid")

    provider: str | None = Field(default=None, description="Only this one's network.")
    dry_run: StrictBool = Field(
        default=False, description="Only list; nothing is written or closed."
    )


class FindingView(View):
    """Something that should not be."""

    id: str = Field(description="Empty: a dry run saw it for the first time.")
    kind: FindingKind
    subject: str = Field(description="Lease key, job, group or provider id.")
    provider_id: str | None = None
    message: str
    first_seen_at: datetime
    last_seen_at: datetime
    closed_at: datetime | None = None
    data: dict[str, str] = Field(
        default_factory=dict, description="More of it; `closed` says how it was settled."
    )


class SeenFindingView(FindingView):
    """A finding in one run."""

    done: str = Field(default="", description="What was done about it in this run.")
    next: str = Field(default="", description="What Cortex does about it.")


class ScopeReport(View):
    """What one part of a run came to: a provider's network, or the books."""

    provider_id: str | None = Field(
        default=None, description="None: jobs, groups and holds (the books)."
    )
    error: str = Field(default="", description="Why it came to nothing; nothing follows from that.")
    checked: int = Field(default=0, description="Leases, or jobs, groups and holds.")
    findings: tuple[SeenFindingView, ...] = ()
    more: int = Field(default=0, description="Findings beyond those that are named.")


class ReconcileReport(View):
    """A run; while it is `running`, ask for it again by its id."""

    id: str
    status: Literal["running", "done"]
    dry_run: bool = False
    finished_at: datetime | None = None
    scopes: tuple[ScopeReport, ...] = ()


class FindingPage(View):
    items: tuple[FindingView, ...]
    next_cursor: str | None = None
