"""What a gateway sees of a lease in its cluster."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulators.akash.cluster import run_id, service_of
from simulators.akash.model import SimDeployment, SimLease
from simulators.kit.runs import pullable, why_not_pulled

if TYPE_CHECKING:
    from simulators.akash.world import AkashWorld

_UNABLE = "the server is currently unable to handle the request"


@dataclass(frozen=True)
class Place:
    """A lease and its deployment."""

    deployment: SimDeployment
    lease: SimLease


@dataclass(frozen=True)
class Pod:
    """One pod of a lease: whose it is, its log (None while its container is not there yet)."""

    service: str
    name: str
    log: Path | None
    failed: bool = False


class KubeTrouble(Exception):
    """Kubernetes says no: the HTTP status and text of the gateway, and its close code."""

    def __init__(self, status: int, text: str, close: int) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.close = close


def check(place: Place) -> None:
    """Whether the Kubernetes API answers, and has the lease's namespace.

    Raises:
        KubeTrouble: it does not, or has not. Its texts are of the simulator's own making.
    """
    troubles = {
        "reset": KubeTrouble(503, "read tcp: read: connection reset by peer", 4002),
        "plain-503": KubeTrouble(500, f"{_UNABLE} (get manifests.akash.network)", 4000),
        "namespace-gone": KubeTrouble(404, "kube: lease not found", 4001),
    }
    trouble = troubles.get(place.lease.kube)
    if trouble is not None:
        raise trouble


def pods_of(world: "AkashWorld", place: Place) -> list[Pod]:
    """The pods that there are."""
    deployment, lease = place.deployment, place.lease
    if lease.kube in ("no-pods", "no-deployments", "no-replica-yet"):
        return []
    log = world.cluster.log(deployment, lease) if lease.started else None
    if lease.kube == "creating":
        log = None
    name = service_of(deployment)["name"]
    pods = [Pod(name, pod_name(deployment, lease), log, lease.kube == "pod-failed")]
    return pods + world.cluster.other_pods(deployment)


def pod_name(deployment: SimDeployment, lease: SimLease) -> str:
    """As Kubernetes names it: service, template, pod; the same over restarts of the container."""
    number = f"{int(deployment.dseq) % 16**10:010x}"
    return f"{service_of(deployment)['name']}-{number}-{lease.oseq:05d}"


async def status_of(world: "AkashWorld", place: Place) -> dict[str, Any]:
    """The status of a lease, as the gateway tells it and the Console hands it on.

    Raises:
        KubeTrouble: there is none.
    """
    check(place)
    deployment, lease = place.deployment, place.lease
    if lease.kube == "no-deployments":
        raise KubeTrouble(404, "kube: no deployments for lease", 4000)
    service = service_of(deployment)
    exposed = [entry for entry in service["expose"] or () if entry["global"]]
    web = [entry for entry in exposed if entry["externalPort"] == 80 and entry["proto"] == "TCP"]
    ports = [_forwarded(service["name"], entry) for entry in exposed if entry not in web]
    total = 0 if lease.kube == "no-replica-yet" else 1
    up = lease.kube != "not-ready" and await world.cluster.ready(deployment, lease)
    ready = total if up else 0
    keeps = bool((service.get("params") or {}).get("storage"))
    # A service with volumes is a StatefulSet: of those, replicas that are there count as available.
    available = total if keeps and lease.started else ready
    uris = [f"127.0.0.1:{entry['port']}" for entry in web]
    name = service["name"]
    answer = {
        "name": name,
        "available": available,
        "total": total,
        "uris": uris or None,
        "observed_generation": 1,
        "replicas": total,
        "updated_replicas": total,
        "ready_replicas": ready,
        "available_replicas": available,
    }
    return {
        "services": {name: answer},
        "forwarded_ports": {name: ports} if ports else None,
        "ips": None,
    }


def _forwarded(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": entry["port"],
        "externalPort": entry["port"],
        "proto": entry["proto"],
        "name": name,
    }


def kube_events(deployment: SimDeployment, lease: SimLease) -> list[dict[str, Any]]:
    """What kubelet and scheduler write down of the pod; they set no labels."""
    service = service_of(deployment)
    image = service["image"]
    pod = pod_name(deployment, lease)
    said = [("Normal", "Scheduled", f"Successfully assigned NS/{pod} to node-1")]
    said.append(("Normal", "Pulling", f'Pulling image "{image}"'))
    if not pullable(image):
        missing = "rpc error: code = NotFound desc = failed to pull and unpack image: not found"
        why = f'Failed to pull image "{image}": {why_not_pulled(image, missing)}'
        said.append(("Warning", "Failed", why))
        said.append(("Normal", "BackOff", f'Back-off pulling image "{image}"'))
    elif lease.started:
        said.append(("Normal", "Started", f"Started container {service['name']}"))
    if lease.exits:
        said.append(("Warning", "BackOff", "Back-off restarting failed container"))
    return [_event(*words, pod) for words in said]


def _event(kind: str, reason: str, note: str, pod: str) -> dict[str, Any]:
    return {
        "type": kind,
        "reportingController": "kubelet",
        "reportingInstance": "node-1",
        "reason": reason,
        "note": note,
        "object": {"kind": "Pod", "namespace": "lease", "name": pod},
    }


__all__ = ["KubeTrouble", "Place", "Pod", "check", "kube_events", "pods_of", "run_id", "status_of"]
