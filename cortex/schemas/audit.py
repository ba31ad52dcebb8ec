"""What the routes about the audit log answer."""

from pydantic import Field

from cortex.domain.audit import AuditEntry
from cortex.schemas._view import View


class AuditPage(View):
    """Entries, the newest first."""

    items: tuple[AuditEntry, ...]
    next_cursor: str | None = None


class AuditProblem(View):
    """Something in the chain that does not fit."""

    seq: int | None = Field(default=None, description="Place in the chain.")
    audit_id: int | None = Field(default=None, description="Id of the entry.")
    message: str


class AuditVerification(View):
    """What a walk along the whole chain found."""

    ok: bool
    entries: int = Field(description="Sealed entries.")
    head: str | None = Field(
        default=None,
        description="`<number>:<seal>` of the newest entry. Kept elsewhere and given as `known` "
        "later, it shows whether the end of the log was cut off.",
    )
    waiting: int = Field(
        default=0, description="Entries that are as they were written, and have no seal yet."
    )
    gaps: int = Field(
        default=0,
        description="Numbers that no entry has: of changes that were undone after they were "
        "written down, or of entries that were removed before they were sealed.",
    )
    problems: tuple[AuditProblem, ...] = ()
    more: int = Field(default=0, description="Problems beyond those that are named.")
