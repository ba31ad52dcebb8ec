"""What a deployment, its runs and their result mean for a lease.

A deployment's status alone never means success: the run's state and the exit code decide.
"""

from collections.abc import Sequence
from datetime import datetime

from cortex.domain.leases import Endpoint, LeaseSnapshot
from cortex.domain.states import RunState
from providers.nosana import wire

_TIMED_OUT = 124
"""What `timeout` of the coreutils says of a command that took too long."""

_WHY_NOT = {
    "DRAFT": "it is a draft: nothing runs yet",
    "STARTING": "Nosana is posting the job",
    "RUNNING": "Nosana is posting the job",
    "STOPPING": "it is being stopped",
    "STOPPED": "it was stopped before it ran",
    "ERROR": "Nosana could not post the job",
    "INSUFFICIENT_FUNDS": "the account has too few credits for the job",
    "ARCHIVED": "it was given up before it ran",
}
_ENDED = ("STOPPED", "ERROR", "INSUFFICIENT_FUNDS", "ARCHIVED")


def ended(deployment: wire.Deployment, jobs: Sequence[wire.Job]) -> bool:
    """Whether nothing of it runs or costs any more."""
    return deployment.status in _ENDED and all(job.final for job in jobs)


def of_unknown(key: str) -> LeaseSnapshot:
    return LeaseSnapshot(key=key, state=RunState.LOST, message="Nosana knows no such deployment")


def without_run(key: str, deployment: wire.Deployment) -> LeaseSnapshot:
    """Of a deployment that has no run (yet)."""
    state = RunState.LOST if deployment.status in _ENDED else RunState.STARTING
    return LeaseSnapshot(key=key, state=state, message=_WHY_NOT[deployment.status])


def of_run(
    key: str, deployment: wire.Deployment, job: wire.JobDetail, queued_in: str = ""
) -> LeaseSnapshot:
    """Of the newest run."""
    endpoints = tuple(
        Endpoint(port=int(item.port), url=item.url)
        for item in deployment.endpoints
        if str(item.port).isdigit()
    )
    if job.state == "QUEUED":
        where = f" of market `{queued_in or deployment.market}`"
        message = f"it waits for a node in the queue{where}"
        return LeaseSnapshot(key=key, state=RunState.STARTING, message=message)
    if job.state == "RUNNING":
        return LeaseSnapshot(
            key=key, state=RunState.RUNNING, started_at=job.began, endpoints=endpoints
        )
    return _over(key, job)


def _over(key: str, job: wire.JobDetail) -> LeaseSnapshot:
    op = job.jobResult.opStates[-1] if job.jobResult and job.jobResult.opStates else None
    reason = op.diagnostics.reason if op else wire.Reason()
    code = exit_code(op)
    if reason.hostShutDown:
        return _lost(key, job, f"the node was shut down{_because(reason.reason)}")
    if reason.jobExpired:
        message = f"the network ended it at its own time limit{_because(reason.reason)}"
        return _exited(key, job, code if code else _TIMED_OUT, message)
    if code is not None:
        return _exited(key, job, code, _killed(op))
    if op is not None and op.error is not None:
        text = op.error.message or op.error.event
        return _lost(key, job, f"the node could not run it{_because(text)}")
    if job.state == "STOPPED":
        return _lost(key, job, "it was stopped; the node sent no result")
    return _lost(key, job, "it has ended and the node sent no exit code")


def exit_code(op: wire.OpState | None) -> int | None:
    """The command's exit code, wherever the node has put it."""
    if op is None:
        return None
    state = op.diagnostics.state
    if op.exitCode is None and state is not None:
        return state.ExitCode
    return op.exitCode


def _killed(op: wire.OpState | None) -> str:
    if op is not None and op.diagnostics.state is not None and op.diagnostics.state.OOMKilled:
        return "it needed more memory than there was"
    return ""


def _exited(key: str, job: wire.JobDetail, code: int, message: str) -> LeaseSnapshot:
    return LeaseSnapshot(
        key=key,
        state=RunState.EXITED,
        exit_code=code,
        message=message,
        started_at=job.began,
        finished_at=_end(job),
    )


def _lost(key: str, job: wire.JobDetail, message: str) -> LeaseSnapshot:
    return LeaseSnapshot(
        key=key,
        state=RunState.LOST,
        message=message,
        started_at=job.began,
        finished_at=_end(job),
    )


def _end(job: wire.JobDetail) -> datetime | None:
    """Both times are whole seconds of the network's clock."""
    if job.began is not None and job.ended is not None:
        return max(job.began, job.ended)
    return job.ended


def _because(text: str) -> str:
    short = " ".join(text.split())[:200]
    return f": {short}" if short else ""
