"""The `docker` provider: one container per lease, everything that matters kept by the engine."""

import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

from pydantic import ValidationError

from cortex.domain.conditions import Conditions
from cortex.domain.conditions.references import REFERENCE
from cortex.domain.ids import is_lease_key
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.metrics import Metric, Sample
from cortex.domain.offers import Capabilities, Offer, PriceSheet, Usage
from cortex.domain.providers.inspection import Trial
from cortex.domain.spec import JobSpec
from cortex.domain.units import about_bytes
from providers.base import (
    Committed,
    Found,
    LogLine,
    NetworkStatus,
    Provider,
    ProviderConfig,
    Report,
    Reservation,
    no_report,
)
from providers.collected import Collected
from providers.docker import snapshots
from providers.docker.collect import Collector
from providers.docker.config import DockerConfig
from providers.docker.containers import Containers
from providers.docker.engine import Engine
from providers.docker.images import has_image
from providers.docker.marks import End, Marks
from providers.docker.metrics import Metrics
from providers.docker.names import ACCOUNT, KEY, container_name, lease_ref
from providers.docker.outputs import OutputReader
from providers.docker.prepare import Preparer
from providers.docker.starts import gone, start_once
from providers.docker.statuses import Statuses
from providers.docker.storage import StorageWatch
from providers.docker.watch import Watch
from providers.docker.wire import Info
from providers.errors import ProviderError, Unavailable

_PULL_WAIT = timedelta(seconds=20)
_CANCEL_TRIES = 5
# Others count the image in, see https://docs.docker.com/reference/cli/docker/container/run/
_QUOTA_DRIVERS = ("overlay", "overlay2")
_CONDITIONS = Conditions(
    image_form=REFERENCE,
    image_hint="is no image reference; a right one is `busybox:1.36`",
    taken_mounts=("/",),
    gpu_vendors=("nvidia",),
)


class DockerProvider(Provider[DockerConfig]):
    """Containers on one machine, through Docker's or Podman's socket."""

    type_name: ClassVar[str] = "docker"
    Config: ClassVar[type[ProviderConfig]] = DockerConfig

    def __init__(self, provider_id: str, config: DockerConfig) -> None:
        super().__init__(provider_id, config)
        account = f"{config.namespace}/{provider_id}"
        self._label = f"{ACCOUNT}={account}"
        self._engine = Engine(config.socket_path())
        self._containers = Containers(self._engine)
        self._marks = Marks(self._engine, account)
        self._storage = StorageWatch(self._containers, self._marks, self._label, config.keep_free)
        self._preparer = Preparer(self._containers, self._marks, self._storage, config, account)
        self._watch = Watch(self._engine, self._label)
        self._collector = Collector(self._containers, self._marks, config)
        self._reader = OutputReader(self._containers, self._marks, config)
        self._statuses = Statuses(
            self._containers, self._marks, self._collector, config, self._label
        )
        self._metrics = Metrics(self._containers)
        self._info = Info()

    async def initialize(self) -> None:
        await self._engine.open()
        self._info = await self._read_info()
        self._storage.root = self._info.docker_root_dir
        self._preparer.quota = self._info.driver in _QUOTA_DRIVERS

    async def aclose(self) -> None:
        await self._storage.close()
        await self._watch.close()
        await self._engine.close()

    def capabilities(self) -> Capabilities:
        """What the engine's machine can run; GPUs only where the engine has NVIDIA's runtime."""
        nvidia = "nvidia" in (self._info.runtimes or {})
        return Capabilities(
            images=True,
            processes=False,
            ports=self.config.network != "none",
            volumes=True,
            gpu_models=self.config.gpu_models if nvidia else (),
            regions=self.config.regions,
            max_cpu=Decimal(self._info.ncpu) if self._info.ncpu else None,
            max_memory=self._info.mem_total or None,
            poll_interval=timedelta(seconds=10),
            two_phase=True,
            read_only_root=True,
            inputs=True,
            metrics=self._told(),
            conditions=_CONDITIONS,
        )

    def trial(self) -> Trial:
        """Nobody is paid: the machine is the user's own."""
        return super().trial().model_copy(update={"paid": False})

    async def pricing(self) -> PriceSheet:
        return self.config.prices.sheet()

    async def quote(self, spec: JobSpec) -> list[Offer]:
        """One offer, or none; the wait is longer where the image must be pulled first."""
        if self.capabilities().objections(spec) or spec.image is None:
            return []
        here = self.config.pull != "always" and await has_image(self._engine, spec.image)
        if not here and self.config.pull == "never":
            return []
        return [
            Offer(
                provider_id=self.id,
                price_per_hour=self.config.prices.sheet().hourly(spec),
                region=self.config.regions[0] if self.config.regions else None,
                hardware=f"{self._info.ncpu} cores, {about_bytes(self._info.mem_total)}",
                expected_wait=timedelta(0) if here else _PULL_WAIT,
            )
        ]

    async def prepare(
        self, spec: JobSpec, key: str, *, offer: Offer | None = None, report: Report = no_report
    ) -> Reservation:
        """Pull the image and create the container under the key's name; it does not run yet."""
        price = offer.price_per_hour if offer else self.config.prices.sheet().hourly(spec)
        ref = await self._preparer.prepare(spec, key, price, report)
        return Reservation(ref=ref, price_per_hour=price)

    async def put_inputs(self, reservation: Reservation, archive: Path) -> None:
        """Into the working folder of the created container, that of the job or of its image."""
        ref = reservation.ref
        box = await self._containers.inspect(ref.network_id)
        if box is None:
            raise gone(ref)
        if box.state.waiting and not box.state.ran:
            await self._containers.put_archive(box.id, box.config.working_dir or "/", archive)

    async def commit(self, reservation: Reservation) -> Committed:
        """Start the container; only ever once.

        A command that cannot be started is no error here: the lease has ended with exit code
        127 (not found) or 126 (not executable).
        """
        ref = reservation.ref
        await start_once(self._containers, self._marks, ref)
        return Committed(ref=ref, snapshot=await self.status(ref))

    async def find(self, key: str) -> Found | None:
        box = await self._containers.inspect(container_name(key))
        if box is None or box.labels.get(KEY) != key:
            return None
        started = box.state.ran or not box.state.waiting
        committed = started or await self._marks.end(key) is not None
        return Found(ref=lease_ref(key, box.id, box.labels), committed=committed)

    async def statuses(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        if not refs:
            return []
        self._watch.looking()
        self._storage.looking()
        return await self._statuses.of(refs)

    async def cancel(self, ref: LeaseRef) -> None:
        """Stop it, with grace; one that never ran is removed, so that no late start can run it."""
        for _ in range(_CANCEL_TRIES):
            box = await self._containers.inspect(ref.network_id)
            if box is None or box.state.ended:
                return
            if not box.state.waiting:
                await self._containers.stop(box.id, self.config.stop_grace.total_seconds())
                await self._containers.settled(box.id)
                continue
            if box.state.ran:
                return
            end = await self._marks.put_end(ref.key, End(None, "cancelled before its start"))
            if not end.cancelled:
                return
            await self._containers.remove_unstarted(box.id)
        raise Unavailable(f"the container of lease `{ref.key}` could not be stopped")

    async def forget(self, ref: LeaseRef) -> None:
        """Remove the container and its volumes; the persistent ones stay."""
        await self._containers.remove(ref.network_id)
        await self._marks.remove_volumes(ref.key)
        self._statuses.forget(ref.network_id)

    async def usage(self, ref: LeaseRef) -> Usage:
        box = await self._containers.inspect(ref.network_id)
        end = None
        if box is None or not box.state.ran:
            end = await self._marks.end(ref.key)
        usage = snapshots.usage(ref, box, end, self.config.prices.currency)
        if usage is None:
            raise gone(ref)
        return usage

    async def metrics(self, refs: Sequence[LeaseRef]) -> list[Sample]:
        return await self._metrics.of(refs, network="network" in self._told())

    async def logs(
        self, ref: LeaseRef, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        async for line in self._collector.logs(ref, since, follow):
            yield line

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> Collected:
        """Copy results out, also of a stopped container; what was in its `/tmp` is gone then.

        Of a job that was killed for its storage, no more than that is kept.

        Raises:
            LeaseLost: the container is gone.
            InvalidSpec: the files are larger than `max_output_bytes`.
        """
        return await self._reader.outputs(ref, paths, destination)

    async def owned(self) -> list[LeaseRef]:
        """By label; also those of which only a volume is left."""
        listed = await self._containers.listed(self._label)
        refs: dict[str, LeaseRef] = {}
        for box in listed:
            labels = box.labels or {}
            if is_lease_key(labels.get(KEY, "")):
                refs[labels[KEY]] = lease_ref(labels[KEY], box.id, labels)
        for key in await self._marks.keys():
            if key not in refs and is_lease_key(key):
                refs[key] = lease_ref(key, container_name(key), {})
        return list(refs.values())

    async def network_status(self) -> NetworkStatus:
        asked = time.monotonic()
        try:
            await self._engine.call("GET", "/_ping", versioned=False, timeout=5)
            latency = timedelta(seconds=time.monotonic() - asked)
            await self._engine.open()
            info = await self._read_info()
        except ProviderError as error:
            return NetworkStatus(reachable=False, message=str(error))
        return NetworkStatus(
            reachable=True,
            latency=latency,
            version=str(self._engine.version),
            capacity={
                "cpu": str(info.ncpu),
                "memory": about_bytes(info.mem_total),
                "running": str(info.containers_running),
            },
        )

    async def wait_for_change(self, timeout: timedelta) -> None:
        """Return soon after the engine reports an event of one of our containers."""
        await self._watch.wait(timeout)

    def _told(self) -> tuple[Metric, ...]:
        """What the engine says of running containers.

        Podman says what was received as sent, up to 4.3; there is nothing to count where the
        container has the machine's network, or none.
        """
        network = not self._engine.is_podman and self.config.network == "bridge"
        return ("cpu", "memory", "disk", *(("network",) if network else ()))

    async def _read_info(self) -> Info:
        try:
            return Info.model_validate(await self._engine.get("/info"))
        except ValidationError:
            raise Unavailable("the container engine described itself in a way not known") from None
