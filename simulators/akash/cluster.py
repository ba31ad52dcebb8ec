"""What runs at the providers: one container for each lease, started again when it exits."""

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulators.akash.model import SimDeployment, SimLease
from simulators.akash.settings import AkashSettings
from simulators.kit.runs import Runs, pullable

_REFERENCE = re.compile(r"\$\$|\$\((?P<name>[A-Za-z_][A-Za-z0-9_.-]*)\)")
_MAX_DELAY = 300
# The file takes what comes as it comes; the runtime below would break long lines.
_INTO_LOG = 'exec "$@" >>"$0" 2>&1'


class Cluster:
    """The containers of all providers."""

    def __init__(self, runs: Runs, folder: Path, settings: AkashSettings) -> None:
        self.runs = runs
        self._folder = folder
        self._settings = settings

    async def step(self, deployment: SimDeployment, lease: SimLease) -> bool:
        """Let a container start, or start again. True if something has changed."""
        service = service_of(deployment)
        if lease.delivered_at is None or not pullable(service["image"]):
            return self._down(lease)
        if not lease.started:
            if time.time() < lease.delivered_at + self._settings.ready_delay:
                return self._down(lease)
            return await self._start(deployment, lease, service)
        view = await self.runs.state(run_id(deployment, lease))
        if view is None or view.state in ("exited", "lost"):
            return await self._again(deployment, lease, service, view.exit_code if view else None)
        if lease.down_since is not None:
            lease.down_since = None
            return True
        return False

    async def ready(self, deployment: SimDeployment, lease: SimLease) -> bool:
        """Whether its container runs now."""
        if not lease.started or lease.down_since is not None:
            return False
        view = await self.runs.state(run_id(deployment, lease))
        return view is not None and view.state in ("starting", "running")

    async def end(self, deployment: SimDeployment, lease: SimLease) -> None:
        """Stop the container and remove all that is left of it."""
        for pod in range(lease.pod + 1):
            name = f"{deployment.dseq}.{lease.oseq}.{pod}"
            await self.runs.remove(name)
            self._log(name).unlink(missing_ok=True)

    def log(self, deployment: SimDeployment, lease: SimLease) -> Path:
        """What the present container has printed, byte for byte."""
        return self._log(run_id(deployment, lease))

    def other_pods(self, _deployment: SimDeployment) -> list[Any]:
        """Pods of further services: Cortex deploys one service, so there are none."""
        return []

    def _log(self, name: str) -> Path:
        return self._folder / "containers" / f"{name}.log"

    def environment(self, deployment: SimDeployment, lease: SimLease) -> dict[str, str]:
        """The variables that are set inside the container."""
        service = service_of(deployment)
        env = {
            "AKASH_DEPLOYMENT_SEQUENCE": deployment.dseq,
            "AKASH_GROUP_SEQUENCE": "1",
            "AKASH_ORDER_SEQUENCE": str(lease.oseq),
            "AKASH_PROVIDER": lease.provider,
        }
        for entry in service["env"] or ():
            name, _, text = entry.partition("=")
            env[name] = self._placed(deployment, service, expanded(text, env))
        return env

    async def _start(
        self, deployment: SimDeployment, lease: SimLease, service: dict[str, Any]
    ) -> bool:
        env = self.environment(deployment, lease)
        log = self.log(deployment, lease)
        log.parent.mkdir(parents=True, exist_ok=True)
        words = [*(service["command"] or ()), *(service["args"] or ())]
        argv = [self._placed(deployment, service, expanded(word, env)) for word in words]
        for mount in self._mounts(deployment, service).values():
            mount.mkdir(parents=True, exist_ok=True)
        # What an image runs by itself is not known here: it waits.
        argv = ["/bin/sh", "-c", _INTO_LOG, str(log), *(argv or ["sleep", "infinity"])]
        await self.runs.start(run_id(deployment, lease), argv, env)
        lease.started = True
        lease.down_since = None
        return True

    async def _again(
        self,
        deployment: SimDeployment,
        lease: SimLease,
        service: dict[str, Any],
        code: int | None,
    ) -> bool:
        """Kubernetes starts an exited container again whatever its code, ever more slowly."""
        if lease.down_since is None:
            lease.exits.append(code if code is not None else 137)
            lease.down_since = time.time()
            return True
        delay = min(self._settings.restart_delay * 2 ** (len(lease.exits) - 1), _MAX_DELAY)
        if time.time() < lease.down_since + delay:
            return False
        lease.pod += 1
        return await self._start(deployment, lease, service)

    def _down(self, lease: SimLease) -> bool:
        if lease.down_since is None:
            lease.down_since = time.time()
            return True
        return False

    def _placed(self, deployment: SimDeployment, service: dict[str, Any], text: str) -> str:
        """Containers have their volumes at paths of their own; these runs share one file system,
        so the paths in words and variables are moved.
        """
        for path, folder in self._mounts(deployment, service).items():
            text = re.sub(rf"(?<![\w/.-]){re.escape(path)}(?![\w.-])", str(folder), text)
        return text

    def _mounts(self, deployment: SimDeployment, service: dict[str, Any]) -> dict[str, Path]:
        storage = (service.get("params") or {}).get("storage") or ()
        base = self._folder / "volumes" / deployment.dseq
        # Memory that the containers of a pod share: it is there again after a restart.
        shared = {"/dev/shm": base / ".shm"}
        return {**shared, **{volume["mount"]: base / volume["name"] for volume in storage}}


def expanded(text: str, env: Mapping[str, str]) -> str:
    """What Kubernetes makes of commands, arguments and values: `$(NAME)`, and `$$` for `$`."""

    def put(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match["name"], match[0])

    return _REFERENCE.sub(put, text)


def run_id(deployment: SimDeployment, lease: SimLease) -> str:
    """The run behind a lease's present container."""
    return f"{deployment.dseq}.{lease.oseq}.{lease.pod}"


def service_of(deployment: SimDeployment) -> dict[str, Any]:
    """The one service of a deployment, from its manifest."""
    service: dict[str, Any] = json.loads(deployment.manifest)[0]["services"][0]
    return service
