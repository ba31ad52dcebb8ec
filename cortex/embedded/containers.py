"""The provider that a stack adds for the container engine of this machine."""

import hashlib
from pathlib import Path
from typing import Any


def docker_entry(engine: Path, secret: str) -> dict[str, Any]:
    """The provider in the settings. Several stacks of one machine share its engine.

    Each has a namespace of its own, that of its `secret`: to reconcile, another stack's containers
    would be leaks.
    """
    mark = hashlib.sha256(f"namespace:{secret}".encode()).hexdigest()[:12]
    return {"type": "docker", "socket": str(engine), "namespace": f"stack-{mark}"}
