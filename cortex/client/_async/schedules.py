"""The part of the asynchronous client that is about schedules."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from cortex.client._async.paging import every_entry
from cortex.client._routes import schedules as routes
from cortex.client._routes.call import IfMatch, only_if
from cortex.client.transport import AsyncTransport
from cortex.domain.schedules import ScheduleRun
from cortex.schemas.schedules import SchedulePage, ScheduleRunPage, ScheduleView


class AsyncScheduleCalls:
    """What `AsyncCortex` can do with schedules."""

    _transport: AsyncTransport
    _project: str | None

    async def schedules(
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
        return await self._transport.call(routes.schedules(project, name, limit, cursor))

    async def iter_schedules(
        self, *, project: str | None = None, name: str | None = None
    ) -> AsyncIterator[ScheduleView]:
        """All of them, page by page."""
        pages = partial(routes.schedules, project, name, 100)
        async for schedule in every_entry(self._transport, pages):
            yield schedule

    async def schedule(self, schedule_id: str) -> ScheduleView:
        """One schedule with the times that come next."""
        return await self._transport.call(routes.schedule(schedule_id))

    async def create_schedule(
        self, fields: Mapping[str, Any], *, project: str | None = None
    ) -> ScheduleView:
        """Make a schedule; its jobs are submitted in your name.

        Args:
            fields: `name`, `cron`, `timezone`, either a `template` (with `params`) or a `job`, and
                what else the API takes.
            project: Where it belongs; None: where this client's submissions go.
        """
        return await self._transport.call(routes.create(fields, project or self._project))

    async def update_schedule(
        self, schedule_id: str, fields: Mapping[str, Any], *, if_match: IfMatch = None
    ) -> ScheduleView:
        """Change a schedule; what is not among the fields stays.

        With `if_match` only at that version (`PreconditionFailed`).
        """
        return await self._transport.call(only_if(routes.update(schedule_id, fields), if_match))

    async def delete_schedule(self, schedule_id: str, *, if_match: IfMatch = None) -> None:
        """Take it away with the list of its runs.

        With `if_match` only at that version (`PreconditionFailed`).
        """
        await self._transport.call(only_if(routes.delete(schedule_id), if_match))

    async def pause_schedule(self, schedule_id: str, note: str = "") -> ScheduleView:
        """Submit nothing by itself until it is resumed."""
        return await self._transport.call(routes.pause(schedule_id, note))

    async def resume_schedule(self, schedule_id: str) -> ScheduleView:
        """Submit what comes due from now on."""
        return await self._transport.call(routes.resume(schedule_id))

    async def trigger_schedule(self, schedule_id: str) -> ScheduleRun:
        """Submit one now; the answer names its job."""
        return await self._transport.call(routes.trigger(schedule_id))

    async def backfill_schedule(self, schedule_id: str, start: datetime, end: datetime) -> int:
        """Submit all of a span of the past that was not; how many times had no job yet."""
        return (await self._transport.call(routes.backfill(schedule_id, start, end))).count

    async def schedule_runs(
        self, schedule_id: str, *, limit: int = 50, cursor: str | None = None
    ) -> ScheduleRunPage:
        """One page of what became of its times, the latest first."""
        return await self._transport.call(routes.runs(schedule_id, limit, cursor))
