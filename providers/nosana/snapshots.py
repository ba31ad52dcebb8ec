"""What a deployment, its runs and their result mean for a lease.

Neither the status of a deployment nor that of a flow means success, and an exit code is not always
the command's own: it is only if a container was started, and neither the network nor anybody who
may stop it has ended it. (Recorded: a run that was stopped before it began says `exitCode: 0`
without any flag, one that ran out of time says `success`, an image that could not be pulled 2.)
"""

import re
from collections.abc import Sequence
from datetime import datetime

from cortex.domain.leases import Endpoint, LeaseSnapshot
from cortex.domain.states import RunState
from providers.nosana import wire
from providers.nosana.definition import OP, image_of
from providers.registries import cannot_be_pulled, pull_trouble
from providers.runner import RunnerResult

TIMED_OUT = 124
"""What `timeout` of the coreutils says of a command that took too long."""
HANDOVER = "handover"
"""What the runner says where it did not get what the drop box was to hand over."""
STILL_COSTS: tuple[wire.DeploymentStatus, ...] = ("RUNNING", "ERROR", "INSUFFICIENT_FUNDS")
"""What can be stopped, and has to be: too little credit is tried again for hours."""

_WHY_NOT = {
    "DRAFT": "it is a draft: nothing runs yet",
    "STARTING": "Nosana is posting the job",
    "RUNNING": "Nosana is posting the job",
    "STOPPING": "it is being stopped",
    "STOPPED": "it was stopped before it ran",
    "ERROR": "Nosana could not post the job",
    "INSUFFICIENT_FUNDS": "the account has too few credits for the job",
    "ARCHIVED": "it was given up before it ran: Nosana archives all deployments of an account "
    "whose balance is negative",
}
_NO_RUN = ("STOPPED", "ERROR", "INSUFFICIENT_FUNDS", "ARCHIVED")
_OVER = ("DRAFT", "STOPPED", "ARCHIVED")
_PULL = "image-pull-error"
# Of a container that could not be started: the fault is in the image or the command.
_OF_THE_JOB = re.compile(r"executable file|no such file|permission denied|exec format", re.I)


def ended(deployment: wire.Deployment, jobs: Sequence[wire.Job]) -> bool:
    """Whether nothing of it runs or costs any more."""
    return deployment.status in _OVER and all(job.final for job in jobs)


def of_unknown(key: str) -> LeaseSnapshot:
    return LeaseSnapshot(key=key, state=RunState.LOST, message="Nosana knows no such deployment")


def without_run(key: str, deployment: wire.Deployment) -> LeaseSnapshot:
    """Of a deployment that has no run (yet)."""
    state = RunState.LOST if deployment.status in _NO_RUN else RunState.STARTING
    return LeaseSnapshot(key=key, state=state, message=_WHY_NOT[deployment.status])


def of_run(
    key: str,
    deployment: wire.Deployment,
    job: wire.JobDetail,
    *,
    own: RunnerResult | None = None,
    untaken: bool = False,
) -> LeaseSnapshot:
    """Of the newest run. `own` is what the runner has said of its command's end, if anything;
    `untaken`, whether the drop box still has what it was to hand over.
    """
    endpoints = tuple(
        Endpoint(port=int(endpoint.port), url=endpoint.url)
        for endpoint in deployment.endpoints
        if str(endpoint.port).isdigit()
    )
    if job.state == "QUEUED":
        message = f"it waits for a node in the queue of market `{deployment.market}`"
        return LeaseSnapshot(key=key, state=RunState.STARTING, message=message)
    if job.state == "RUNNING":
        return LeaseSnapshot(
            key=key, state=RunState.RUNNING, started_at=job.began, endpoints=endpoints
        )
    return _over(key, job, own, untaken)


def operation(job: wire.JobDetail) -> wire.OpState | None:
    """The operation that says how the run went: ours; of others, the first that did not succeed."""
    ops = job.jobResult.opStates if job.jobResult else ()
    own = [op for op in ops if op.operationId == OP]
    failed = [op for op in ops if op.status != "success"]
    return next(iter(own or failed or ops[-1:]), None)


def exit_code(op: wire.OpState) -> int | None:
    """What stands there as the exit code, wherever the node has put it."""
    state = op.diagnostics.state
    if op.exitCode is None and state is not None:
        return state.ExitCode
    return op.exitCode


def _over(key: str, job: wire.JobDetail, own: RunnerResult | None, untaken: bool) -> LeaseSnapshot:
    op = operation(job)
    if op is None:
        return _without_result(key, job, own)
    reason = op.diagnostics.reason
    if reason.hostShutDown:
        return _lost(key, job, f"the node was shut down{_because(reason.reason)}")
    if reason.jobExpired:
        message = "the network ended it at its own time limit"
        return _exited(key, job, TIMED_OUT, f"{message}{_because(reason.reason)}")
    if reason.jobStopped or op.status == "stopped":
        return _lost(key, job, f"it was stopped{_because(reason.reason)}")
    if op.errors or op.error is not None or not op.providerId:
        return _not_started(key, job, op)
    if own is not None and own.message == HANDOVER:
        return _no_handover(key, job, untaken)
    code = exit_code(op)
    if code is None:
        return _lost(key, job, "it has ended and the node sent no exit code")
    if own is not None and own.stopped:
        return _lost(key, job, own.why_lost)
    return _exited(key, job, code, _killed(op))


def _without_result(key: str, job: wire.JobDetail, own: RunnerResult | None) -> LeaseSnapshot:
    if own is not None and not own.stopped and job.state == "COMPLETED":
        message = "the node's result is lost; the exit code came through the drop box"
        return _exited(key, job, own.exit_code, message)
    if job.state == "STOPPED":
        return _lost(key, job, "it was stopped; the node sent no result")
    return _lost(
        key,
        job,
        "it has ended and the node sent no result: the node vanished, or its log was longer than "
        "the 1 MiB that Nosana takes",
    )


def _not_started(key: str, job: wire.JobDetail, op: wire.OpState) -> LeaseSnapshot:
    """No container came to be: whose fault it is stands in the errors."""
    error = next(iter(op.errors), op.error)
    said = [part.log for part in op.logs if part.type == "nodeerr"]
    event = error.event if error else ""
    text = (error.message or event) if error else " ".join(said)
    if event == _PULL:
        return _unpulled(key, job, text)
    if error is None and not said:
        return _lost(key, job, "it was ended before its container was started")
    unfit = bool(_OF_THE_JOB.search(text)) or (error is None and "Unresolved literal" in text)
    return _lost(key, job, f"the node could not run it{_because(text)}", unfit=unfit)


def _unpulled(key: str, job: wire.JobDetail, text: str) -> LeaseSnapshot:
    image = image_of(job.jobDefinition)
    why = pull_trouble(text, image)
    message = cannot_be_pulled(image, "" if text == _PULL else text)
    snapshot = _lost(key, job, message, unfit=why == "missing")
    return snapshot.model_copy(update={"image": why})


def _no_handover(key: str, job: wire.JobDetail, untaken: bool) -> LeaseSnapshot:
    """Its runner did not get what waited for it in the drop box, so the command did not run."""
    if untaken:
        what = "the node could not reach the drop box (`drop.public_url`), so the job has not run"
        return _lost(key, job, what)
    return _lost(
        key,
        job,
        "the job's secrets and files were taken from the drop box before it could, so it has not "
        "run: somebody may have read them, by the link in its public definition; renew them",
    )


def _killed(op: wire.OpState) -> str:
    if op.diagnostics.state is not None and op.diagnostics.state.OOMKilled:
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


def _lost(key: str, job: wire.JobDetail, message: str, *, unfit: bool = False) -> LeaseSnapshot:
    return LeaseSnapshot(
        key=key,
        state=RunState.LOST,
        message=message,
        unfit=unfit,
        started_at=job.began,
        finished_at=_end(job),
    )


def _end(job: wire.JobDetail) -> datetime | None:
    """Both times are whole seconds of the network's clock."""
    if job.began is not None and job.ended is not None:
        return max(job.began, job.ended)
    return job.ended


def _because(text: str) -> str:
    short = " ".join(text.split())[:300]
    return f": {short}" if short else ""
