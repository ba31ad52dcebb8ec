"""From what the network says to what Cortex knows: pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cortex.domain.leases import Endpoint, LeaseRef, LeaseSnapshot, PullTrouble
from cortex.domain.states import RunState
from providers.akash.console import wire
from providers.akash.names import Marker, marker_of
from providers.registries import pull_trouble
from providers.runner import RunnerResult

_REASONS = {
    "lease_closed_owner": "it was closed by this account",
    "lease_closed_reason_unstable": "its container kept failing, and the provider closed it",
    "lease_closed_reason_decommission": "the provider is shut down",
    "lease_closed_reason_unspecified": "the provider closed it and gave no reason",
    "lease_closed_reason_manifest_timeout": "the provider never got what to run",
    "lease_closed_reason_insufficient_funds": "its escrow ran dry",
}
_MAX_NOTE = 300
# Said once more after each try, without the cause, which stands in an event before.
_BARE = ("error: errimagepull", "error: imagepullbackoff")


@dataclass(frozen=True)
class Run:
    """What the runner in the container has said."""

    started_at: datetime | None = None
    result: RunnerResult | None = None


def lost(
    ref: LeaseRef, message: str, *, unfit: bool = False, image: PullTrouble = ""
) -> LeaseSnapshot:
    return LeaseSnapshot(
        key=ref.key, state=RunState.LOST, message=message, unfit=unfit, image=image
    )


def exited(ref: LeaseRef, run: Run, endpoints: tuple[Endpoint, ...] = ()) -> LeaseSnapshot | None:
    """The command has ended; None if it has not."""
    if run.result is None:
        return None
    result = run.result
    if result.why_lost:
        return lost(ref, result.why_lost)
    return LeaseSnapshot(
        key=ref.key,
        state=RunState.EXITED,
        exit_code=result.exit_code,
        endpoints=endpoints,
        message=result.message,
        started_at=run.started_at or result.started_at,
        finished_at=result.finished_at,
    )


def running(
    ref: LeaseRef, lease: wire.Lease, run: Run, endpoints: tuple[Endpoint, ...]
) -> LeaseSnapshot:
    return LeaseSnapshot(
        key=ref.key,
        state=RunState.RUNNING,
        endpoints=endpoints,
        message=leaving(lease),
        started_at=run.started_at,
    )


def starting(ref: LeaseRef, message: str) -> LeaseSnapshot:
    return LeaseSnapshot(key=ref.key, state=RunState.STARTING, message=message)


def leaving(lease: wire.Lease) -> str:
    """A provider that has said that it will go."""
    if lease.state != "reclaiming":
        return ""
    until = lease.reclamation.deadline if lease.reclamation else None
    when = f" at {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC" if until else " soon"
    return f"the provider takes its machine back{when}; the job is then started elsewhere"


def why_lost(detail: wire.Detail, lease: wire.Lease | None, provider: str) -> str | None:
    """Why nothing runs any more; None if it does.

    A provider that closes its lease leaves the deployment active: the lease's state counts.
    """
    escrow = detail.escrow_account.state.state
    if escrow == "overdrawn" or (lease is not None and lease.state == "insufficient_funds"):
        return "the escrow of the deployment ran dry, and the network closed it"
    if lease is not None and not lease.live:
        reason = _REASONS.get(lease.reason or "", "the network gives no reason")
        return f"provider {provider} runs it no more: {reason}"
    if not detail.active:
        return "the deployment was closed"
    return None


def endpoints(ref: LeaseRef, status: wire.LeaseStatus, mark: str) -> tuple[Endpoint, ...]:
    """Where the job's ports can be reached."""
    marker = marker_of(ref.data.get("marker", ""), mark)
    reachable: list[Endpoint] = []
    if marker is not None and marker.ingress is not None:
        for service in (status.services or {}).values():
            for uri in (service.uris or [])[:1]:
                reachable.append(Endpoint(port=marker.ingress, url=f"http://{uri}"))
    for ports in (status.forwarded_ports or {}).values():
        for forwarded in ports:
            if forwarded.host:
                url = f"tcp://{forwarded.host}:{forwarded.external_port}"
                reachable.append(Endpoint(port=forwarded.port, url=url))
    return tuple(sorted(set(reachable), key=lambda endpoint: (endpoint.port, endpoint.url)))


def is_batch(ref: LeaseRef, mark: str) -> bool:
    """Whether the runner is inside; what is not known is taken for one."""
    marker: Marker | None = marker_of(ref.data.get("marker", ""), mark)
    return marker is None or marker.batch


@dataclass(frozen=True)
class Trouble:
    """What is wrong. `image`: the image cannot be pulled, and why."""

    text: str
    image: PullTrouble = ""

    @property
    def unfit(self) -> bool:
        """Whether it is the job's own, and would be the same at any provider."""
        return self.image == "missing"


def container_trouble(events: Sequence[Mapping[str, Any]]) -> Trouble | None:
    """The newest thing that keeps a container from its start; None if nothing does."""
    bare: Trouble | None = None
    for event in reversed(events):
        if event.get("type") != "Warning":
            continue
        note = " ".join(str(event.get("note") or "").split())
        words = note.lower()
        reason = str(event.get("reason") or "")
        if reason == "InspectFailed" or ("pull" in words and "image" in words):
            text = f"the image cannot be pulled there: {note[:_MAX_NOTE]}"
            pull = Trouble(text, pull_trouble(note, _image_in(note)))
            if words not in _BARE:
                return pull
            bare = bare or pull
        elif reason == "FailedScheduling":
            return bare or Trouble(f"its cluster has no room for the job: {note[:_MAX_NOTE]}")
    return bare


def _image_in(note: str) -> str:
    """The image's name in it, as `Failed to pull image "busybox:1": …` has it."""
    _, opening, rest = note.partition('image "')
    return rest.partition('"')[0] if opening else ""
