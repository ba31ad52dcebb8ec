"""Containers through the Docker Engine API, for Docker and Podman."""

from providers.docker.config import DockerConfig, RegistryAuth, Ulimit
from providers.docker.provider import DockerProvider

__all__ = ["DockerConfig", "DockerProvider", "RegistryAuth", "Ulimit"]
