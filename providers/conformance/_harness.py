"""What the checks stand on: providers made by the subclass, jobs, waiting."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from pydantic import BaseModel, SecretStr

from cortex.domain.ids import lease_key, new_id
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.base import LogLine, Provider
from providers.conformance._waiting import eventually

AnyProvider = Provider[Any]


class Harness(ABC):
    """What a subclass says about its provider, and helpers for the checks."""

    pytestmark = pytest.mark.asyncio
    """The checks run in any mode of pytest-asyncio: a plugin's package need set none."""

    patience: ClassVar[float] = 30
    """Seconds that a job may take to start, to end, to be cancelled."""
    interval: ClassVar[float] = 0.05
    """Seconds between two questions while waiting."""
    fixed_prices: ClassVar[bool] = True
    """Whether offers cost what the price sheet says (false where a market makes the price)."""
    concurrent: ClassVar[bool] = True
    """Whether the network can be asked the same thing twice at once."""
    forgets: ClassVar[bool] = True
    """Whether records can be removed from the network (false where they stay for ever)."""
    live_logs: ClassVar[bool] = True
    """Whether output can be read while the job runs (false where it comes with the end)."""
    partial_lines: ClassVar[bool] = True
    """Whether a line can be read before it has ended (false where the network holds it back)."""
    has_outputs: ClassVar[bool] = True
    """Whether result files can be had."""
    reserves: ClassVar[bool] = True
    """Whether a reservation is something at the network (false where there is nothing before the
    commit, which then creates; so nothing can hinder one that comes after a cancel)."""
    last_words: ClassVar[bool] = True
    """Whether what a command says once it was asked to end is kept."""
    stops: ClassVar[bool] = True
    """Whether `stop` (or else `cancel`) lets a command clean up."""
    image: ClassVar[str | None] = None
    """The image of every job, where the network runs nothing else."""
    sim_url: str | None = None
    """The base URL of a simulator with a fault plan; without one its checks are skipped."""

    @abstractmethod
    async def make_provider(self) -> AnyProvider:
        """A new, initialized instance; every call over the same network, as after a restart."""

    def spec(self, script: str, **changes: Any) -> JobSpec:
        """A job that runs this POSIX shell script. `changes` are fields of the spec."""
        fields: dict[str, Any] = {
            "name": "conformance",
            "command": ("sh", "-c", script),
            "duration": "10m",
        }
        if self.image is not None:
            fields["image"] = self.image
        return JobSpec.model_validate({**fields, **changes})

    @pytest_asyncio.fixture
    async def provider(self) -> AsyncIterator[AnyProvider]:
        """The first instance; afterwards every lease of the test is cancelled and forgotten."""
        self._keys: set[str] = set()
        self._others: list[AnyProvider] = []
        provider = await self.make_provider()
        yield provider
        for ref in await provider.owned():
            if ref.key in self._keys:
                await provider.cancel(ref)
                await provider.forget(ref)
        for instance in [*self._others, provider]:
            await instance.aclose()

    async def another(self) -> AnyProvider:
        """A second instance over the same network; closed after the test."""
        instance = await self.make_provider()
        self._others.append(instance)
        return instance

    def key(self) -> str:
        """A new lease key, cleaned up after the test."""
        key = lease_key(new_id("job"), 1)
        self._keys.add(key)
        return key

    async def start(self, provider: AnyProvider, script: str, **changes: Any) -> LeaseRef:
        """Submit the script; returns at once."""
        return (await provider.submit(self.spec(script, **changes), self.key())).ref

    async def running(self, provider: AnyProvider, script: str, **changes: Any) -> LeaseRef:
        """Submit a script that prints `ready`, and wait for it."""
        ref = await self.start(provider, script, **changes)

        async def is_ready() -> bool:
            status = await provider.status(ref)
            ready = not self.live_logs or "ready" in [
                line.text for line in await self.lines(provider, ref)
            ]
            return ready and status.state is RunState.RUNNING

        await eventually(is_ready, timeout=self.patience, interval=self.interval, what="`ready`")
        return ref

    async def ended(self, provider: AnyProvider, ref: LeaseRef) -> LeaseSnapshot:
        """Wait for the end of a run."""

        async def final() -> LeaseSnapshot | None:
            status = await provider.status(ref)
            return status if status.state.final else None

        snapshot = await eventually(
            final, timeout=self.patience, interval=self.interval, what="the end of the job"
        )
        assert snapshot is not None
        return snapshot

    async def run(self, provider: AnyProvider, script: str, **changes: Any) -> LeaseRef:
        """Submit the script and wait until it has exited."""
        ref = await self.start(provider, script, **changes)
        snapshot = await self.ended(provider, ref)
        assert snapshot.state is RunState.EXITED, snapshot.message
        return ref

    async def lines(
        self, provider: AnyProvider, ref: LeaseRef, since: str | None = None
    ) -> list[LogLine]:
        """All log lines that are there now and have ended."""
        return [line async for line in provider.logs(ref, since=since) if not line.partial]

    async def mine(self, provider: AnyProvider) -> list[str]:
        """The keys of this test that the network holds."""
        return [ref.key for ref in await provider.owned() if ref.key in self._keys]


def texts(lines: Sequence[LogLine], stream: str | None = None) -> list[str]:
    """The texts of the lines, of one stream where named."""
    return [line.text for line in lines if stream in (None, line.stream)]


def secrets_of(config: BaseModel) -> list[str]:
    """Every secret of a configuration, in clear."""
    secrets: list[str] = []
    for value in dict(config).values():
        if isinstance(value, SecretStr) and value.get_secret_value():
            secrets.append(value.get_secret_value())
        elif isinstance(value, BaseModel):
            secrets += secrets_of(value)
    return secrets
