"""The part of the blocking client that is about jobs."""
# Made from _async/jobs.py by `make format`; change that one.

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from cortex.client._routes import events as event_routes
from cortex.client._routes import jobs as routes
from cortex.client._routes.call import Since
from cortex.client._routes.jobs import JobFilter, Spec
from cortex.client._sync.paging import every_entry
from cortex.client._sync.waiting import until_ended
from cortex.client.errors import WaitTimeout
from cortex.client.transport import Transport
from cortex.domain.units import parse_duration
from cortex.schemas.bulk import BulkCancelView
from cortex.schemas.jobs import (
    BatchAccepted,
    FramePage,
    JobPage,
    JobSummary,
    JobView,
    Quote,
    Validation,
)
from cortex.schemas.metrics import JobMetrics

_ALL = JobFilter()


class JobCalls:
    """What `Cortex` can do with jobs."""

    _transport: Transport
    _project: str | None

    def submit(
        self, spec: Spec, *, project: str | None = None, idempotency_key: str | None = None
    ) -> JobView:
        """Hand in a job. It is accepted once, however often the request had to be sent.

        Args:
            spec: A `JobSpec`, or a mapping of its form.
            project: Where it belongs; None: where this client's submissions go.
            idempotency_key: Your own, to make the call itself repeatable; None: a new one.
        """
        key = idempotency_key or str(uuid4())
        return self._transport.call(routes.submit(spec, key, project or self._project))

    def submit_batch(
        self,
        specs: Sequence[Spec],
        *,
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> BatchAccepted:
        """Hand in up to 1,000 jobs: all are accepted or none; the ids come in the same order.

        Args:
            specs: `JobSpec`s, or mappings of that form.
            project: Where they belong; None: where this client's submissions go.
            idempotency_key: Your own, to make the call itself repeatable; None: a new one.
        """
        key = idempotency_key or str(uuid4())
        return self._transport.call(routes.submit_batch(specs, key, project or self._project))

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
        return until_ended(
            self._transport,
            routes.job(job_id),
            event_routes.event_stream(job_id, after=None, start="start"),
            timeout=timeout,
            too_late=WaitTimeout,
        )

    def validate(self, spec: Spec, *, project: str | None = None) -> Validation:
        """Check a spec: its normalised form, who could run it for how much, who not and why.

        Args:
            spec: A `JobSpec`, or a mapping of its form.
            project: Whose secrets it may refer to; None: where this client's submissions go.
        """
        return self._transport.call(routes.validate(spec, project or self._project))

    def quote(self, spec: Spec, *, project: str | None = None) -> Quote:
        """Ask every provider for offers, ranked by the spec's strategy; nothing is submitted.

        Args:
            spec: A `JobSpec`, or a mapping of its form.
            project: Whose secrets it may refer to; None: where this client's submissions go.
        """
        return self._transport.call(routes.quote(spec, project or self._project))

    def job(self, job_id: str) -> JobView:
        """Everything about one job."""
        return self._transport.call(routes.job(job_id))

    def jobs(
        self,
        which: JobFilter = _ALL,
        *,
        saved: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> JobPage:
        """One page of jobs, newest first.

        Args:
            which: The filter.
            saved: Name of a saved filter; what `which` says counts.
            limit: Jobs per page.
            cursor: `next_cursor` of the page before.
        """
        return self._transport.call(routes.jobs(which, saved, limit, cursor))

    def iter_jobs(
        self, which: JobFilter = _ALL, *, saved: str | None = None, page_size: int = 100
    ) -> Iterator[JobSummary]:
        """All jobs that match, newest first, page by page."""
        pages = partial(routes.jobs, which, saved, page_size)
        yield from every_entry(self._transport, pages)

    def iter_job_fields(
        self,
        fields: Sequence[str],
        which: JobFilter = _ALL,
        *,
        saved: str | None = None,
        page_size: int = 500,
    ) -> Iterator[dict[str, Any]]:
        """Some fields of all jobs that match, newest first; less to read and to send than all.

        Args:
            fields: Such as `id`, `name`, `state`: names of fields of `JobSummary`.
            which: The filter.
            saved: Name of a saved filter; what `which` says counts.
            page_size: Jobs per request.
        """
        pages = partial(routes.job_fields, which, fields, saved, page_size)
        yield from every_entry(self._transport, pages)

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

    def metrics(
        self,
        job_id: str,
        *,
        since: Since | None = None,
        until: Since | None = None,
        step: int | None = None,
    ) -> JobMetrics:
        """What a job took of its machine over time, as far as its provider tells it.

        Args:
            job_id: Its id.
            since: A time, or how long ago; None: from its start on.
            until: A time, or how long ago; None: up to its end, or now.
            step: Seconds from one point to the next; None: what makes about 120 points.
        """
        call = routes.metrics(job_id, since=since, until=until, step=step)
        return self._transport.call(call)

    def cancel(self, job_id: str, *, reason: str = "") -> JobView:
        """Ask for a job's end; it is over when its lease is released (`wait`)."""
        return self._transport.call(routes.cancel(job_id, reason))

    def cancel_jobs(
        self,
        which: JobFilter = _ALL,
        *,
        reason: str = "",
        dry_run: bool = False,
        everything: bool = False,
        idempotency_key: str | None = None,
    ) -> BulkCancelView:
        """Ask for the end of all jobs that match and that one may cancel, up to 500 in one call.

        Args:
            which: The filter.
            reason: Is kept with each job.
            dry_run: Only count.
            everything: Must be true where the filter is empty.
            idempotency_key: Your own, to make the call itself repeatable: it is about the jobs that
                were chosen the first time; None: a new one.
        """
        key = idempotency_key or str(uuid4())
        call = routes.cancel_jobs(
            which, reason=reason, dry_run=dry_run, everything=everything, key=key
        )
        return self._transport.call(call)

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
