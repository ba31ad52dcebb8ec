"""The part of the blocking client that is about schedules."""
# Made from _async/schedules.py by `make format`; change that one.

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from cortex.client._routes import schedules as routes
from cortex.client._routes.call import IfMatch, only_if
from cortex.client._sync.paging import every_entry
from cortex.client.transport import Transport
from cortex.domain.schedules import ScheduleRun
from cortex.schemas.schedules import SchedulePage, ScheduleRunPage, ScheduleView


class ScheduleCalls:
    """What `Cortex` can do with schedules."""

    _transport: Transport
    _project: str | None

    def schedules(
        self,
        *,
        project: str | None = None,
        name: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> SchedulePage:
        """One page of the schedules that one may see, the newest first.

        Args:
            project: Only of this one.
            name: Only of this name.
            limit: At most so many, up to 100.
            cursor: `next_cursor` of the page before.
        """
        return self._transport.call(routes.schedules(project, name, limit, cursor))

    def iter_schedules(
        self, *, project: str | None = None, name: str | None = None
    ) -> Iterator[ScheduleView]:
        """All of them, page by page."""
        pages = partial(routes.schedules, project, name, 100)
        yield from every_entry(self._transport, pages)

    def schedule(self, schedule_id: str) -> ScheduleView:
        """One schedule with the times that come next."""
        return self._transport.call(routes.schedule(schedule_id))

    def create_schedule(
        self, fields: Mapping[str, Any], *, project: str | None = None
    ) -> ScheduleView:
        """Make a schedule; its jobs are submitted in your name.

        Args:
            fields: `name`, `cron`, `timezone`, either a `template` (with `params`) or a `job`, and
                what else the API takes.
            project: Where it belongs; None: where this client's submissions go.
        """
        return self._transport.call(routes.create(fields, project or self._project))

    def update_schedule(
        self, schedule_id: str, fields: Mapping[str, Any], *, if_match: IfMatch = None
    ) -> ScheduleView:
        """Change a schedule; what is not among the fields stays.

        With `if_match` only at that version (`PreconditionFailed`).
        """
        return self._transport.call(only_if(routes.update(schedule_id, fields), if_match))

    def delete_schedule(self, schedule_id: str, *, if_match: IfMatch = None) -> None:
        """Take it away with the list of its runs.

        With `if_match` only at that version (`PreconditionFailed`).
        """
        self._transport.call(only_if(routes.delete(schedule_id), if_match))

    def pause_schedule(self, schedule_id: str, note: str = "") -> ScheduleView:
        """Submit nothing by itself until it is resumed."""
        return self._transport.call(routes.pause(schedule_id, note))

    def resume_schedule(self, schedule_id: str) -> ScheduleView:
        """Submit what comes due from now on."""
        return self._transport.call(routes.resume(schedule_id))

    def trigger_schedule(self, schedule_id: str) -> ScheduleRun:
        """Submit one now; the answer names its job."""
        return self._transport.call(routes.trigger(schedule_id))

    def backfill_schedule(self, schedule_id: str, start: datetime, end: datetime) -> int:
        """Submit all of a span of the past that was not; how many times had no job yet."""
        return (self._transport.call(routes.backfill(schedule_id, start, end))).count

    def schedule_runs(
        self, schedule_id: str, *, limit: int = 50, cursor: str | None = None
    ) -> ScheduleRunPage:
        """One page of what became of its times, the latest first."""
        return self._transport.call(routes.runs(schedule_id, limit, cursor))
