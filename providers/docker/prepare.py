"""Phase one: image, volumes, container; nothing runs."""

from contextlib import suppress

from cortex.domain.leases import LeaseRef
from cortex.domain.money import Money
from cortex.domain.spec import JobSpec
from providers.base import Report
from providers.docker.config import DockerConfig
from providers.docker.containers import Containers, is_name_taken
from providers.docker.create import container_body
from providers.docker.engine import EngineRefused
from providers.docker.images import ensure_image
from providers.docker.marks import Marks
from providers.docker.names import ACCOUNT, KEY, container_name, job_labels, lease_ref, volume_name
from providers.docker.storage import StorageWatch
from providers.errors import (
    ImageUnavailable,
    InvalidSpec,
    NoCapacity,
    ProviderError,
    Unavailable,
)

# Of a job and an image without any: Docker's words (with status 400), and Podman's (500).
_NO_COMMAND = ("no command specified", "no command or entrypoint provided")


class Preparer:
    """Makes reservations: created containers that carry the key as their name."""

    def __init__(
        self,
        containers: Containers,
        marks: Marks,
        storage: StorageWatch,
        config: DockerConfig,
        account: str,
    ) -> None:
        self._containers = containers
        self._marks = marks
        self._config = config
        self._account = account
        self._storage = storage
        self._init = config.init
        self.quota = False
        """Whether the engine may be able to limit what a container writes."""

    async def prepare(self, spec: JobSpec, key: str, price: Money, report: Report) -> LeaseRef:
        """The container of this key: the one that is there, or a new one.

        Raises:
            InvalidSpec, NoCapacity: nothing is left behind.
            OutcomeUnknown: it may have been created.
        """
        if spec.image is None:
            raise InvalidSpec("containers need an `image`")
        existing = await self._existing(key)
        if existing is not None:
            return existing
        await self._storage.require_room()
        await ensure_image(
            self._containers.engine,
            spec.image,
            report,
            policy=self._config.pull,
            registries=self._config.registries,
        )
        labels = job_labels(spec, key, self._account, price)
        try:
            await self._make_volumes(spec, key)
            container_id = await self._create(spec, key, labels)
        except EngineRefused as refused:
            # Made by another worker at the same moment?
            existing = await self._existing(key) if is_name_taken(refused) else None
            if existing is not None:
                return existing
            await self._undo(key)
            raise creation_error(refused, spec) from None
        if spec.workdir and self._containers.engine.is_podman:
            # Docker makes a missing working folder; Podman refuses to start without it.
            await self._containers.make_folder(container_id, spec.workdir)
        end = await self._marks.end(key)
        if end is not None and end.cancelled:
            await self._containers.remove(container_id)
            raise NoCapacity(f"lease `{key}` was cancelled before it was prepared")
        return lease_ref(key, container_id, labels)

    async def _existing(self, key: str) -> LeaseRef | None:
        box = await self._containers.inspect(container_name(key))
        if box is None:
            return None
        if box.labels.get(KEY) != key or box.labels.get(ACCOUNT) != self._account:
            raise NoCapacity(
                f"the name `{container_name(key)}` is taken at the container engine by a "
                "container that this provider did not make"
            )
        return lease_ref(key, box.id, box.labels)

    async def _make_volumes(self, spec: JobSpec, key: str) -> None:
        for volume in spec.volumes:
            name = volume_name(key, volume.name, persistent=volume.persistent)
            await self._marks.put_volume(name, {} if volume.persistent else {KEY: key})

    async def _create(self, spec: JobSpec, key: str, labels: dict[str, str]) -> str:
        init, quota = self._init, self.quota
        while True:
            body = self._body(spec, key, labels, init=init, quota=quota)
            try:
                return await self._containers.create(container_name(key), body)
            except EngineRefused as refused:
                # Both are remembered, since the engine says so for every container.
                if init and _wants_init(refused.message):
                    init = self._init = False  # Podman without catatonit.
                elif quota and "storage-opt" in refused.message:
                    quota = self.quota = False  # Its disk has no project quotas.
                else:
                    raise

    def _body(
        self, spec: JobSpec, key: str, labels: dict[str, str], *, init: bool, quota: bool
    ) -> dict[str, object]:
        return container_body(
            spec,
            key,
            self._config,
            labels=labels,
            init=init,
            podman=self._containers.engine.is_podman,
            quota=quota,
        )

    async def _undo(self, key: str) -> None:
        with suppress(ProviderError):
            if await self._containers.inspect(container_name(key)) is None:
                await self._marks.remove_volumes(key)


def _wants_init(message: str) -> bool:
    """Whether the engine lacks the init; Podman's words differ by version."""
    return any(word in message for word in ("init binary", "catatonit", "requested an init"))


def creation_error(refused: EngineRefused, spec: JobSpec) -> ProviderError:
    """A refused creation, as the error that the workflow decides by."""
    if any(words in refused.message.lower() for words in _NO_COMMAND):
        return InvalidSpec(
            f"image `{spec.image}` brings no command of its own (CMD or ENTRYPOINT); "
            "set `command` in the job"
        )
    if refused.status == 404:
        return ImageUnavailable(f"image `{spec.image}` is not on this machine: {refused.message}")
    if refused.status == 400:
        return InvalidSpec(f"the container engine does not accept the job: {refused.message}")
    if is_name_taken(refused):
        return Unavailable("the container of an earlier try is just being removed")
    return NoCapacity(f"the container engine could not make the container: {refused.message}")
