"""Renders a job as SDL, the description that the network bids on.

One service in one placement group. The name of the placement is the lease's mark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

import yaml

from cortex.domain.spec import JobSpec, Port
from providers.akash.config import AkashConfig, RegistryLogin
from providers.akash.names import SERVICE, Marker
from providers.akash.sdl.manifest import manifest_json
from providers.akash.sdl.rules import check
from providers.errors import Unsuitable
from providers.runner import RunnerUrls, wrap
from providers.variables import carried

_MIB = 2**20
_LEAST_STORAGE = 5 * _MIB
# Where the runner, after a restart of its container, finds that the command has run. Storage that
# is neither persistent nor `class: ram` gets a mount and no volume (provider's `workload.go`), and
# the container's own files are new after a restart; `/dev/shm` is the pod's, and stays (containerd
# mounts that of the sandbox into each of its containers).
_SHARED = "/dev/shm"
MARKS = "/run/cortex"
_MARKS_NAME = "marks"
# What a batch job exposes: a provider refuses a manifest without any global service, and a web
# address is the one that costs least. Nothing listens there.
_IDLE_PORT = 8099
_IN_FOLDER = 'cd "$0" && exec "$@"'
LEAST_CAP = Decimal("0.000001")
"""The least that a bid can be asked for, in uact per block: prices have six places."""
_Command = tuple[tuple[str, ...], dict[str, str]]


@dataclass(frozen=True)
class Rendered:
    """A job for the network. `manifest` is a secret: it holds variables and credentials."""

    marker: Marker
    sdl: dict[str, Any] = field(repr=False)
    manifest: str = field(repr=False)

    @cached_property
    def text(self) -> str:
        """The SDL as it is sent. All text is quoted: what is plain text here (`1e-3`, `0o17`) is a
        number to the Console, which reads a newer YAML.
        """
        dumped: str = yaml.dump(
            self.sdl, Dumper=_Quoting, sort_keys=False, allow_unicode=True, width=10**7
        )
        return dumped


class _Quoting(yaml.SafeDumper):
    """Writes every string in double quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')


_Quoting.add_representer(str, _quoted)


def render(
    spec: JobSpec,
    key: str,
    config: AkashConfig,
    cap: Decimal,
    urls: RunnerUrls | None = None,
) -> Rendered:
    """The SDL of a job. `cap` is the most per block that a bid may ask, in uact.

    Raises:
        InvalidSpec, Unsuitable: the network would refuse it, some of it only after billing began.
    """
    if spec.image is None:
        raise Unsuitable("Akash runs container images only; name an `image`")
    kept = [volume.name for volume in spec.volumes if volume.persistent]
    if kept:
        raise Unsuitable(f"volumes of Akash end with their lease: it cannot keep `{kept[0]}`")
    web = ingress(spec.ports)
    marker = Marker(config.mark, key, spec.kind == "batch", web.port if web else None)
    placement = str(marker)
    sdl: dict[str, Any] = {
        "version": "2.0",
        "services": {SERVICE: _service(spec, _command(spec, key, config, urls), config, web)},
        "profiles": {
            "compute": {SERVICE: {"resources": resources(spec, config)}},
            "placement": {placement: _placement(spec, cap)},
        },
        "deployment": {SERVICE: {placement: {"profile": SERVICE, "count": 1}}},
    }
    check(sdl)
    return Rendered(marker, sdl, manifest_json(sdl))


def resources(spec: JobSpec, config: AkashConfig) -> dict[str, Any]:
    """The compute profile."""
    need = spec.resources
    storage: list[dict[str, Any]] = [{"size": _mib(max(need.storage, _LEAST_STORAGE))}]
    for volume in spec.volumes:
        attributes = {"persistent": True, "class": config.storage_class}
        size = _mib(max(volume.size, _LEAST_STORAGE))
        storage.append({"name": _volume(volume.name), "size": size, "attributes": attributes})
    if in_ram(spec, config):
        in_memory = {"persistent": False, "class": "ram"}
        storage.append({"name": _MARKS_NAME, "size": "8Mi", "attributes": in_memory})
    profile: dict[str, Any] = {
        "cpu": {"units": f"{math.ceil(need.cpu * 1000)}m"},
        "memory": {"size": _mib(need.memory)},
        "storage": storage,
    }
    if need.gpu is not None:
        models = [{"model": need.gpu.model.lower()}] if need.gpu.model else None
        vendors = {"vendor": {need.gpu.vendor: models}}
        profile["gpu"] = {"units": need.gpu.count, "attributes": vendors}
    return profile


def ingress(ports: Sequence[Port]) -> Port | None:
    """The port that gets a web address: the first public TCP one whose name is not `tcp…`."""
    for port in ports:
        if port.public and port.protocol == "tcp" and not (port.name or "").startswith("tcp"):
            return port
    return None


def literal(text: str) -> str:
    """Kubernetes puts variables into commands, arguments and values (`$(NAME)`, and `$$` for `$`):
    this is the text that comes out of it as it was.
    """
    return text.replace("$", "$$")


def _service(
    spec: JobSpec, command: _Command, config: AkashConfig, web: Port | None
) -> dict[str, Any]:
    argv, env = command
    service: dict[str, Any] = {"image": spec.image}
    login = _login(spec.image or "", config.registries)
    if login is not None:
        service["credentials"] = {
            "host": login.server,
            "username": login.username,
            "password": login.password.get_secret_value(),
        }
    if argv:
        service["command"] = [literal(argv[0])]
    if argv[1:]:
        service["args"] = [literal(word) for word in argv[1:]]
    if env:
        service["env"] = [f"{name}={literal(text)}" for name, text in env.items()]
    service["expose"] = _expose(spec.ports, web)
    mounts = {_volume(volume.name): volume.path for volume in spec.volumes}
    if in_ram(spec, config):
        mounts[_MARKS_NAME] = MARKS
    if mounts:
        storage = {name: {"mount": path, "readOnly": False} for name, path in mounts.items()}
        service["params"] = {"storage": storage}
    return service


def _command(spec: JobSpec, key: str, config: AkashConfig, urls: RunnerUrls | None) -> _Command:
    """What the container runs. A batch runs inside the runner: exited containers are restarted."""
    if spec.kind == "batch":
        marks = None
        if config.guard_restarts:
            marks = MARKS if in_ram(spec, config) else _SHARED
        wrapped = wrap(spec, key, marks_dir=marks, urls=urls)
        return wrapped.argv, wrapped.env
    argv = (*spec.command, *spec.args)
    if spec.workdir is not None:
        if not spec.command:
            raise Unsuitable("on Akash a service with a `workdir` needs its `command` as well")
        job = carried(argv, spec.environment())
        return ("/bin/sh", "-c", _IN_FOLDER, spec.workdir, *job.words), job.env
    if spec.args and not spec.command:
        raise Unsuitable("on Akash a service with `args` needs its `command` as well")
    return argv, spec.environment()


def _expose(ports: Sequence[Port], web: Port | None) -> list[dict[str, Any]]:
    everywhere = [{"global": True}]
    exposed: list[dict[str, Any]] = []
    for port in ports:
        if not port.public:
            continue
        entry: dict[str, Any] = {"port": port.port}
        if port is web:
            entry["as"] = 80
        elif port.protocol == "tcp" and port.port == 80:
            entry["as"] = 8080  # 80 would make it a second web address
        exposed.append({**entry, "proto": port.protocol, "to": everywhere})
    if not exposed:
        exposed.append({"port": _IDLE_PORT, "as": 80, "proto": "tcp", "to": everywhere})
    return [{**entry, "to": [dict(to) for to in entry["to"]]} for entry in exposed]


def _placement(spec: JobSpec, cap: Decimal) -> dict[str, Any]:
    placement: dict[str, Any] = {}
    if len(spec.placement.regions) == 1:
        # Of several regions one is chosen among the bids: attributes must all hold at once.
        placement["attributes"] = {"location-region": spec.placement.regions[0]}
    amount = f"{cap.quantize(LEAST_CAP):f}"
    placement["pricing"] = {SERVICE: {"denom": "uact", "amount": amount}}
    return placement


def _login(image: str, logins: Sequence[RegistryLogin]) -> RegistryLogin | None:
    host, slash, _ = image.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host = "docker.io"
    return next((login for login in logins if login.server == host), None)


def in_ram(spec: JobSpec, config: AkashConfig) -> bool:
    """Whether the runner's marks lie on a volume of their own."""
    wanted = config.guard_restarts and config.guard_storage == "ram"
    return wanted and spec.kind == "batch"


def _volume(name: str) -> str:
    """Names of storage begin with a letter, and `marks` is taken."""
    return f"v-{name}"


def _mib(size: int) -> str:
    return f"{math.ceil(size / _MIB)}Mi"
