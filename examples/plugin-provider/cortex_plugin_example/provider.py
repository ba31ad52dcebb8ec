"""The network `queue`: jobs go over HTTP to a machine that runs them as processes.

The queue takes the lease key as the name of a job and makes no second one of it. So every call
can be repeated, and a lost answer is found again by its key.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from pydantic import SecretStr

from cortex.domain.ids import is_lease_key
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.money import Money
from cortex.domain.offers import Capabilities, Offer, PriceSheet, Usage
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
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
from providers.errors import LeaseLost, ProviderError
from providers.http import HttpClient, Refused, invalid
from providers.outputs import outputs_word, unpack_archive

_LIMIT = 10 * 2**30


class QueueConfig(ProviderConfig):
    """What `[providers.<id>]` holds. Secrets are `SecretStr`: Cortex encrypts and hides them."""

    url: str
    token: SecretStr


class QueueProvider(Provider[QueueConfig]):
    """One queue."""

    type_name: ClassVar[str] = "queue"
    Config: ClassVar[type[ProviderConfig]] = QueueConfig

    def __init__(self, provider_id: str, config: QueueConfig) -> None:
        super().__init__(provider_id, config)
        headers = {"Authorization": f"Bearer {config.token.get_secret_value()}"}
        self._http = HttpClient(config.url, who="the queue", headers=headers)

    async def initialize(self) -> None:
        await self._http.get("/prices")

    async def aclose(self) -> None:
        await self._http.aclose()

    def capabilities(self) -> Capabilities:
        return Capabilities(images=False, processes=True, poll_interval=timedelta(seconds=1))

    async def pricing(self) -> PriceSheet:
        return PriceSheet.model_validate(await self._http.get("/prices"))

    async def quote(self, spec: JobSpec) -> list[Offer]:
        if self.capabilities().objections(spec):
            return []
        return [Offer(provider_id=self.id, price_per_hour=(await self.pricing()).hourly(spec))]

    async def prepare(
        self, spec: JobSpec, key: str, *, offer: Offer | None = None, report: Report = no_report
    ) -> Reservation:
        job = {
            "command": [*spec.command, *spec.args],
            "env": spec.environment(),
            "hourly": str((await self.pricing()).hourly(spec).amount),
        }
        try:
            await self._http.send("PUT", f"/jobs/{key}", json=job)
        except Refused as error:
            raise invalid(error) from None
        return Reservation(ref=LeaseRef(key=key, network_id=key))

    async def commit(self, reservation: Reservation) -> Committed:
        key = reservation.ref.key
        try:
            job = await self._http.send("POST", f"/jobs/{key}/start")
        except Refused as error:
            raise LeaseLost(f"the reservation of lease `{key}` is gone: {error}") from None
        return Committed(ref=reservation.ref, snapshot=_snapshot(key, job))

    async def find(self, key: str) -> Found | None:
        for job in await self._jobs([key]):
            ref = LeaseRef(key=key, network_id=key)
            return Found(ref=ref, committed=job["state"] not in ("held", "dropped"))
        return None

    async def statuses(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        keys = [ref.key for ref in refs]
        jobs = {job["key"]: job for job in await self._jobs(keys)} if keys else {}
        return [_snapshot(key, jobs.get(key)) for key in keys]

    async def cancel(self, ref: LeaseRef) -> None:
        await self._effect_unless_gone("POST", f"/jobs/{ref.key}/stop")

    async def forget(self, ref: LeaseRef) -> None:
        await self._effect_unless_gone("DELETE", f"/jobs/{ref.key}")

    async def usage(self, ref: LeaseRef) -> Usage:
        for job in await self._jobs([ref.key]):
            cost = Money(amount=Decimal(job["cost"]), currency=job["currency"])
            return Usage(cost=cost, final=job["final"], seconds=Decimal(job["seconds"]))
        raise LeaseLost(f"the queue knows no lease `{ref.key}`")

    async def logs(
        self, ref: LeaseRef, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        place = int(since or 0)
        while True:
            over = not follow or (await self.status(ref)).state.final
            for line in await self._lines(ref, place):
                place += 1
                yield LogLine(**line, cursor=str(place))
            if over:
                return
            await asyncio.sleep(0.2)

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> Collected:
        query = {"outputs": outputs_word(paths)}
        answer = await self._http.call("GET", f"/jobs/{ref.key}/results", params=query)
        with tempfile.TemporaryDirectory(prefix="cortex-queue-") as folder:
            archive = Path(folder) / "results"
            await asyncio.to_thread(archive.write_bytes, answer.content)
            return await asyncio.to_thread(unpack_archive, archive, paths, destination, _LIMIT)

    async def owned(self) -> list[LeaseRef]:
        keys = [job["key"] for job in await self._jobs()]
        return [LeaseRef(key=key, network_id=key) for key in keys if is_lease_key(key)]

    async def network_status(self) -> NetworkStatus:
        try:
            await self._http.get("/prices")
        except ProviderError as error:
            return NetworkStatus(reachable=False, message=str(error))
        return NetworkStatus(reachable=True)

    async def _jobs(self, keys: Sequence[str] = ()) -> list[dict[str, Any]]:
        """These jobs, or all, as far as the queue knows them."""
        jobs: list[dict[str, Any]] = await self._http.get("/jobs", params={"key": list(keys)})
        return jobs

    async def _lines(self, ref: LeaseRef, place: int) -> list[dict[str, Any]]:
        try:
            lines = await self._http.get(f"/jobs/{ref.key}/lines", params={"after": place})
        except Refused:
            return []
        return list(lines)

    async def _effect_unless_gone(self, method: str, path: str) -> None:
        try:
            await self._http.send(method, path)
        except Refused as error:
            if error.status != 404:
                raise


def _snapshot(key: str, job: dict[str, Any] | None) -> LeaseSnapshot:
    if job is None:
        return LeaseSnapshot(key=key, state=RunState.LOST, message="the queue does not know it")
    return LeaseSnapshot(
        key=key,
        state=_STATES[job["state"]],
        exit_code=job["exit_code"],
        started_at=job["started_at"],
        finished_at=job["finished_at"],
    )


_STATES = {
    "held": RunState.STARTING,
    "dropped": RunState.LOST,
    "starting": RunState.STARTING,
    "running": RunState.RUNNING,
    "exited": RunState.EXITED,
    "lost": RunState.LOST,
}
