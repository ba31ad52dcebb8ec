"""Webhooks: whom events are sent to, which ones, and what became of each.

A delivery is one event for one webhook. Its id is the `webhook-id` of every attempt, so that the
receiver can tell a repeat.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.events import EventType
from cortex.domain.rights import Reach

PING: Final = "webhook.ping"
"""Type of what is sent to try a webhook out; no event."""

MOST_PER_OWNER: Final = 100


class DeliveryState(StrEnum):
    PENDING = "pending"
    """Not taken yet: it waits for its first or next attempt, or for an earlier one of its job."""
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up; it is sent again when somebody says so."""


class JobFilter(BaseModel):
    """Events of which jobs and groups; what is not given does not matter."""

    model_config = ConfigDict(frozen=True)

    labels: dict[str, str] = Field(default_factory=dict)
    group: str | None = None
    owner: str | None = None
    project: str | None = None


class Webhook(BaseModel):
    """Where events are sent.

    Attributes:
        owner: Who made it.
        project: Which it belongs to: then it gets the events of all jobs there. That of its
            owner's name: it is personal, and gets those of what its owner may see.
        events: Types, such as `job.state.changed`; one may end in a star: `job.*`, `*`.
        headers: Names of the headers that are sent along; their values are secret.
        previous_until: Until when the secret before the last rotation signs as well.
        disabled_reason: Why Cortex has disabled it, if it has.
        failing_since: First of the failed attempts since the last one that was taken.
        waiting: Deliveries that are not taken yet.
        dead: Deliveries that were given up.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    owner: str
    project: str
    description: str
    url: str
    events: tuple[str, ...]
    jobs: JobFilter
    headers: tuple[str, ...]
    enabled: bool
    disabled_reason: str
    previous_until: datetime | None
    failing_since: datetime | None
    waiting: int
    dead: int
    created_at: datetime
    updated_at: datetime

    @property
    def shared(self) -> bool:
        """Whether it belongs to a project, not to its owner alone."""
        return self.project != self.owner


class Attempt(BaseModel):
    """One request, and what came of it.

    Attributes:
        status: What was answered; None: nothing was.
        error: Why it counts as failed.
        body: The first bytes of the answer.
        seconds: How long it took.
    """

    model_config = ConfigDict(frozen=True)

    time: datetime
    status: int | None
    error: str
    body: str
    seconds: float


class Delivery(BaseModel):
    """One event for one webhook.

    Attributes:
        id: The `webhook-id` of every attempt.
        event_id: None: a ping.
        subject: Id of the job, group or other thing; those of one are sent in order.
        due_at: When it is sent next; None: it waits for an earlier one, or is done with.
        attempts: How many there were; `log` has the newest of them.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    number: int
    event_id: str | None
    event_type: str
    subject: str
    state: DeliveryState
    attempts: int
    due_at: datetime | None
    created_at: datetime
    delivered_at: datetime | None
    log: tuple[Attempt, ...]


@dataclass(frozen=True)
class Subject:
    """Whose event it is: owner, project, labels and group of its job or group, if it has one."""

    owner: str | None = None
    project: str | None = None
    labels: Mapping[str, str] | None = None
    group: str | None = None


def known_patterns() -> list[str]:
    """Every type of event, and every beginning of one with a star."""
    stars = {"*"}
    for each in EventType:
        parts = each.value.split(".")
        stars |= {".".join(parts[:count]) + ".*" for count in range(1, len(parts))}
    return [*(each.value for each in EventType), *sorted(stars)]


def matches(pattern: str, event_type: str) -> bool:
    """Whether a type is meant by a pattern: `job.state.changed`, `job.*`, `*`."""
    if pattern.endswith("*"):
        return event_type.startswith(pattern[:-1])
    return event_type == pattern


def is_visible(
    reach: Reach, owner: str, projects: Collection[str], subject: Subject, project: str
) -> bool:
    """Whether a webhook of this owner may get events of this subject at all.

    Args:
        reach: Of whose things the owner may know.
        owner: Whose it is.
        projects: Those that the owner is in besides the personal one: who has left a project sees
            nothing of it any more, own jobs neither.
        subject: What the event is about.
        project: Which the webhook belongs to; another than the owner's: it gets all of that one.
    """
    if project != owner:
        return subject.project == project
    if reach is Reach.ALL:
        return True
    return subject.owner == owner and subject.project in (owner, *projects)


def wants(events: Sequence[str], jobs: JobFilter, event_type: str, subject: Subject) -> bool:
    """Whether the filters of a webhook let an event of this type and subject through."""
    if not any(matches(pattern, event_type) for pattern in events):
        return False
    if jobs.owner is not None and subject.owner != jobs.owner:
        return False
    if jobs.project is not None and subject.project != jobs.project:
        return False
    if jobs.group is not None and subject.group != jobs.group:
        return False
    labels = subject.labels or {}
    return all(labels.get(name) == value for name, value in jobs.labels.items())


def pause(attempts: int, first: timedelta, longest: timedelta, chance: random.Random) -> timedelta:
    """How long to wait after so many failed attempts: doubles each time.

    Anything from half of it on: what failed together is not sent again at once.
    """
    whole = min(first * (1 << min(attempts - 1, 30)), longest)
    return whole * (0.5 + chance.random() / 2)


def ping_body(delivery_id: str, webhook_id: str, time: datetime) -> dict[str, Any]:
    """What a ping sends: an envelope as of an event, which happened to the webhook itself."""
    return {
        "specversion": "1.0",
        "id": delivery_id,
        "source": "/cortex",
        "type": f"cortex.{PING}",
        "subject": webhook_id,
        "time": time.isoformat(),
        "datacontenttype": "application/json",
        "cortexposition": "0-0",
        "cortexjob": None,
        "data": {"message": "This is a test: nothing has happened."},
    }
