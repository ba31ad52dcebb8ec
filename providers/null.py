"""A provider that runs nothing: for benchmarks, and for tests of what is built on providers.

A lease is a clock: it "runs" for the configured time from its commit. What a run is stands in
`ref.data`, so any process can say how it does; only the list of leases and the cancelled ones
live in this process's memory.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.money import Money, cost_for, seconds_of
from cortex.domain.offers import Capabilities, Offer, PriceSheet, Usage
from cortex.domain.providers.inspection import Trial
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.base import (
    Committed,
    ComputePrices,
    Found,
    LogLine,
    NetworkStatus,
    Provider,
    ProviderConfig,
    Report,
    Reservation,
    no_report,
)
from providers.errors import LeaseLost

_CANCELLED = 143
"""What a process that SIGTERM ended reports."""

_CLOCK_SLACK = 0.005
"""Runs end by the wall clock, waits by the loop's: no waiter may wake before the end."""


class NullConfig(ProviderConfig):
    run_seconds: float = Field(
        default=0, description="How long a run takes; 0: ends at once, negative: until cancelled."
    )
    exit_code: int = Field(default=0, ge=0, le=255)
    prices: ComputePrices = Field(default_factory=ComputePrices)


@dataclass(slots=True)
class _Lease:
    ref: LeaseRef
    cancelled_at: datetime | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by cancel and forget, for those who follow the log."""


class NullProvider(Provider[NullConfig]):
    """Does nothing, quickly, and keeps the contract while the process lives."""

    type_name: ClassVar[str] = "null"
    Config: ClassVar[type[ProviderConfig]] = NullConfig

    def __init__(self, provider_id: str, config: NullConfig) -> None:
        super().__init__(provider_id, config)
        self._leases: dict[str, _Lease] = {}
        self._forgotten: dict[str, None] = {}
        self._ends: list[float] = []
        self._changed = asyncio.Event()

    def capabilities(self) -> Capabilities:
        return Capabilities(
            images=True, processes=True, ports=True, volumes=True, read_only_root=True, logs=False
        )

    def trial(self) -> Trial:
        """Nobody is paid: nothing runs."""
        return super().trial().model_copy(update={"paid": False})

    async def pricing(self) -> PriceSheet:
        return self.config.prices.sheet()

    async def quote(self, spec: JobSpec) -> list[Offer]:
        if self.capabilities().objections(spec):
            return []
        price = self.config.prices.sheet().hourly(spec)
        return [Offer(provider_id=self.id, price_per_hour=price)]

    async def prepare(
        self, spec: JobSpec, key: str, *, offer: Offer | None = None, report: Report = no_report
    ) -> Reservation:
        known = self._leases.get(key)
        if known is None:
            hourly = self.config.prices.sheet().hourly(spec)
            data = {"hourly": str(hourly.amount), "currency": hourly.currency}
            known = self._leases[key] = _Lease(LeaseRef(key=key, network_id=key, data=data))
            self._forgotten.pop(key, None)
        return Reservation(ref=known.ref)

    async def commit(self, reservation: Reservation) -> Committed:
        key = reservation.ref.key
        if key in self._forgotten:
            raise LeaseLost(f"the reservation of lease `{key}` is gone")
        lease = self._leases.setdefault(key, _Lease(reservation.ref))
        if lease.cancelled_at is not None and "started_at" not in lease.ref.data:
            raise LeaseLost(f"the reservation of lease `{key}` was cancelled")
        if "started_at" not in lease.ref.data:
            lease.ref = self._started(lease.ref)
            # A run that ends at once is over in the answer: it is no change to be looked for.
            if self.config.run_seconds:
                self._changed.set()
            if self.config.run_seconds > 0:
                loop = asyncio.get_running_loop()
                heapq.heappush(self._ends, loop.time() + self.config.run_seconds + _CLOCK_SLACK)
        return Committed(ref=lease.ref, snapshot=self._snapshot(lease.ref))

    async def find(self, key: str) -> Found | None:
        lease = self._leases.get(key)
        if lease is None:
            return None
        return Found(ref=lease.ref, committed="started_at" in lease.ref.data)

    async def statuses(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        return [self._snapshot(ref) for ref in refs]

    async def cancel(self, ref: LeaseRef) -> None:
        if ref.key in self._forgotten:
            return
        lease = self._leases.setdefault(ref.key, _Lease(ref))
        if lease.cancelled_at is None:
            ended = self._snapshot(ref).state.final
            lease.cancelled_at = datetime.now(UTC)
            lease.ended.set()
            if not ended:
                self._changed.set()

    async def forget(self, ref: LeaseRef) -> None:
        lease = self._leases.pop(ref.key, None)
        if lease is not None:
            lease.ended.set()
        self._forgotten[ref.key] = None

    async def usage(self, ref: LeaseRef) -> Usage:
        snapshot = self._snapshot(ref)
        lease = self._leases.get(ref.key)
        if ref.key in self._forgotten or (lease is None and "hourly" not in ref.data):
            raise LeaseLost(f"nothing is known about lease `{ref.key}`")
        data = (lease.ref if lease else ref).data
        elapsed = timedelta(0)
        if snapshot.started_at is not None:
            elapsed = (snapshot.finished_at or datetime.now(UTC)) - snapshot.started_at
        seconds = seconds_of(elapsed)
        hourly = Money(amount=Decimal(data["hourly"]), currency=data["currency"])
        return Usage(
            cost=cost_for(hourly, seconds),
            final=snapshot.state.final,
            seconds=seconds,
        )

    async def logs(
        self, ref: LeaseRef, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        lease = self._leases.get(ref.key)
        if follow and lease is not None and "started_at" in lease.ref.data:
            seconds = float(lease.ref.data["run_seconds"])
            end = datetime.fromisoformat(lease.ref.data["started_at"]) + timedelta(seconds=seconds)
            left = None if seconds < 0 else (end - datetime.now(UTC)).total_seconds()
            await _wait(lease.ended, left)
        nothing: tuple[LogLine, ...] = ()
        for line in nothing:
            yield line

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> list[Path]:
        return []

    async def owned(self) -> list[LeaseRef]:
        return [lease.ref for lease in self._leases.values()]

    async def network_status(self) -> NetworkStatus:
        return NetworkStatus(
            reachable=True, latency=timedelta(0), version="1", message="runs nothing"
        )

    async def wait_for_change(self, timeout: timedelta) -> None:
        """Return when a lease was committed or cancelled here, or has come to its end.

        A change that happens while nobody waits is remembered for one waiter.
        """
        now = asyncio.get_running_loop().time()
        deadline = now + timeout.total_seconds()
        if self._ends:
            deadline = min(deadline, self._ends[0])
        await _wait(self._changed, deadline - now)
        self._changed.clear()
        while self._ends and self._ends[0] <= asyncio.get_running_loop().time():
            heapq.heappop(self._ends)

    def _started(self, ref: LeaseRef) -> LeaseRef:
        run = {
            "started_at": datetime.now(UTC).isoformat(),
            "run_seconds": repr(self.config.run_seconds),
            "exit_code": str(self.config.exit_code),
        }
        return ref.model_copy(update={"data": {**ref.data, **run}})

    def _snapshot(self, ref: LeaseRef) -> LeaseSnapshot:
        lease = self._leases.get(ref.key)
        data = (lease.ref if lease else ref).data
        if ref.key in self._forgotten or (lease is None and "started_at" not in data):
            return LeaseSnapshot(key=ref.key, state=RunState.LOST, message="no such lease")
        cancelled_at = lease.cancelled_at if lease else None
        if "started_at" not in data:
            state = RunState.STARTING if cancelled_at is None else RunState.LOST
            return LeaseSnapshot(key=ref.key, state=state)
        started_at = datetime.fromisoformat(data["started_at"])
        return _run_snapshot(ref.key, data, started_at, cancelled_at)


def _run_snapshot(
    key: str, data: dict[str, str], started_at: datetime, cancelled_at: datetime | None
) -> LeaseSnapshot:
    seconds = float(data["run_seconds"])
    end = None if seconds < 0 else started_at + timedelta(seconds=seconds)
    code = int(data["exit_code"])
    if cancelled_at is not None and (end is None or cancelled_at < end):
        end, code = cancelled_at, _CANCELLED
    if end is None or end > datetime.now(UTC):
        return LeaseSnapshot(key=key, state=RunState.RUNNING, started_at=started_at)
    return LeaseSnapshot(
        key=key,
        state=RunState.EXITED,
        exit_code=code,
        started_at=started_at,
        finished_at=end,
    )


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    try:
        await asyncio.wait_for(event.wait(), None if seconds is None else max(0.0, seconds))
    except TimeoutError:
        return
