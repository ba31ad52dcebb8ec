"""Whose events a stream sends, and when it is over: all, those of a job, those of a group."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cortex.db.engine import Reading
from cortex.domain.events import Event, EventType
from cortex.domain.groups.states import TERMINAL_GROUP_STATES
from cortex.domain.states import TERMINAL_JOB_STATES


class Scope(Protocol):
    """What a stream is about."""

    @property
    def projects(self) -> frozenset[str] | None:
        """Of what it covers only what is in these is shown; None: all of it."""

    @property
    def endless(self) -> bool:
        """Whether it goes on until the process stops."""

    def covers(self, event: Event) -> bool:
        """Whether the event belongs to it."""

    def ends_with(self, event: Event) -> bool:
        """Whether it may be over after this event."""

    async def page(self, tx: Reading, after: str, limit: int) -> list[Event]:
        """Its events after a position."""

    async def end(self, tx: Reading) -> Mapping[str, Any] | None:
        """What is to be said at its end, once it has ended."""

    async def goes_on(self, tx: Reading, position: str) -> bool:
        """Whether it has committed events after a position, also ones not yet in order."""


@dataclass(frozen=True)
class Everything:
    """All events; with `projects` those of jobs and groups in these."""

    projects: frozenset[str] | None = None
    endless = True

    def covers(self, event: Event) -> bool:
        return True

    def ends_with(self, event: Event) -> bool:
        return False

    async def page(self, tx: Reading, after: str, limit: int) -> list[Event]:
        return await tx.events.page(after, projects=self.projects, limit=limit)

    async def end(self, tx: Reading) -> Mapping[str, Any] | None:
        return None

    async def goes_on(self, tx: Reading, position: str) -> bool:
        return True


@dataclass(frozen=True)
class Chosen:
    """Events of some kinds, about some things.

    Attributes:
        projects: Of jobs and groups in these only; None: of all.
        types: Of these types; None: of all.
        subjects: Ids of jobs, groups and whatever else they may be about; None: about all.
    """

    projects: frozenset[str] | None = None
    types: frozenset[EventType] | None = None
    subjects: frozenset[str] | None = None
    endless = True

    def covers(self, event: Event) -> bool:
        if self.types is not None and event.type not in self.types:
            return False
        about = {event.subject, event.job_id}
        return self.subjects is None or not about.isdisjoint(self.subjects)

    def ends_with(self, event: Event) -> bool:
        return False

    async def page(self, tx: Reading, after: str, limit: int) -> list[Event]:
        return await tx.events.page(
            after,
            projects=self.projects,
            types=self.types,
            subjects=self.subjects,
            limit=limit,
        )

    async def end(self, tx: Reading) -> Mapping[str, Any] | None:
        return None

    async def goes_on(self, tx: Reading, position: str) -> bool:
        return True


@dataclass(frozen=True)
class OfJob:
    """The events of one job."""

    job_id: str
    projects = None
    endless = False

    def covers(self, event: Event) -> bool:
        return event.job_id == self.job_id

    def ends_with(self, event: Event) -> bool:
        state = event.data.get("state")
        return event.type is EventType.JOB_STATE_CHANGED and state in TERMINAL_JOB_STATES

    async def page(self, tx: Reading, after: str, limit: int) -> list[Event]:
        return await tx.events.page(after, job_id=self.job_id, limit=limit)

    async def end(self, tx: Reading) -> Mapping[str, Any] | None:
        state = await tx.reads.state(self.job_id)
        return state if state["state"] in TERMINAL_JOB_STATES else None

    async def goes_on(self, tx: Reading, position: str) -> bool:
        return await tx.reads.events_after(self.job_id, position)


@dataclass(frozen=True)
class OfGroup:
    """The events of a group and of its members, which are all known from its first moment."""

    group_id: str
    job_ids: frozenset[str]
    projects = None
    endless = False

    def covers(self, event: Event) -> bool:
        if event.job_id is None:
            return event.subject == self.group_id
        return event.job_id in self.job_ids

    def ends_with(self, event: Event) -> bool:
        state = event.data.get("state")
        return event.type is EventType.GROUP_STATE_CHANGED and state in TERMINAL_GROUP_STATES

    async def page(self, tx: Reading, after: str, limit: int) -> list[Event]:
        return await tx.events.group_page(self.group_id, after, limit=limit)

    async def end(self, tx: Reading) -> Mapping[str, Any] | None:
        state = await tx.group_reads.state(self.group_id)
        return state if state["state"] in TERMINAL_GROUP_STATES else None

    async def goes_on(self, tx: Reading, position: str) -> bool:
        return await tx.group_reads.events_after(self.group_id, position)
