"""Schedules: made, changed, paused, fired by hand, shown. A route says who may.

Each change is a row and a command to Temporal in one transaction; what Temporal has, follows.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cortex.db.engine import Database, Transaction
from cortex.domain.audit import changed_values
from cortex.domain.errors import Conflict, NotFound
from cortex.domain.ids import new_id
from cortex.domain.rights import Action, Principal
from cortex.domain.schedules import (
    KEPT_BACKFILLS,
    MOST_BACKFILLED,
    MOST_PER_PROJECT,
    RunState,
    Schedule,
    ScheduleRun,
    Span,
    ever_due,
    times_between,
)
from cortex.domain.templates.making import json_values
from cortex.domain.versions import Expected, version_of
from cortex.schemas.schedules import (
    BackfillRequest,
    BackfillView,
    ScheduleCreate,
    SchedulePage,
    ScheduleRunPage,
    ScheduleUpdate,
    ScheduleView,
)
from cortex.services.pagination import decode_cursor, encode_cursor
from cortex.services.schedules.firing import Firing
from cortex.services.schedules.wanted import invalid, same, says_what_runs, what_runs

_SHOWN: Final = 5
_PLAIN: Final = ("description", "cron", "timezone", "overlap", "catchup", "params", "overrides")
_NOTHING: Final = timedelta(0)


class Schedules:
    """Changes and shows schedules."""

    def __init__(self, database: Database, firing: Firing) -> None:
        self._database = database
        self._firing = firing

    async def page(
        self,
        projects: frozenset[str] | None,
        *,
        name: str | None,
        cursor: str | None,
        limit: int,
    ) -> SchedulePage:
        """Schedules of these projects (None: of all), the newest first."""
        async with self._database.reading() as tx:
            found = await tx.schedules.page(projects, name=name, before=cursor, limit=limit + 1)
        items = tuple(schedule_view(each) for each in found[:limit])
        return SchedulePage(items=items, next_cursor=items[-1].id if len(found) > limit else None)

    async def get(self, schedule_id: str) -> Schedule:
        """One schedule.

        Raises:
            NotFound: there is none with this id.
        """
        async with self._database.reading() as tx:
            return await tx.schedules.get(schedule_id)

    async def create(self, wanted: ScheduleCreate, project: str, by: Principal) -> Schedule:
        """Make a schedule; jobs are submitted in the name of `by`.

        Raises:
            InvalidRequest: what it says could not be submitted, or is never due.
            Forbidden: `by` may not make schedules there, not submit there, or not use the secrets
                that it refers to.
            NotFound: the project has no such template.
            Conflict: the project has one of this name, or too many.
        """
        by.require(Action.SCHEDULES_CHANGE, project=project)
        schedule_id = new_id("sch")
        values: dict[str, Any] = {name: getattr(wanted, name) for name in _PLAIN}
        values |= {
            "project": project,
            "owner": by.name,
            "api_key": by.budget_key,
            "name": wanted.name,
            "jitter": wanted.jitter or _NOTHING,
            "start_at": wanted.start_at,
            "end_at": wanted.end_at,
            "paused": wanted.paused,
        }
        async with self._database.transaction() as tx:
            values |= await what_runs(
                tx, project, wanted, params=wanted.params, overrides=wanted.overrides, by=by
            )
            _check_due(values)
            if await tx.schedules.lock_project(project) >= MOST_PER_PROJECT:
                raise Conflict(
                    f"the project `{project}` has {MOST_PER_PROJECT} schedules, the most it may"
                )
            if not await tx.schedules.add(schedule_id, _stored(values)):
                raise Conflict(f"the project `{project}` has a schedule `{wanted.name}` already")
            await tx.commands.add_for_schedule(schedule_id)
            made = await tx.schedules.get(schedule_id)
            await tx.audit.add(by, "schedule.create", schedule_id, before={}, after=_audited(made))
        return made

    async def update(
        self, schedule_id: str, change: ScheduleUpdate, by: Principal, expected: Expected
    ) -> Schedule:
        """Change a schedule; what runs goes on.

        Raises:
            NotFound: there is no such schedule, or no such template.
            PreconditionFailed: it was changed meanwhile.
            InvalidRequest: what it says could not be submitted, or is never due.
            Forbidden: what runs would be otherwise, and `by` may not submit there, or not use the
                secrets that it refers to then; or their key has a budget, and made it not.
        """
        async with self._database.transaction() as tx:
            old = await tx.schedules.lock(schedule_id)
            _require_budget(old, by)
            expected.require(schedule_version(old), f"schedule `{old.name}`")
            values = {name: getattr(change, name) for name in _PLAIN}
            values = {name: value for name, value in values.items() if value is not None}
            for name in ("jitter", "start_at", "end_at"):
                if name in change.model_fields_set:
                    given = getattr(change, name)
                    values[name] = given or _NOTHING if name == "jitter" else given
            both = {**old.model_dump(), **values}
            if says_what_runs(change):
                params, overrides = both["params"], both["overrides"]
                values |= await what_runs(
                    tx, old.project, same(old, change), params=params, overrides=overrides, by=by
                )
            _check_due(both)
            await tx.schedules.change(schedule_id, _stored(values))
            await tx.commands.add_for_schedule(schedule_id)
            return await self._changed(tx, old, by, "schedule.update")

    async def remove(self, schedule_id: str, by: Principal, expected: Expected) -> None:
        """Take a schedule away with the list of its runs; their jobs stay.

        Raises:
            NotFound: there is no such schedule.
            PreconditionFailed: it was changed meanwhile.
        """
        async with self._database.transaction() as tx:
            old = await tx.schedules.lock(schedule_id)
            expected.require(schedule_version(old), f"schedule `{old.name}`")
            await tx.schedules.remove(schedule_id)
            await tx.commands.add_for_schedule(schedule_id)
            await tx.audit.add(by, "schedule.delete", schedule_id, before=_audited(old), after={})

    async def pause(self, schedule_id: str, note: str, by: Principal) -> Schedule:
        """Submit nothing by itself until it is resumed. Harmless to repeat.

        Raises:
            NotFound: there is no such schedule.
        """
        async with self._database.transaction() as tx:
            old = await tx.schedules.lock(schedule_id)
            if old.paused and (old.note, old.pause_reason) == (note, ""):
                return old
            values = {"paused": True, "note": note, "pause_reason": ""}
            await tx.schedules.change(schedule_id, values)
            await tx.commands.add_for_schedule(schedule_id)
            return await self._changed(tx, old, by, "schedule.pause")

    async def resume(self, schedule_id: str, by: Principal) -> Schedule:
        """Submit what comes due from now on. Harmless to repeat.

        Raises:
            NotFound: there is no such schedule.
            Forbidden: `by` may not submit there, or their key has a budget, and made it not.
        """
        async with self._database.transaction() as tx:
            old = await tx.schedules.lock(schedule_id)
            by.require(Action.JOBS_SUBMIT, project=old.project)
            _require_budget(old, by)
            if not old.paused:
                return old
            values = {"paused": False, "note": "", "pause_reason": ""}
            await tx.schedules.change(schedule_id, values)
            await tx.commands.add_for_schedule(schedule_id)
            return await self._changed(tx, old, by, "schedule.resume")

    async def trigger(self, schedule_id: str, by: Principal) -> ScheduleRun:
        """Submit one now, also while it is paused and whatever runs.

        Raises:
            NotFound: there is no such schedule.
            Conflict: it was not taken; the detail says why.
            Forbidden: `by` may not submit there, or their key has a budget, and made it not.
        """
        now = datetime.now(UTC)
        async with self._database.transaction() as tx:
            schedule = await tx.schedules.get(schedule_id)
            by.require(Action.JOBS_SUBMIT, project=schedule.project)
            _require_budget(schedule, by)
            await tx.audit.add(
                by, "schedule.trigger", schedule_id, due_at=now.isoformat(), owner=schedule.owner
            )
        fired = await self._firing.fire(schedule_id, now, trigger=True)
        if fired.state is not RunState.SUBMITTED:
            raise Conflict(f"nothing was submitted: {fired.message}")
        async with self._database.reading() as tx:
            run = await tx.schedules.run(schedule_id, now)
        if run is None:
            raise NotFound(f"there is no schedule `{schedule_id[:60]}`")
        return run

    async def backfill(
        self, schedule_id: str, asked: BackfillRequest, by: Principal
    ) -> BackfillView:
        """Have every time in a span of the past submitted that was not.

        Raises:
            NotFound: there is no such schedule.
            InvalidRequest: the span is empty, in the future, or has too many times.
            Forbidden: `by` may not submit there, or their key has a budget, and made it not.
        """
        if asked.end < asked.start:
            raise invalid("end", "is before the `start`")
        if asked.end > datetime.now(UTC):
            raise invalid("end", "is in the future: it is fired by itself then")
        span = Span(start=asked.start, end=asked.end)
        async with self._database.transaction() as tx:
            old = await tx.schedules.lock(schedule_id)
            by.require(Action.JOBS_SUBMIT, project=old.project)
            _require_budget(old, by)
            times = times_between(
                old.cron, old.timezone, span.start, span.end, most=MOST_BACKFILLED
            )
            if len(times) > MOST_BACKFILLED:
                raise invalid("start", f"the span has more than {MOST_BACKFILLED:,} times")
            count = len(set(times) - await tx.schedules.submitted(schedule_id, span))
            kept = [*old.backfills, span][-KEPT_BACKFILLS:]
            await tx.schedules.put_backfills(
                schedule_id, [each.model_dump(mode="json") for each in kept]
            )
            await tx.schedules.forget_missed(schedule_id, span)
            await tx.commands.add_for_schedule(
                schedule_id, "backfill", span.model_dump(mode="json")
            )
            await tx.audit.add(
                by, "schedule.backfill", schedule_id, **span.model_dump(mode="json"), count=count
            )
        return BackfillView(count=count)

    async def runs(self, schedule_id: str, *, cursor: str | None, limit: int) -> ScheduleRunPage:
        """What became of its times, the latest first.

        Raises:
            NotFound: there is no such schedule.
            InvalidRequest: `cursor` is none of ours.
        """
        place = decode_cursor(cursor)
        async with self._database.reading() as tx:
            await tx.schedules.get(schedule_id)
            found = await tx.schedules.runs(
                schedule_id, before=place[0] if place else None, limit=limit + 1
            )
        items = tuple(found[:limit])
        last = encode_cursor((items[-1].due_at, schedule_id)) if len(found) > limit else None
        return ScheduleRunPage(items=items, next_cursor=last)

    async def _changed(
        self, tx: Transaction, old: Schedule, by: Principal, action: str
    ) -> Schedule:
        new = await tx.schedules.get(old.id)
        before, after = changed_values(_audited(old), _audited(new))
        await tx.audit.add(by, action, old.id, before=before, after=after)
        return new


def _require_budget(schedule: Schedule, by: Principal) -> None:
    """What it submits counts against the budget of the key that made it, whoever fires it."""
    by.require_same_budget(schedule.api_key, f"schedule `{schedule.name}`", Action.SCHEDULES_CHANGE)


def schedule_view(schedule: Schedule) -> ScheduleView:
    """A schedule as the API shows it."""
    shown = schedule.model_dump(include=set(ScheduleView.model_fields))
    return ScheduleView(
        **{
            **shown,
            "jitter": schedule.jitter or None,
            "told": schedule.told_revision >= schedule.revision,
            "next_runs": tuple(schedule.next_runs(datetime.now(UTC), _SHOWN)),
        }
    )


def schedule_version(schedule: Schedule) -> str:
    """The version for `ETag` and `If-Match`."""
    return version_of({"id": schedule.id, "revision": schedule.revision})


def _check_due(values: Mapping[str, Any]) -> None:
    start, end = values["start_at"], values["end_at"]
    if start is not None and end is not None and end <= start:
        raise invalid("end_at", "is not after `start_at`")
    if not ever_due(values["cron"], values["timezone"], start, end, datetime.now(UTC)):
        raise invalid("cron", "is never due from now on, within `start_at` and `end_at`")


def _stored(values: Mapping[str, Any]) -> dict[str, Any]:
    stored = dict(values)
    if "overlap" in stored:
        stored["overlap"] = stored["overlap"].value
    if "overrides" in stored:
        stored["overrides"] = json_values(stored["overrides"])
    return stored


def _audited(schedule: Schedule) -> dict[str, Any]:
    """What the audit log says of it."""
    return schedule.model_dump(
        mode="json",
        exclude={
            *("id", "revision", "told_revision", "backfills", "created_at", "updated_at"),
            *("params", "overrides", "job"),
        },
    ) | {"params": sorted(schedule.params), "of_a_job": schedule.job is not None}
