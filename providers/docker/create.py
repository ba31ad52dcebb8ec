"""From a job spec to the engine's description of a container."""

from typing import Any

from cortex.domain.spec import JobSpec
from providers.docker.config import DockerConfig
from providers.docker.names import INIT, volume_name

# Docker refuses less.
_LEAST_MEMORY = 6 * 2**20


def container_body(
    spec: JobSpec,
    key: str,
    config: DockerConfig,
    *,
    labels: dict[str, str],
    init: bool,
    podman: bool,
    quota: bool = False,
) -> dict[str, Any]:
    """The body of `POST /containers/create`; with `quota` the engine limits what it may write."""
    body: dict[str, Any] = {
        "Image": spec.image,
        "Labels": {**labels, INIT: "1"} if init else labels,
        "Env": [f"{name}={value}" for name, value in spec.environment().items()],
        "ExposedPorts": {f"{port.port}/{port.protocol}": {} for port in spec.ports},
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": False,
        "HostConfig": _host_config(spec, key, config, init=init, podman=podman),
    }
    if quota:
        size = str(max(spec.resources.storage, 2**20))
        body["HostConfig"]["StorageOpt"] = {"size": size}
    if spec.command:
        body["Entrypoint"] = list(spec.command)
    if spec.args or spec.command:
        # An empty list also drops the arguments that the image brings for its own entry point.
        body["Cmd"] = list(spec.args)
    if spec.workdir:
        body["WorkingDir"] = spec.workdir
    return body


def _host_config(
    spec: JobSpec, key: str, config: DockerConfig, *, init: bool, podman: bool
) -> dict[str, Any]:
    need = spec.resources
    memory = max(need.memory, _LEAST_MEMORY)
    host: dict[str, Any] = {
        "NetworkMode": config.network,
        "NanoCpus": int(need.cpu * 1_000_000_000),
        "Memory": memory,
        # The same number: no swap beyond the memory.
        "MemorySwap": memory,
        "PidsLimit": need.pids + (1 if init else 0),
        "Init": init,
        "Privileged": False,
        "CapDrop": ["ALL"],
        "CapAdd": list(config.cap_add),
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": spec.read_only_root,
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
        "LogConfig": _log_config(config.log_max_size, podman),
        "Mounts": [
            {
                "Type": "volume",
                "Source": volume_name(key, volume.name, persistent=volume.persistent),
                "Target": volume.path,
            }
            for volume in spec.volumes
        ],
        "Ulimits": [
            {"Name": name, "Soft": limit.soft, "Hard": limit.hard}
            for name, limit in config.ulimits.items()
        ],
    }
    if spec.read_only_root and all(volume.path != "/tmp" for volume in spec.volumes):
        host["Tmpfs"] = {"/tmp": f"rw,nosuid,nodev,exec,size={max(need.storage, 2**20)}"}
    if config.network == "bridge":
        host["PortBindings"] = {
            f"{port.port}/{port.protocol}": [{"HostIp": config.publish_address, "HostPort": ""}]
            for port in spec.ports
            if port.public
        }
    if config.runtime:
        host["Runtime"] = config.runtime
    if need.gpu:
        host["DeviceRequests"] = [
            {"Driver": "nvidia", "Count": need.gpu.count, "Capabilities": [["gpu"]]}
        ]
    return host


def _log_config(max_size: int, podman: bool) -> dict[str, Any]:
    if podman:
        return {"Type": "k8s-file", "Config": {"max-size": str(max_size)}}
    # Two files, so that a rotation leaves the newer half.
    half = {"max-size": str(max_size // 2), "max-file": "2"}
    return {"Type": "json-file", "Config": half}
