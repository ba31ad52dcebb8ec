"""The blocking client: the same as the asynchronous one, method by method."""
# Made from _async/client.py by `make format`; change that one.

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from uuid import uuid4

from cortex.client._routes import jobs as routes
from cortex.client._routes.jobs import JobFilter, Spec
from cortex.client._sync.groups import GroupCalls
from cortex.client._sync.money import MoneyCalls
from cortex.client._sync.providers import ProviderCalls
from cortex.client._sync.reconcile import ReconcileCalls
from cortex.client._sync.trace import ExplorerCalls
from cortex.client.connection import resolve
from cortex.client.downloads import Download, empty_folder, safe_target
from cortex.client.errors import WaitTimeout
from cortex.client.retry import RetryPolicy
from cortex.client.transport import Transport
from cortex.domain.units import parse_duration
from cortex.schemas.jobs import (
    BatchAccepted,
    EventView,
    FramePage,
    Health,
    Info,
    JobPage,
    JobSummary,
    JobView,
    LeftOutView,
    LogEntry,
    LogPage,
    OutputView,
    PluginView,
    Quote,
    Validation,
)

_ALL = JobFilter()


class Cortex(
    GroupCalls,
    ProviderCalls,
    MoneyCalls,
    ReconcileCalls,
    ExplorerCalls,
):
    """A Cortex server.

    Every method may raise `ApiError` (the server refused), `ConnectionFailed` (it cannot be
    reached) and `BadAnswer` (something else answered). Requests are repeated by themselves where
    that is safe: after a lost connection, and when the server says 429 or 503.

        with Cortex() as cortex:
            job = cortex.run({"name": "hello", "command": ["echo", "hello"]})
            print(job.state, job.exit_code, job.cost)
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        data_dir: Path | None = None,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        stream_retry: RetryPolicy | None = None,
    ) -> None:
        """Find the server; it is not contacted yet.

        Args:
            base_url: Such as `http://127.0.0.1:8700`; None: `CORTEX_URL`, else the stack that
                `cortex up` runs on this machine.
            api_key: None: `CORTEX_API_KEY`, else the local stack's.
            data_dir: Where to look for the local stack; None: the usual folder.
            timeout: Seconds that one answer may take.
            retry: How often to repeat a request.
            stream_retry: How often in a row to reconnect a live stream or a download.

        Raises:
            NotConfigured: nothing says where the server is.
        """
        self.connection = resolve(base_url, api_key, data_dir)
        self._transport = Transport(
            self.connection,
            timeout=timeout,
            retry=retry or RetryPolicy(),
            stream_retry=stream_retry or RetryPolicy(attempts=12),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # -- submitting -------------------------------------------------------------------------

    def submit(self, spec: Spec, *, idempotency_key: str | None = None) -> JobView:
        """Hand in a job. It is accepted once, however often the request had to be sent.

        Args:
            spec: A `JobSpec`, or a mapping of its form.
            idempotency_key: Your own, to make the call itself repeatable; None: a new one.
        """
        return self._transport.call(routes.submit(spec, idempotency_key or str(uuid4())))

    def submit_batch(
        self, specs: Sequence[Spec], *, idempotency_key: str | None = None
    ) -> BatchAccepted:
        """Hand in up to 1,000 jobs: all are accepted or none; the ids come in the same order.

        Args:
            specs: `JobSpec`s, or mappings of that form.
            idempotency_key: Your own, to make the call itself repeatable; None: a new one.
        """
        key = idempotency_key or str(uuid4())
        return self._transport.call(routes.submit_batch(specs, key))

    def run(self, spec: Spec, *, timeout: float | None = None) -> JobView:
        """Hand in a job and wait for its end.

        A job that fails is no error here: look at `state`, `reason` and `exit_code`.

        Args:
            spec: A `JobSpec`, or a mapping of its form.
            timeout: Seconds to wait; None: as long as it takes.

        Raises:
            WaitTimeout: it has not ended by then; it goes on.
        """
        job = self.submit(spec)
        return self.wait(job.id, timeout=timeout)

    def wait(self, job_id: str, *, timeout: float | None = None) -> JobView:
        """Wait for a job's end, without polling; a server that restarts meanwhile is no trouble.

        Args:
            job_id: Its id.
            timeout: Seconds; None: as long as it takes.

        Raises:
            WaitTimeout: it has not ended by then.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        job = self._transport.call(routes.job(job_id))
        while not job.state.terminal:
            if timeout is not None and deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeout(job, timeout)
            stream = routes.event_stream(job_id, after=None, start="start")
            for _ in self._transport.follow(stream, deadline=deadline):
                pass
            job = self._transport.call(routes.job(job_id), patient=True)
            if not job.state.terminal:
                time.sleep(0.05)
        return job

    def validate(self, spec: Spec) -> Validation:
        """Check a spec: its normalised form, who could run it for how much, who not and why."""
        return self._transport.call(routes.validate(spec))

    def quote(self, spec: Spec) -> Quote:
        """Ask every provider for offers, ranked by the spec's strategy; nothing is submitted."""
        return self._transport.call(routes.quote(spec))

    # -- jobs -------------------------------------------------------------------------------

    def job(self, job_id: str) -> JobView:
        """Everything about one job."""
        return self._transport.call(routes.job(job_id))

    def jobs(
        self, which: JobFilter = _ALL, *, limit: int = 100, cursor: str | None = None
    ) -> JobPage:
        """One page of jobs, newest first.

        Args:
            which: The filter.
            limit: Jobs per page.
            cursor: `next_cursor` of the page before.
        """
        return self._transport.call(routes.jobs(which, limit, cursor))

    def iter_jobs(self, which: JobFilter = _ALL, *, page_size: int = 100) -> Iterator[JobSummary]:
        """All jobs that match, newest first, page by page."""
        cursor: str | None = None
        while True:
            page = self.jobs(which, limit=page_size, cursor=cursor)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def frames(
        self,
        job_id: str,
        *,
        state: str | None = None,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> FramePage:
        """One page of a render job's frames, in order, with counts and cost of all of them.

        Args:
            job_id: Its id.
            state: Only frames in this state, such as `failed`.
            limit: Frames per page.
            cursor: `next_cursor` of the page before.
        """
        call = routes.frames(job_id, state=state, limit=limit, cursor=cursor)
        return self._transport.call(call)

    def cancel(self, job_id: str, *, reason: str = "") -> JobView:
        """Ask for a job's end; it is over when its lease is released (`wait`)."""
        return self._transport.call(routes.cancel(job_id, reason))

    def extend(
        self, job_id: str, duration: timedelta | str, *, idempotency_key: str | None = None
    ) -> JobView:
        """Move a job's deadline. It is moved once, however often the request had to be sent.

        Args:
            job_id: Its id.
            duration: How much longer, such as `30m`.
            idempotency_key: Your own, to make the call itself repeatable; None: a new one.

        Raises:
            ValueError: the text is no duration.
        """
        key = idempotency_key or str(uuid4())
        return self._transport.call(routes.extend(job_id, parse_duration(duration), key))

    # -- output, events ---------------------------------------------------------------------

    def log_page(
        self, job_id: str, *, tail: int | None = None, since: str | None = None, limit: int = 1000
    ) -> LogPage:
        """One page of a job's output.

        Args:
            job_id: Its id.
            tail: Only the last lines, this many.
            since: Only what comes after this cursor.
            limit: Lines per page.
        """
        return self._transport.call(routes.log_page(job_id, tail=tail, since=since, limit=limit))

    def logs(
        self,
        job_id: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: str | None = None,
        partial: bool = False,
    ) -> Iterator[LogEntry]:
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
            yield from self._transport.follow(stream)
            return
        page = self.log_page(job_id, tail=tail, since=since)
        while True:
            yield from page.lines
            if tail is not None or page.next_cursor is None or not page.lines:
                break
            page = self.log_page(job_id, since=page.next_cursor)
        yield from page.partial if partial else ()

    def events(
        self,
        job_id: str | None = None,
        *,
        follow: bool = False,
        after: str | None = None,
        start: Literal["start", "now"] = "start",
    ) -> Iterator[EventView]:
        """Events in their order.

        Args:
            job_id: Only those of this job; None: of all.
            follow: Wait for more: until the job has ended, or for ever. A lost connection is made
                anew and resumed, so that none is missing and none comes twice.
            after: Begin after this `cortexposition`.
            start: Where to begin without `after`: with the first event, or with the next one.
        """
        if follow:
            stream = routes.event_stream(job_id, after=after, start=start)
            yield from self._transport.follow(stream)
            return
        cursor = after
        while True:
            page = self._transport.call(routes.event_page(job_id, after=cursor))
            yield from page.items
            cursor = page.next_cursor
            if cursor is None or not page.items:
                return

    def outputs(self, job_id: str) -> tuple[OutputView, ...]:
        """The result files and empty folders of a job."""
        return self._transport.call(routes.outputs(job_id))

    def left_out(self, job_id: str) -> tuple[LeftOutView, ...]:
        """What a job declared as outputs and is not kept, and why."""
        return self._transport.call(routes.left_out(job_id))

    def output(self, job_id: str, path: str) -> bytes:
        """The content of one (small) result file."""
        return self._transport.call(routes.output(job_id, path))

    def download(self, job_id: str, output: OutputView, folder: Path) -> Path:
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
        return self._transport.download(routes.output(job_id, output.path).path, download)

    # -- money, server ----------------------------------------------------------------------

    def plugins(self) -> tuple[PluginView, ...]:
        """Every plugin of the workers: what it adds, whether it takes its events."""
        return self._transport.call(routes.plugins())

    def plugin(self, name: str) -> PluginView:
        """One plugin."""
        return self._transport.call(routes.plugin(name))

    def job_schema(self) -> Mapping[str, Any]:
        """The JSON Schema of the job spec."""
        return self._transport.call(routes.job_schema())

    def info(self) -> Info:
        """The server's version and links."""
        return self._transport.call(routes.info())

    def health(self, kind: Literal["live", "ready"] = "ready") -> Health:
        """How the server is, and what of that which it stands on is away."""
        return self._transport.call(routes.health(kind))
