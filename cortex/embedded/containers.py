"""The container engine of this machine, and the provider that a stack adds for it."""

import hashlib
import os
from pathlib import Path
from typing import Any


def container_socket() -> Path | None:
    """The socket of a Docker or Podman engine that this user may use."""
    candidates = [Path("/var/run/docker.sock"), Path("/run/podman/podman.sock")]
    host = os.environ.get("DOCKER_HOST", "")
    if host.startswith("unix://"):
        candidates.insert(0, Path(host.removeprefix("unix://")))
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        candidates += [Path(runtime, "docker.sock"), Path(runtime, "podman", "podman.sock")]
    for path in candidates:
        try:
            if path.is_socket() and os.access(path, os.R_OK | os.W_OK):
                return path
        except OSError:
            continue
    return None


def docker_entry(engine: Path, secret: str) -> dict[str, Any]:
    """The provider in the settings. Several stacks of one machine share its engine.

    Each has a namespace of its own, that of its `secret`: to reconcile, another stack's containers
    would be leaks.
    """
    mark = hashlib.sha256(f"namespace:{secret}".encode()).hexdigest()[:12]
    return {"type": "docker", "socket": str(engine), "namespace": f"stack-{mark}"}
