"""One time of a schedule: its job is submitted once, as its owner may, or it is said why not.

That a run is `submitted` and that its job is accepted is one transaction, which holds the lock of
the schedule: whoever fires the same time again finds the run, and two times of one schedule see
each other's jobs.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from cortex.db.engine import Database, Transaction
from cortex.domain.errors import (
    Conflict,
    CortexError,
    Forbidden,
    GroupAlreadyEnded,
    InvalidRequest,
    JobAlreadyEnded,
    NotFound,
    ServiceUnavailable,
)
from cortex.domain.events import EventType
from cortex.domain.groups.spec import GroupSpec
from cortex.domain.ids import is_group_id
from cortex.domain.rights import Action, Principal, Role
from cortex.domain.schedules import Cause, Overlap, RunState, Schedule, ScheduleRun
from cortex.domain.spec import JobSpec
from cortex.domain.templates.making import made_spec
from cortex.services.accounts.owners import owner_now
from cortex.services.groups.control import GroupControl
from cortex.services.groups.submit import GroupSubmissions
from cortex.services.jobs.control import JobControl
from cortex.services.jobs.idempotency import Origin
from cortex.services.jobs.submit import Submissions
from cortex.services.projects import Projects
from cortex.settings import Settings

_CORTEX: Final = Principal(name="cortex", role=Role.ADMIN)
"""Who pauses a schedule whose owner may not submit any more, in the audit log."""
_TRIES: Final = 5

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Fired:
    """What became of a time."""

    state: RunState
    made: str | None = None
    message: str = ""


class _Ended(Exception):
    """Nothing is submitted; this is what became of it."""

    def __init__(self, fired: Fired) -> None:
        super().__init__(fired.message)
        self.fired = fired


class _Changed(Exception):
    """The schedule is another one than the one whose job was made."""


class Firing:
    """Fires schedules."""

    def __init__(
        self,
        database: Database,
        *,
        projects: Projects,
        jobs: Submissions,
        groups: GroupSubmissions,
        control: JobControl,
        settings: Settings,
    ) -> None:
        self._database = database
        self._projects = projects
        self._jobs = jobs
        self._groups = groups
        self._control = control
        self._group_control = GroupControl(database)
        self._settings = settings

    async def fire(self, schedule_id: str, due_at: datetime, *, trigger: bool = False) -> Fired:
        """Submit what is due, once; safe to repeat.

        Args:
            schedule_id: Whose time it is.
            due_at: The time that the cron expression names.
            trigger: Whether somebody asked for it now: paused or not, and whatever runs.

        Returns:
            What became of it; `waiting`: ask again, an earlier job has not ended yet.

        Raises:
            ServiceUnavailable: the database is away, or no provider is known yet: try again.
        """
        for _ in range(_TRIES):
            try:
                return await self._fire(schedule_id, due_at, trigger=trigger)
            except _Changed:
                continue
        raise ServiceUnavailable(f"the schedule `{schedule_id}` is changed all the time")

    async def _fire(self, schedule_id: str, due_at: datetime, *, trigger: bool) -> Fired:
        async with self._database.reading() as tx:
            schedule = await tx.schedules.find(schedule_id)
            if schedule is None:
                return Fired(RunState.SKIPPED, message="the schedule is gone")
            run = await tx.schedules.run(schedule_id, due_at)
            owner = await owner_now(tx, schedule.owner, self._settings.api)
        cause = _cause(schedule, due_at, trigger=trigger)
        ended = _ended_before(run)
        if ended is None and cause is Cause.CRON:
            ended = _missed(schedule, due_at, run)
        if ended is not None:
            return await self._settled(schedule, due_at, cause, ended)
        try:
            by = await self._allowed(schedule, owner)
            spec, origin = await self._made(schedule)
        except (Forbidden, NotFound, Conflict) as error:
            return await self._pause(schedule, due_at, cause, error.detail)
        except InvalidRequest as error:
            return await self._settled(schedule, due_at, cause, _refused(error))
        claim = _claim(schedule, due_at, cause)
        try:
            made = await self._submit(schedule, spec, by, Origin("", origin.template, claim))
        except _Ended as error:
            return await self._settled(schedule, due_at, cause, error.fired)
        except ServiceUnavailable:
            raise
        except Forbidden as error:  # to use a secret
            return await self._pause(schedule, due_at, cause, error.detail)
        except CortexError as error:
            return await self._settled(schedule, due_at, cause, _refused(error))
        fired = Fired(RunState.SUBMITTED, made)
        return await self._settled(schedule, due_at, cause, fired)

    async def _allowed(self, schedule: Schedule, owner: Principal | None) -> Principal:
        """The owner, if they may submit there now.

        Raises:
            Forbidden, NotFound, Conflict: they may not; the detail says why.
        """
        if owner is None:
            raise NotFound(f"`{schedule.owner}`, who owns it, is switched off or gone")
        if not owner.sees(schedule.project):
            raise NotFound(f"`{owner.name}`, who owns it, is not in `{schedule.project}` any more")
        await self._projects.choose(schedule.project, owner)
        # In the audit log the schedule stands in the place of a request.
        return owner.model_copy(update={"budget_key": schedule.api_key, "request_id": schedule.id})

    async def _made(self, schedule: Schedule) -> tuple[JobSpec | GroupSpec, Origin]:
        if schedule.template_id is None:
            try:
                return JobSpec.model_validate(schedule.job), Origin()
            except ValueError as error:
                raise InvalidRequest(f"the job spec is not valid: {error}") from None
        async with self._database.reading() as tx:
            template = await tx.templates.get(schedule.template_id, schedule.template_version)
        spec = made_spec(template, schedule.params, schedule.overrides)
        return spec, Origin(template=template.ref)

    async def _submit(
        self, schedule: Schedule, spec: JobSpec | GroupSpec, by: Principal, origin: Origin
    ) -> str:
        if isinstance(spec, GroupSpec):
            group = await self._groups.submit(
                spec, by.name, project=schedule.project, origin=origin, by=by
            )
            return group.group_id
        job = await self._jobs.submit(
            spec,
            by.name,
            project=schedule.project,
            visible=by.projects(Action.JOBS_READ),
            origin=origin,
            by=by,
        )
        return job.job_id

    async def _settled(
        self, schedule: Schedule, due_at: datetime, cause: Cause, fired: Fired
    ) -> Fired:
        """Write down what is not yet, and cancel what is to make room."""
        if fired.state is not RunState.SUBMITTED:
            await self._put(schedule.id, due_at, cause, fired)
        elif schedule.overlap is Overlap.CANCEL_OTHER and cause is Cause.CRON:
            await self._cancel_others(schedule, due_at)
        _log.info("schedule.fired", schedule=schedule.id, due=due_at, state=fired.state.value)
        return fired

    async def _put(self, schedule_id: str, due_at: datetime, cause: Cause, fired: Fired) -> None:
        with suppress(NotFound):
            async with self._database.transaction() as tx:
                await tx.schedules.lock(schedule_id)
                await tx.schedules.put_run(
                    schedule_id, due_at, cause=cause, state=fired.state, message=fired.message
                )

    async def _cancel_others(self, schedule: Schedule, due_at: datetime) -> None:
        """Also if that was done before: whoever did it may have died in the middle."""
        async with self._database.reading() as tx:
            others = await tx.schedules.open_jobs(schedule.id, before=due_at)
            owner = await owner_now(tx, schedule.owner, self._settings.api)
        if owner is None:
            return
        for made in others:
            reason = f"schedule `{schedule.name}` has submitted the next one"
            with suppress(JobAlreadyEnded, GroupAlreadyEnded, Forbidden, NotFound):
                if is_group_id(made):
                    await self._group_control.cancel(made, reason, owner)
                else:
                    await self._control.ask_to_end(made, reason, owner)

    async def _pause(self, schedule: Schedule, due_at: datetime, cause: Cause, why: str) -> Fired:
        """It could only fail from now on: pause it until somebody has seen to that."""
        fired = Fired(RunState.REFUSED, message=why)
        async with self._database.transaction() as tx:
            now = await tx.schedules.lock(schedule.id)
            if now.revision != schedule.revision:
                raise _Changed
            await tx.schedules.put_run(
                schedule.id, due_at, cause=cause, state=fired.state, message=why
            )
            if not now.paused:
                await tx.schedules.change(schedule.id, {"paused": True, "pause_reason": why})
                await tx.commands.add_for_schedule(schedule.id)
                told = {"name": now.name, "owner": now.owner, "project": now.project}
                await tx.events.add(
                    EventType.SCHEDULE_PAUSED, schedule.id, data={**told, "message": why}
                )
                await tx.audit.add(
                    _CORTEX,
                    "schedule.pause",
                    schedule.id,
                    before={"paused": False},
                    after={"paused": True, "pause_reason": why},
                )
        _log.warning("schedule.paused", schedule=schedule.id, why=why)
        return fired


def _cause(schedule: Schedule, due_at: datetime, *, trigger: bool) -> Cause:
    if trigger:
        return Cause.TRIGGER
    return Cause.BACKFILL if schedule.is_backfill(due_at) else Cause.CRON


def _ended_before(run: ScheduleRun | None) -> Fired | None:
    """What became of it already."""
    if run is None or run.state is RunState.WAITING:
        return None
    return Fired(run.state, run.made, run.message)


def _missed(schedule: Schedule, due_at: datetime, run: ScheduleRun | None) -> Fired | None:
    """Why nothing is submitted for a time of the cron expression, whatever runs."""
    if schedule.paused:
        return Fired(RunState.SKIPPED, message="the schedule is paused")
    late = datetime.now(UTC) - due_at - schedule.jitter
    if run is None and late > schedule.catchup:
        seconds = timedelta(seconds=round(late.total_seconds()))
        return Fired(RunState.SKIPPED, message=f"it was too late for it, by {seconds}")
    return None


def _claim(
    schedule: Schedule, due_at: datetime, cause: Cause
) -> Callable[[Transaction, str], Awaitable[None]]:
    """Takes the time for one job, within the transaction that accepts it."""

    async def claim(tx: Transaction, made: str) -> None:
        try:
            now = await tx.schedules.lock(schedule.id)
        except NotFound:
            raise _Changed from None
        run = await tx.schedules.run(schedule.id, due_at)
        if run is not None and run.state is RunState.SUBMITTED:
            raise _Ended(Fired(run.state, run.made))
        if now.revision != schedule.revision:
            raise _Changed
        if cause is Cause.CRON:
            await _make_room(tx, schedule, due_at)
        await tx.schedules.put_run(
            schedule.id, due_at, cause=cause, state=RunState.SUBMITTED, made=made
        )

    return claim


async def _make_room(tx: Transaction, schedule: Schedule, due_at: datetime) -> None:
    """Go on only if the job may be submitted beside those that have not ended."""
    if schedule.overlap not in (Overlap.SKIP, Overlap.BUFFER_ONE):
        return
    waiting = await tx.schedules.waiting(schedule.id)
    others = await tx.schedules.open_jobs(schedule.id)
    if schedule.overlap is Overlap.BUFFER_ONE:
        if waiting is not None and waiting != due_at:
            message = f"another one waits already, that of {waiting.isoformat()}"
            raise _Ended(Fired(RunState.SKIPPED, message=message))
        if others:
            raise _Ended(Fired(RunState.WAITING, message=f"`{others[0]}` has not ended yet"))
    elif others:
        raise _Ended(Fired(RunState.SKIPPED, message=f"`{others[0]}` had not ended"))


def _refused(error: CortexError) -> Fired:
    return Fired(RunState.REFUSED, message=error.detail[:1000])
