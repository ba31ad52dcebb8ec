"""Events: facts that happened, in a CloudEvents 1.0 envelope."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.leases import Lease


class EventType(StrEnum):
    JOB_SUBMITTED = "job.submitted"
    JOB_STATE_CHANGED = "job.state.changed"
    JOB_PROGRESS = "job.progress"
    JOB_FRAMES = "job.frames"
    JOB_CANCEL_REQUESTED = "job.cancel.requested"
    JOB_EXTENDED = "job.extended"
    JOB_TROUBLE = "job.trouble"
    JOB_RETRYING = "job.retrying"
    JOB_OUTPUTS_STORED = "job.outputs.stored"
    JOB_UNKNOWN = "job.unknown"
    """Its network cannot say how it is. Nothing else has changed."""
    JOB_KNOWN = "job.known"
    JOB_DEADLINE_NEAR = "job.deadline.near"
    JOB_RESOLVED = "job.resolved"
    """Somebody with the right decided by hand about a step that did not end."""
    GROUP_SUBMITTED = "group.submitted"
    GROUP_STATE_CHANGED = "group.state.changed"
    GROUP_GANG_DECIDED = "group.gang.decided"
    GROUP_CANCEL_REQUESTED = "group.cancel.requested"
    LEASE_INTENDED = "lease.intended"
    LEASE_RESERVED = "lease.reserved"
    LEASE_ACTIVE = "lease.active"
    LEASE_RUN_CHANGED = "lease.run.changed"
    LEASE_RELEASED = "lease.released"
    LEASE_FAILED = "lease.failed"
    CHARGE_BOOKED = "charge.booked"
    BUDGET_ALERT = "budget.alert"
    BUDGET_EXCEEDED = "budget.exceeded"
    BUDGET_CHANGED = "budget.changed"
    RECONCILE_FOUND = "reconcile.found"
    RECONCILE_CLOSED = "reconcile.closed"
    PROVIDER_STATUS_CHANGED = "provider.status.changed"
    PROVIDER_PRICING_CHANGED = "provider.pricing.changed"
    PROVIDER_CIRCUIT_CHANGED = "provider.circuit.changed"
    PROVIDER_CREATED = "provider.created"
    PROVIDER_UPDATED = "provider.updated"
    PROVIDER_DELETED = "provider.deleted"
    PROVIDER_ENABLED = "provider.enabled"
    PROVIDER_DISABLED = "provider.disabled"
    WEBHOOK_DISABLED = "webhook.disabled"
    """By Cortex itself: its receiver has not taken anything for long, or is gone."""
    SCHEDULE_PAUSED = "schedule.paused"
    """By Cortex itself: it could only fail from now on."""


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """An event that is to be written: what happened to whom, and whose job it concerns."""

    type: EventType
    subject: str
    job_id: str | None
    data: Mapping[str, Any]

    @classmethod
    def of_job(cls, event_type: EventType, job_id: str, data: Mapping[str, Any]) -> Self:
        """Something that happened to a job."""
        return cls(type=event_type, subject=job_id, job_id=job_id, data=data)

    @classmethod
    def of_lease(cls, event_type: EventType, lease: Lease, data: Mapping[str, Any]) -> Self:
        """Something that happened to a lease of a job."""
        return cls(type=event_type, subject=lease.key, job_id=lease.job_id, data=data)

    @classmethod
    def of_group(cls, event_type: EventType, group_id: str, data: Mapping[str, Any]) -> Self:
        """Something that happened to a group; it concerns no single job."""
        return cls(type=event_type, subject=group_id, job_id=None, data=data)


class Event(BaseModel):
    """One event. `position` orders all events and resumes a stream after a gap."""

    model_config = ConfigDict(frozen=True)

    id: str
    position: str = Field(description="Opaque cursor: the SSE `id`, for `Last-Event-ID`.")
    type: EventType
    subject: str = Field(
        description="The id of what it happened to: job, lease, group, provider, budget, webhook "
        "or schedule."
    )
    job_id: str | None = None
    time: datetime
    data: dict[str, Any] = Field(default_factory=dict)

    def cloudevent(self) -> dict[str, Any]:
        """The envelope (CloudEvents 1.0, JSON event format)."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": "/cortex",
            "type": f"cortex.{self.type.value}",
            "subject": self.subject,
            "time": self.time.isoformat(),
            "datacontenttype": "application/json",
            "cortexposition": self.position,
            "data": self.data,
        }
