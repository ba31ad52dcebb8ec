"""Traces: every step of a job or group, from the database and from Temporal."""

import asyncio
from collections.abc import Sequence
from typing import Final

from temporalio.client import Client

from cortex.db.engine import Database
from cortex.domain.states import JobState
from cortex.domain.trace.group import group_steps, participants
from cortex.domain.trace.job import job_steps
from cortex.domain.trace.model import GroupStory, History, JobStory, Trace
from cortex.temporal.history import job_history, read_history

_READ: Final = 16
"""Of so many members of a group Temporal is asked as well."""
_AT_ONCE: Final = 8
_MOST_STEPS: Final = 3000


class Traces:
    """Makes traces. A Temporal that is away costs its part of them, and is named."""

    def __init__(self, database: Database, client: Client) -> None:
        self._database = database
        self._client = client

    async def job(self, job_id: str) -> Trace:
        """The trace of a job.

        Raises:
            NotFound: there is no such job.
        """
        async with self._database.transaction() as tx:
            story = await tx.trace.job(job_id)
        history = await self._of_job(story)
        job = story.job
        notes = [history.note] if history.note else []
        if job.group_id is not None:
            notes.append(f"it is a member of group `{job.group_id}`, which has a trace of its own")
        return Trace(
            id=job.id,
            kind="job",
            name=job.name,
            owner=job.owner,
            state=job.state.value,
            reason=job.reason.value if job.reason else None,
            message=job.message,
            created_at=job.created_at,
            finished_at=job.finished_at,
            steps=tuple(job_steps(story, history)),
            temporal=history.source,
            notes=tuple(notes),
        )

    async def group(self, group_id: str) -> Trace:
        """The trace of a group with the steps of its members.

        Raises:
            NotFound: there is no such group.
        """
        async with self._database.transaction() as tx:
            group = await tx.trace.group(group_id)
        own = await read_history(self._client, group_id)
        notes = [own.note] if own.note else []
        histories: dict[str, History] = {}
        if own.source != "away":
            asked = _most_telling(group)
            histories = await self._of_members(asked)
            if len(asked) < len(group.members):
                notes.append(
                    f"Temporal was asked for {len(asked)} of {len(group.members)} members; "
                    "`cortex trace JOB` asks for any other"
                )
        steps = group_steps(group, histories)
        if len(steps) > _MOST_STEPS:
            notes.append(f"the first {_MOST_STEPS} of {len(steps)} steps are shown")
        return Trace(
            id=group.id,
            kind="group",
            name=group.name,
            owner=group.owner,
            state=group.state,
            reason=group.reason,
            message=group.message,
            created_at=group.created_at,
            finished_at=group.finished_at,
            steps=tuple(steps[:_MOST_STEPS]),
            participants=tuple(participants(group)),
            temporal=own.source,
            notes=tuple(notes),
        )

    async def _of_job(self, story: JobStory) -> History:
        if story.job.held:
            return History("not_asked", "its group has not started it: Temporal knows nothing yet")
        return await job_history(self._client, story.job.id)

    async def _of_members(self, members: Sequence[JobStory]) -> dict[str, History]:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(member: JobStory) -> tuple[str, History]:
            async with slots:
                return member.job.id, await self._of_job(member)

        return dict(await asyncio.gather(*map(one, members)))


def _most_telling(group: GroupStory) -> list[JobStory]:
    """Members with something to tell first: those that failed or still go on."""
    ranked = sorted(group.members, key=lambda member: member.job.state is JobState.COMPLETED)
    return ranked[:_READ]
