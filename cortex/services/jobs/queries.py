"""What the API reads: jobs, logs, events, outputs."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cortex.db.engine import Database
from cortex.db.jobs.outputs import StoredOutput
from cortex.db.jobs.repository import JobFilter
from cortex.db.jobs.views import JobReads
from cortex.domain.errors import InvalidRequest, NotFound
from cortex.domain.rendering.frames import FrameState
from cortex.schemas.events import EventPage
from cortex.schemas.jobs import FramePage, LeftOutView, LogPage, OutputView
from cortex.services.jobs.frames import frame_page
from cortex.services.pagination import decode_cursor, decode_number, encode_cursor
from cortex.services.views import event_view, job_view, left_out_view, log_entry, output_view
from cortex.settings import Settings


class Queries:
    """Reads. Jobs come as finished JSON."""

    def __init__(self, database: Database, jobs: JobReads, settings: Settings) -> None:
        self._database = database
        self._jobs = jobs
        self._settings = settings

    async def jobs(
        self,
        where: JobFilter,
        *,
        cursor: str | None,
        limit: int,
        fields: Collection[str] | None = None,
    ) -> str:
        """A `JobPage`, newest first; with some `fields` of each job only, or with all.

        Raises:
            InvalidRequest: `cursor` is none of ours.
        """
        page = await self._jobs.page(
            where, before=decode_cursor(cursor), limit=limit, fields=fields
        )
        place = f'"{encode_cursor(page.last)}"' if page.last else "null"
        return f'{{"items":[{page.items}],"next_cursor":{place}}}'

    async def job(self, job_id: str) -> str:
        """A `JobView`.

        Raises:
            NotFound: there is no such job.
        """
        return job_view(await self._jobs.job(job_id), self._settings.temporal, job_id)

    async def details(self, job_ids: Sequence[str]) -> str:
        """A JSON array of those of these jobs that are there: each a `JobView` without its link, in
        any order.
        """
        return f"[{','.join(await self._jobs.jobs(job_ids))}]"

    async def logs(
        self, job_id: str, *, since: str | None, tail: int | None, limit: int
    ) -> LogPage:
        """Lines of a job: those after a cursor, or the last `tail` ones.

        Raises:
            NotFound: there is no such job.
            InvalidRequest: `since` is no cursor, or both `since` and `tail` are given.
        """
        if since is not None and tail is not None:
            raise InvalidRequest("give either `since` or `tail`, not both")
        async with self._database.reading() as tx:
            state = await tx.reads.state(job_id)
            if tail is not None:
                lines = await tx.logs.tail(job_id, tail)
            else:
                lines = await tx.logs.read(job_id, since=since, limit=limit)
            place = lines[-1].cursor if lines else since or "0:0"
            ends = tail is not None or len(lines) < limit
            begun = await tx.logs.open_lines(job_id, place) if ends else []
        return LogPage(
            lines=tuple(log_entry(line) for line in lines),
            partial=tuple(log_entry(line) for line in begun),
            next_cursor=lines[-1].cursor if lines else None,
            dropped_bytes=state["log_dropped_bytes"],
        )

    async def frames(
        self, job_id: str, *, state: FrameState | None, cursor: str | None, limit: int
    ) -> FramePage:
        """The frames of a render job, also those that no provider has told of yet.

        Raises:
            NotFound: there is no such job, or it renders nothing.
            InvalidRequest: `cursor` is none of ours.
        """
        after = decode_number(cursor) or 0
        async with self._database.reading() as tx:
            render = (await tx.jobs.get(job_id)).spec.render
            known = await tx.frames.of_job(job_id)
        if render is None:
            raise NotFound(f"job `{job_id}` renders nothing, so it has no frames")
        return frame_page(render.numbers(), known, state=state, after=after, limit=limit)

    async def events(
        self,
        *,
        job_id: str | None,
        after: str | None,
        limit: int,
        projects: frozenset[str] | None = None,
    ) -> EventPage:
        """Events after a position, oldest first; with `projects` of what is in these only.

        Raises:
            NotFound: there is no such job.
            InvalidRequest: `after` is no position.
        """
        async with self._database.reading() as tx:
            if job_id is not None:
                await tx.reads.state(job_id)
            events = await tx.events.page(after, job_id=job_id, projects=projects, limit=limit)
        return EventPage(
            items=tuple(event_view(event) for event in events),
            next_cursor=events[-1].position if events else None,
        )

    async def events_of(
        self, job_ids: Sequence[str], *, after: str | None, limit: int
    ) -> dict[str, EventPage]:
        """The same for several jobs, by their ids: of each as many events at most.

        Raises:
            InvalidRequest: `after` is no position.
        """
        async with self._database.reading() as tx:
            found = await tx.events.of_jobs(job_ids, after, limit=limit)
        return {
            job_id: EventPage(
                items=tuple(event_view(event) for event in events),
                next_cursor=events[-1].position if events else None,
            )
            for job_id, events in found.items()
        }

    async def require(self, job_id: str) -> Mapping[str, Any]:
        """State, reason, message and exit code of a job.

        Raises:
            NotFound: there is no such job.
        """
        async with self._database.reading() as tx:
            return await tx.reads.state(job_id)

    async def outputs(self, job_id: str) -> list[OutputView]:
        """The result files of a job.

        Raises:
            NotFound: there is no such job.
        """
        return [output_view(output) for output in await self._stored(job_id)]

    async def left_out(self, job_id: str) -> list[LeftOutView]:
        """What a job declared as outputs and is not kept.

        Raises:
            NotFound: there is no such job.
        """
        async with self._database.reading() as tx:
            await tx.reads.state(job_id)
            return [left_out_view(each) for each in await tx.outputs.left_out(job_id)]

    async def output(self, job_id: str, path: str) -> tuple[StoredOutput, Path]:
        """One result file and where it lies.

        Raises:
            NotFound: the job has no such file, or it is not on this machine any more.
        """
        for output in await self._stored(job_id):
            if output.path == path and output.kind == "file":
                return output, self.place(job_id, output)
        raise NotFound(f"job `{job_id}` has no output `{path[:200]}`")

    async def archive(self, job_id: str) -> list[tuple[StoredOutput, Path]]:
        """All result files of a job and where they lie.

        Raises:
            NotFound: there is no such job, or a file is not on this machine any more.
        """
        return [(output, self.place(job_id, output)) for output in await self._stored(job_id)]

    def place(self, job_id: str, output: StoredOutput) -> Path:
        """The file of an output; never one outside the job's folder, whatever links lie there."""
        folder = (self._settings.outputs_dir / job_id).resolve()
        path = (folder / output.path).resolve()
        there = path.is_dir() if output.kind == "folder" else path.is_file()
        if not path.is_relative_to(folder) or not there:
            raise NotFound(
                f"output `{output.path[:200]}` of job `{job_id}` is recorded, "
                "but its file is not on this server any more"
            )
        return path

    async def _stored(self, job_id: str) -> list[StoredOutput]:
        async with self._database.reading() as tx:
            await tx.reads.state(job_id)
            return await tx.outputs.of_job(job_id)
