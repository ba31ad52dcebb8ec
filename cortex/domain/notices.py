"""Notices: what of all that happens single persons want to be told."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.events import EventType
from cortex.domain.jobs import Reason
from cortex.domain.messages import MessageState
from cortex.domain.spec.notify import ENDS, JobNotice, Notify


class NoticeEvent(StrEnum):
    """Of a job or group as `notify` has them, and of a schedule."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STUCK = "stuck"
    RETRIED = "retried"
    DEADLINE = "deadline"
    OVER_BUDGET = "over_budget"
    SCHEDULE_PAUSED = "schedule_paused"
    """By Cortex itself: its owner may not submit there any more, and the like."""


DEFAULT_OWN: Final = (
    NoticeEvent.FAILED,
    NoticeEvent.STUCK,
    NoticeEvent.OVER_BUDGET,
    NoticeEvent.SCHEDULE_PAUSED,
)
"""What one is told of own things without having chosen."""

TOLD_TYPES: Final = (
    EventType.JOB_STATE_CHANGED,
    EventType.JOB_TROUBLE,
    EventType.JOB_RETRYING,
    EventType.JOB_DEADLINE_NEAR,
    EventType.GROUP_STATE_CHANGED,
    EventType.SCHEDULE_PAUSED,
)
_STATES: Final = {
    "running": NoticeEvent.STARTED,
    "completed": NoticeEvent.COMPLETED,
    "failed": NoticeEvent.FAILED,
    "cancelled": NoticeEvent.CANCELLED,
}
_ENDS: Final = frozenset(NoticeEvent(each.value) for each in ENDS)
_WORDS: Final = {
    NoticeEvent.STARTED: "has started",
    NoticeEvent.COMPLETED: "has completed",
    NoticeEvent.FAILED: "has failed",
    NoticeEvent.CANCELLED: "was cancelled",
    NoticeEvent.STUCK: "is stuck",
    NoticeEvent.RETRIED: "is started anew",
    NoticeEvent.DEADLINE: "is near its deadline",
    NoticeEvent.OVER_BUDGET: "has failed: it is over its budget",
    NoticeEvent.SCHEDULE_PAUSED: "was paused by Cortex",
}


@dataclass(frozen=True)
class Preferences:
    """What somebody wants to be told, and how.

    Attributes:
        enabled: False: nothing at all.
        named: Whether jobs of others may name one in `notify`.
        own: Of own jobs, groups and schedules.
        projects: Of those of others in one's projects.
        email: Whether by e-mail, where there is an address.
        chat: Name of the service of one's chat; empty: there is none.
    """

    enabled: bool = True
    named: bool = True
    own: tuple[NoticeEvent, ...] = DEFAULT_OWN
    projects: tuple[NoticeEvent, ...] = ()
    email: bool = True
    chat: str = ""


class ChannelStatus(BaseModel):
    """A way to reach somebody.

    Attributes:
        on: Whether it is wanted.
        to: The address; of a chat the name of its service.
        problem: Why nothing is sent there, or why the last message did not arrive.
    """

    model_config = ConfigDict(frozen=True)

    on: bool
    to: str
    problem: str = ""
    last: MessageState | None = Field(default=None, description="What became of the last message.")
    last_at: datetime | None = None


@dataclass(frozen=True)
class Occurrence:
    """Something that happened to a job, group or schedule.

    Attributes:
        subject: Its id.
        group_id: Of the group that the job is in.
        group_name: Its name.
        name: Of the job, group or schedule.
        notify: As it stands in the spec of the job, or of its group.
    """

    id: str
    type: EventType
    subject: str
    time: datetime
    data: Mapping[str, Any]
    owner: str
    project: str
    name: str
    group_id: str | None = None
    group_name: str = ""
    notify: Notify | None = None

    @property
    def kind(self) -> NoticeEvent | None:
        """What it is to people; None: nothing."""
        state = self.data.get("state")
        if self.type in (EventType.JOB_STATE_CHANGED, EventType.GROUP_STATE_CHANGED):
            if state == "failed" and self.data.get("reason") == Reason.OVER_BUDGET.value:
                return NoticeEvent.OVER_BUDGET
            return _STATES.get(state) if isinstance(state, str) else None
        if self.type is EventType.JOB_TROUBLE:
            # Others are passing; they stand in the job's message.
            return NoticeEvent.STUCK if "stuck_since" in self.data else None
        return _BY_TYPE.get(self.type)

    @property
    def kinds(self) -> frozenset[NoticeEvent]:
        """What somebody wants to be told who is told of this."""
        kind = self.kind
        if kind is None:
            return frozenset()
        if kind is NoticeEvent.OVER_BUDGET:
            return frozenset({kind, NoticeEvent.FAILED})
        return frozenset({kind})

    @property
    def in_group(self) -> bool:
        """Whether it happened to one job of a group."""
        return self.group_id is not None and self.subject != self.group_id

    @property
    def is_told(self) -> bool:
        """Whether anybody is told: of the ends of a group's jobs only all together."""
        kind = self.kind
        ends = kind in _ENDS or kind is NoticeEvent.OVER_BUDGET
        return kind is not None and not (self.in_group and ends)

    @property
    def key(self) -> str:
        """What a person is told once: of a group's jobs the first of a kind only.

        A group starts with the first of its jobs: that is one thing, whichever is looked at first.
        """
        kind = self.kind
        if kind is NoticeEvent.STARTED and self.group_id is not None:
            return f"{self.group_id}:{kind}:"
        if self.in_group:
            return f"{self.group_id}:member:{kind}"
        since = self.data.get("stuck_since") or self.data.get("deadline_at") or ""
        if kind in (NoticeEvent.SCHEDULE_PAUSED, NoticeEvent.RETRIED):
            since = self.id
        return f"{self.subject}:{kind}:{since}"

    @property
    def title(self) -> str:
        """In words, such as `job x has failed`."""
        kind = self.kind
        assert kind is not None
        if self.in_group:
            return f"a job of group {self.group_name} {_WORDS[kind]}: {self.name}"
        what = {"job": "job", "grp": "group", "sch": "schedule"}.get(self.subject[:3], "")
        return f"{what} {self.name} {_WORDS[kind]}"

    @property
    def see(self) -> str:
        """What shows more of it."""
        if self.subject.startswith("grp_"):
            return f"cortex group show {self.subject}"
        if self.subject.startswith("sch_"):
            return f"cortex --project {self.project} schedules show {self.name}"
        return f"cortex job {self.subject}"


_BY_TYPE: Final = {
    EventType.JOB_RETRYING: NoticeEvent.RETRIED,
    EventType.JOB_DEADLINE_NEAR: NoticeEvent.DEADLINE,
    EventType.SCHEDULE_PAUSED: NoticeEvent.SCHEDULE_PAUSED,
}


def wants(
    name: str, chosen: Preferences, occurrence: Occurrence, projects: Collection[str]
) -> bool:
    """Whether somebody is to be told, as far as that is up to them and to `notify`.

    Whether they may see it at all is another question. `projects` are those that they are in.
    """
    if not chosen.enabled:
        return False
    kinds, own = occurrence.kinds, occurrence.owner == name
    if occurrence.notify is not None and kinds & _asked(occurrence.notify.on):
        if own and "me" in occurrence.notify.to:
            return True
        named = name in occurrence.notify.to
        if named and (own or (chosen.named and occurrence.project in projects)):
            return True
    if own:
        return bool(kinds & frozenset(chosen.own))
    return occurrence.project in projects and bool(kinds & frozenset(chosen.projects))


def _asked(on: Sequence[JobNotice]) -> frozenset[NoticeEvent]:
    return frozenset(NoticeEvent(each.value) for each in on)
