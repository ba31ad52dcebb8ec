"""Containers through the Docker Engine API, for Docker and Podman."""

from typing import TYPE_CHECKING

from providers.lazy import offer

if TYPE_CHECKING:
    from providers.docker.config import DockerConfig, RegistryAuth, Ulimit
    from providers.docker.provider import DockerProvider

__all__ = ["DockerConfig", "DockerProvider", "RegistryAuth", "Ulimit"]
__getattr__ = offer(
    __name__,
    {
        "Config": "config.DockerConfig",
        "DockerConfig": "config.DockerConfig",
        "DockerProvider": "provider.DockerProvider",
        "RegistryAuth": "config.RegistryAuth",
        "Ulimit": "config.Ulimit",
    },
)
