"""The routes of the API for jobs: submit, quote, look, cancel, extend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from cortex.client._routes.call import Call, Since, SomeFields, get, job_path, post, query
from cortex.client.encoding import plain
from cortex.client.streams import Params
from cortex.domain.spec import JobSpec
from cortex.domain.units import format_duration
from cortex.schemas.bulk import BulkCancelView
from cortex.schemas.jobs import BatchAccepted, FramePage, JobPage, JobView, Quote, Validation
from cortex.schemas.metrics import JobMetrics

Spec = JobSpec | Mapping[str, Any]
"""A job spec, or a mapping of its form: the server checks the latter."""


@dataclass(frozen=True)
class JobFilter:
    """Which jobs to list; what is None does not matter.

    Attributes:
        state: Such as `running`.
        project: Where they belong.
        provider: Id of the provider of the newest attempt.
        labels: All of them must be there.
        group: Id of the group that they are members of.
        created_after: A time, or how long ago.
        created_before: A time, or how long ago.
    """

    state: str | None = None
    project: str | None = None
    provider: str | None = None
    owner: str | None = None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None
    created_after: Since | None = None
    created_before: Since | None = None


def submit(spec: Spec, key: str, project: str | None = None) -> Call[JobView]:
    call = post("/jobs", JobView, spec_json(spec), headers={"Idempotency-Key": key})
    return replace(call, params=query(project=project))


def submit_batch(
    specs: Sequence[Spec], key: str, project: str | None = None
) -> Call[BatchAccepted]:
    body = {"jobs": [spec_json(spec) for spec in specs]}
    call = post("/jobs/batch", BatchAccepted, body, headers={"Idempotency-Key": key})
    return replace(call, params=query(project=project))


def validate(spec: Spec, project: str | None = None) -> Call[Validation]:
    call = post("/jobs/validate", Validation, spec_json(spec))
    return replace(call, params=query(project=project))


def quote(spec: Spec, project: str | None = None) -> Call[Quote]:
    return replace(post("/quotes", Quote, spec_json(spec)), params=query(project=project))


def jobs(which: JobFilter, saved: str | None, limit: int, cursor: str | None) -> Call[JobPage]:
    params = query(saved=saved, limit=limit, cursor=cursor) + _filter(which)
    return get("/jobs", JobPage, params)


def job_fields(
    which: JobFilter, fields: Sequence[str], saved: str | None, limit: int, cursor: str | None
) -> Call[SomeFields]:
    whole = jobs(which, saved, limit, cursor)
    return get("/jobs", SomeFields, (*whole.params, ("fields", ",".join(fields))))


def cancel_jobs(
    which: JobFilter, *, reason: str, dry_run: bool, everything: bool, key: str
) -> Call[BulkCancelView]:
    body = {"reason": reason, "dry_run": dry_run, "all": everything}
    call = post("/jobs/cancel", BulkCancelView, body, headers={"Idempotency-Key": key})
    return replace(call, params=_filter(which))


def _filter(which: JobFilter) -> Params:
    labels = tuple(("label", f"{key}={value}") for key, value in which.labels.items())
    narrowed = query(
        state=which.state,
        project=which.project,
        provider=which.provider,
        owner=which.owner,
        name=which.name,
        group=which.group,
        created_after=which.created_after,
        created_before=which.created_before,
    )
    return narrowed + labels


def job(job_id: str) -> Call[JobView]:
    return get(job_path(job_id), JobView)


def frames(job_id: str, *, state: str | None, limit: int, cursor: str | None) -> Call[FramePage]:
    params = query(state=state, limit=limit, cursor=cursor)
    return get(f"{job_path(job_id)}/frames", FramePage, params)


def metrics(
    job_id: str, *, since: Since | None, until: Since | None, step: int | None
) -> Call[JobMetrics]:
    params = query(since=since, until=until, step=step)
    return get(f"{job_path(job_id)}/metrics", JobMetrics, params)


def cancel(job_id: str, reason: str) -> Call[JobView]:
    return post(f"{job_path(job_id)}/cancel", JobView, {"reason": reason})


def extend(job_id: str, duration: timedelta, key: str) -> Call[JobView]:
    body = {"duration": format_duration(duration)}
    return post(f"{job_path(job_id)}/extend", JobView, body, headers={"Idempotency-Key": key})


def spec_json(spec: Spec) -> dict[str, Any]:
    """The spec as it is sent: only what was set, secrets in clear."""
    if not isinstance(spec, JobSpec):
        return dict(plain(spec))
    body = spec.model_dump(mode="json", exclude_unset=True)
    if spec.secret_env:
        body["secret_env"] |= {
            name: value for name, value in spec.secrets().items() if name not in spec.references()
        }
    return body
