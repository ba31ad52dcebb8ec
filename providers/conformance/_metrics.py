"""What running jobs take: as far as the provider says it tells it, and of nothing else."""

from cortex.domain.leases import LeaseRef
from cortex.domain.metrics import Metric, Sample
from providers.conformance._harness import AnyProvider, Harness
from providers.conformance._waiting import eventually

_FIELDS: dict[Metric, tuple[str, ...]] = {
    "cpu": ("cpu_seconds",),
    "memory": ("memory", "memory_peak"),
    "network": ("network_received", "network_sent"),
    "disk": ("disk_read", "disk_written"),
    "gpu": ("gpu", "gpu_memory"),
}


class MetricsChecks(Harness):
    async def test_metrics_are_those_it_names(self, provider: AnyProvider) -> None:
        ref = await self.running(provider, "echo ready; exec sleep 600")
        key = self.key()
        nothing = LeaseRef(key=key, network_id=key)
        named = provider.capabilities().metrics
        if not named:
            assert await provider.metrics([ref, nothing]) == []
            return

        async def told() -> Sample | None:
            samples = await provider.metrics([ref, nothing])
            assert {sample.key for sample in samples} <= {ref.key}
            return samples[0] if samples else None

        sample = await eventually(
            told, timeout=self.patience, interval=self.interval, what="figures of the job"
        )
        assert sample is not None
        for metric, fields in _FIELDS.items():
            known = [name for name in fields if getattr(sample, name) is not None]
            assert not known or metric in named, f"{known} without `{metric}`"
        await provider.cancel(ref)
        assert await provider.metrics([ref]) == []
