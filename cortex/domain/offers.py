"""What providers can do, what it costs, and what they offer for one job."""

import hashlib
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.conditions import Conditions
from cortex.domain.metrics import Metric
from cortex.domain.money import Money, cost_for
from cortex.domain.rendering import ENGINES, FORMATS, Render
from cortex.domain.spec import JobSpec
from cortex.domain.units import about_bytes, format_bytes, format_duration

_GIB = Decimal(2**30)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Capabilities(_Model):
    """What a provider can run at all, whatever its present load."""

    images: bool = Field(description="Runs container images.")
    processes: bool = Field(description="Runs plain commands without an image.")
    batch: bool = True
    services: bool = True
    ports: bool = False
    volumes: bool = False
    gpu_models: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    max_cpu: Decimal | None = None
    max_memory: int | None = None
    max_storage: int | None = None
    max_duration: timedelta | None = None
    poll_interval: timedelta = timedelta(seconds=30)
    two_phase: bool = True
    read_only_root: bool = False
    logs: bool = Field(default=True, description="Has output that can be copied.")
    keeps_results: bool = Field(
        default=True, description="Logs and files can still be read after the lease was cancelled."
    )
    inputs: bool = Field(default=False, description="Takes files for a job before it starts.")
    metrics: tuple[Metric, ...] = Field(
        default=(), description="What it tells of running jobs; empty: nothing."
    )
    render: bool = Field(default=False, description="Renders scenes.")
    render_engines: tuple[str, ...] = ENGINES
    render_formats: tuple[str, ...] = FORMATS
    conditions: Conditions = Field(
        default_factory=Conditions, description="What a job's spec must keep to."
    )

    def objections(self, spec: JobSpec) -> list[str]:
        """Why this provider cannot run the job, in words; empty when it can.

        The one place where a spec is refused: the API asks it before a job is stored and for a
        quote, workers before they ask a network for offers.
        """
        objections = (
            self._no_way_to_run(spec) if spec.render is None else self._no_render(spec.render)
        )
        if spec.kind == "service" and not self.services:
            objections.append("`kind`: it runs no services")
        if spec.kind == "batch" and not self.batch:
            objections.append("`kind`: it runs services only")
        if spec.ports and not self.ports:
            objections.append("`ports`: it exposes no ports")
        if spec.volumes and not self.volumes:
            objections.append("`volumes`: it has no volumes")
        if spec.inputs and not self.inputs:
            objections.append("`inputs`: it takes no files for a job")
        if spec.read_only_root and not self.read_only_root:
            objections.append("`read_only_root`: it cannot make the root file system so")
        objections += self._too_large(spec) + self._elsewhere(spec)
        # What it has nothing for has no conditions either: one reason is enough.
        return objections or self.conditions.objections(spec)

    def _no_way_to_run(self, spec: JobSpec) -> list[str]:
        if not self.images and not self.processes:
            return ["`render`: it renders scenes only"]
        if spec.image is not None and not self.images:
            return ["`image`: it runs no container images"]
        if spec.image is None and not self.processes:
            return ["`image`: it runs container images only; name one"]
        return []

    def _no_render(self, render: Render) -> list[str]:
        if not self.render:
            return ["`render`: it renders no scenes"]
        objections: list[str] = []
        if render.engine is not None and render.engine not in self.render_engines:
            has = ", ".join(self.render_engines)
            objections.append(
                f"`render.engine`: it does not render with {render.engine} (it has {has})"
            )
        if render.format not in self.render_formats:
            has = ", ".join(self.render_formats)
            objections.append(f"`render.format`: it writes no {render.format} (it has {has})")
        return objections

    def _too_large(self, spec: JobSpec) -> list[str]:
        need = spec.resources
        objections: list[str] = []
        if self.max_cpu is not None and need.cpu > self.max_cpu:
            objections.append(
                f"`resources.cpu`: it has {self.max_cpu} cores, {need.cpu} are asked for"
            )
        if self.max_memory is not None and need.memory > self.max_memory:
            objections.append(
                f"`resources.memory`: it has {about_bytes(self.max_memory)} of memory, "
                f"{format_bytes(need.memory)} are asked for"
            )
        if self.max_storage is not None and need.storage > self.max_storage:
            objections.append(
                f"`resources.storage`: it has {about_bytes(self.max_storage)} of storage, "
                f"{format_bytes(need.storage)} are asked for"
            )
        if self.max_duration is not None and spec.duration > self.max_duration:
            objections.append(
                f"`duration`: it runs jobs for at most {format_duration(self.max_duration)}"
            )
        return objections

    def _elsewhere(self, spec: JobSpec) -> list[str]:
        objections: list[str] = []
        gpu = spec.resources.gpu
        if gpu is not None and not self.gpu_models:
            objections.append("`resources.gpu`: it has no GPU")
        elif gpu is not None and gpu.model and gpu.model.lower() not in self.gpu_models:
            has = ", ".join(self.gpu_models)
            objections.append(f"`resources.gpu.model`: it has no GPU `{gpu.model}` (it has {has})")
        if spec.placement.regions and not set(spec.placement.regions) & set(self.regions):
            has = ", ".join(self.regions) or "none named"
            objections.append(
                f"`placement.regions`: it is in none of the regions asked for (its regions: {has})"
            )
        return objections


class PriceSheet(_Model):
    """Prices per hour and unit, in the network's currency."""

    currency: str = "USD"
    cpu_hour: Decimal = Decimal(0)
    memory_gib_hour: Decimal = Decimal(0)
    storage_gib_hour: Decimal = Decimal(0)
    gpu_hour: Decimal = Decimal(0)
    usd_rate: Decimal = Field(default=Decimal(1), description="USD for one unit of the currency.")
    rate_as_of: datetime | None = Field(
        default=None, description="When the network told `usd_rate`; none: not known, or USD."
    )
    as_of: datetime | None = None

    def hourly(self, spec: JobSpec) -> Money:
        """The price of the job's resources for one hour."""
        need = spec.resources
        gpus = need.gpu.count if need.gpu else 0
        amount = (
            need.cpu * self.cpu_hour
            + need.memory / _GIB * self.memory_gib_hour
            + need.storage / _GIB * self.storage_gib_hour
            + gpus * self.gpu_hour
        )
        return Money(amount=amount, currency=self.currency)

    def cost(self, spec: JobSpec, duration: timedelta) -> Money:
        """The price of running the job for this long, rounded as it is booked."""
        return cost_for(self.hourly(spec), duration)


class Offer(_Model):
    """What one provider would do a job for.

    `data` is the provider's own; it is handed back to `prepare` unread.
    """

    provider_id: str
    price_per_hour: Money
    usd_rate: Decimal = Decimal(1)
    rate_as_of: datetime | None = Field(
        default=None, description="When the network told `usd_rate`; none: not known, or USD."
    )
    region: str | None = None
    hardware: str = ""
    expected_wait: timedelta = timedelta(0)
    performance: Decimal = Field(default=Decimal(1), description="Relative speed; more is faster.")
    availability: Decimal = Field(
        default=Decimal(1), description="What the network claims, from 0 to 1."
    )
    data: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = Field(default=(), description="What is to be known of it, in words.")

    @property
    def identity(self) -> str:
        """Tells it from other offers of the same provider; the same when it is made again."""
        if not self.data:
            return self.provider_id
        text = repr(sorted(self.data.items())).encode()
        return f"{self.provider_id}/{hashlib.sha256(text).hexdigest()[:16]}"

    def usd_per_hour(self) -> Decimal:
        return self.price_per_hour.amount * self.usd_rate

    def estimate(self, duration: timedelta) -> Money:
        """The most that the job may cost with this offer: its price for the whole duration."""
        return cost_for(self.price_per_hour, duration)

    def rates(self) -> dict[str, Decimal]:
        """USD for one unit of its currency, by that."""
        return {self.price_per_hour.currency: self.usd_rate}


class Usage(_Model):
    """What a lease has cost so far."""

    cost: Money
    final: bool
    seconds: Decimal = Decimal(0)
    detail: dict[str, str] = Field(default_factory=dict)
