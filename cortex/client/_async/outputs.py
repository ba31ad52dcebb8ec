"""The part of the asynchronous client that is about what jobs write."""

from collections.abc import AsyncIterator
from pathlib import Path

from cortex.client._routes import outputs as routes
from cortex.client.downloads import Download, empty_folder, safe_target
from cortex.client.transport import AsyncTransport
from cortex.schemas.jobs import LeftOutView, LogEntry, LogPage, OutputView


class AsyncOutputCalls:
    """What `AsyncCortex` can do with lines and result files of jobs."""

    _transport: AsyncTransport

    async def log_page(
        self, job_id: str, *, tail: int | None = None, since: str | None = None, limit: int = 1000
    ) -> LogPage:
        """One page of a job's output.

        Args:
            job_id: Its id.
            tail: Only the last lines, this many.
            since: Only what comes after this cursor.
            limit: Lines per page.
        """
        return await self._transport.call(
            routes.log_page(job_id, tail=tail, since=since, limit=limit)
        )

    async def logs(
        self,
        job_id: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: str | None = None,
        partial: bool = False,
    ) -> AsyncIterator[LogEntry]:
        """The lines of a job's output, oldest first.

        Args:
            job_id: Its id.
            follow: Go on until the job has ended. A lost connection is made anew and resumed.
            tail: Begin with the last lines, this many.
            since: Begin after this cursor.
            partial: Also tell of lines that have begun and not ended (`LogEntry.partial`): each
                time that such a line has changed; the next line of its stream takes its place.
        """
        if follow:
            stream = routes.log_stream(job_id, tail=tail, since=since, partial=partial)
            async for line in self._transport.follow(stream):
                yield line
            return
        page = await self.log_page(job_id, tail=tail, since=since)
        while True:
            for line in page.lines:
                yield line
            if tail is not None or page.next_cursor is None or not page.lines:
                break
            page = await self.log_page(job_id, since=page.next_cursor)
        for line in page.partial if partial else ():
            yield line

    async def outputs(self, job_id: str) -> tuple[OutputView, ...]:
        """The result files and empty folders of a job."""
        return await self._transport.call(routes.outputs(job_id))

    async def left_out(self, job_id: str) -> tuple[LeftOutView, ...]:
        """What a job declared as outputs and is not kept, and why."""
        return await self._transport.call(routes.left_out(job_id))

    async def output(self, job_id: str, path: str) -> bytes:
        """The content of one (small) result file."""
        return await self._transport.call(routes.output(job_id, path))

    async def download(self, job_id: str, output: OutputView, folder: Path) -> Path:
        """Save one result file, or make the empty folder, under `folder`; returns where it is.

        The file appears when it is whole and its SHA-256 is right; one that was there before is
        replaced. What an earlier, broken download left is continued.

        Args:
            job_id: The job's id.
            output: One of `outputs(job_id)`.
            folder: Is made if it does not exist; the output's own folders are made in it.

        Raises:
            DamagedDownload: it arrived damaged.
            ClientError: its path would lead out of the folder.
        """
        if output.kind == "folder":
            return empty_folder(folder, output.path)
        download = Download(output, safe_target(folder, output.path))
        return await self._transport.download(routes.output(job_id, output.path).path, download)
