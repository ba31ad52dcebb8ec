"""Nosana: containers that run once on GPU nodes, paid from USD credits of an API key."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

from cortex.domain.conditions import Conditions
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.money import Money
from cortex.domain.offers import Capabilities, Offer, PriceSheet, Usage
from cortex.domain.providers.inspection import Trial
from cortex.domain.spec import JobSpec
from providers.base import (
    TRIAL_IMAGE,
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
from providers.dropbox import HANDOVER, INPUTS, LONG, NO_DROP_BOX, OUTPUTS, RESULT
from providers.errors import LeaseLost, ProviderError, Unsuitable
from providers.nosana import markets, outputs, results, snapshots, wire
from providers.nosana.api import NosanaApi
from providers.nosana.conditions import conditions
from providers.nosana.config import NosanaConfig
from providers.nosana.definition import NO_DROP, agreed_hourly
from providers.nosana.leasing import Leasing
from providers.runner import RunnerResult

_AT_ONCE = 8
# From so many leases on, one list of all deployments is cheaper than asking for each.
_MANY = 4
_KEPT = 500
_LONGEST = 2**27


@dataclass(frozen=True)
class _Seen:
    """A deployment with its runs, and the newest of them in full."""

    deployment: wire.Deployment
    jobs: tuple[wire.Job, ...] = ()
    newest: wire.JobDetail | None = None

    @property
    def over(self) -> bool:
        return snapshots.ended(self.deployment, self.jobs)


class NosanaProvider(Provider[NosanaConfig]):
    """One account."""

    type_name: ClassVar[str] = "nosana"
    Config: ClassVar[type[ProviderConfig]] = NosanaConfig

    def __init__(self, provider_id: str, config: NosanaConfig) -> None:
        super().__init__(provider_id, config)
        self._api = NosanaApi(config)
        self._leasing = Leasing(config, self._api)
        self._gpus: tuple[str, ...] = ()
        self._conditions: dict[bool, Conditions] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        # Ended leases do not change; it saves calls, and nothing is lost with it.
        self._ended: OrderedDict[str, _Seen] = OrderedDict()

    async def initialize(self) -> None:
        await self._api.balance()
        known = markets.usable(await self._api.markets(), self.config)
        self._gpus = tuple(sorted(set().union(*(markets.gpu_names(market) for market in known))))

    async def aclose(self) -> None:
        await self._api.aclose()

    def capabilities(self) -> Capabilities:
        return Capabilities(
            images=True,
            processes=False,
            ports=True,
            gpu_models=self._gpus,
            poll_interval=self.config.poll_interval,
            inputs=self.drop is not None,
            conditions=self._conditions_now(),
        )

    def trial(self) -> Trial:
        """On the cheapest market: a job takes a whole node, whatever it asks for."""
        return Trial(image=TRIAL_IMAGE, no_outputs="" if self.drop else NO_DROP_BOX)

    async def pricing(self) -> PriceSheet:
        """A node has one price, whatever it is used for: it stands as that of the GPU."""
        known = markets.usable(await self._api.markets(), self.config)
        cheapest = markets.hourly(known[0], self.config) if known else Decimal(0)
        return PriceSheet(currency=markets.CURRENCY, gpu_hour=cheapest, as_of=datetime.now(UTC))

    async def quote(self, spec: JobSpec) -> list[Offer]:
        if self.capabilities().objections(spec):
            return []
        known = markets.usable(await self._api.markets(), self.config)
        return markets.offers(spec, known, self.config, self.id)

    async def prepare(
        self, spec: JobSpec, key: str, *, offer: Offer | None = None, report: Report = no_report
    ) -> Reservation:
        problems = self.capabilities().objections(spec)
        if problems:
            raise Unsuitable(f"`{self.id}` cannot run this job: {'; '.join(problems)}")
        return await self._leasing.prepare(spec, key, offer, self.drop)

    async def put_inputs(self, reservation: Reservation, archive: Path) -> None:
        """Into the drop box, from which the runner gets them before the command begins."""
        if self.drop is None:
            raise Unsuitable(NO_DROP)
        await self.drop.upload(reservation.ref.key, INPUTS, archive)

    async def commit(self, reservation: Reservation) -> Committed:
        return Committed(ref=await self._leasing.commit(reservation.ref, self.drop))

    async def find(self, key: str) -> Found | None:
        return await self._leasing.find(key)

    async def statuses(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        known: dict[str, wire.Deployment] = {}
        if sum(ref.network_id not in self._ended for ref in refs) >= _MANY:
            listed = await self._api.deployments(search=f"{self.config.name_prefix}-")
            # By name too: that is all that is known of what is only reserved. The oldest counts.
            known = {deployment.name: deployment for deployment in reversed(listed)}
            known |= {deployment.id: deployment for deployment in listed}
        looks = (self._snapshot(ref, known.get(ref.network_id)) for ref in refs)
        return list(await asyncio.gather(*looks))

    async def cancel(self, ref: LeaseRef) -> None:
        await self._leasing.cancel(ref)

    async def forget(self, ref: LeaseRef) -> None:
        await self._leasing.forget(ref)
        self._ended.pop(ref.network_id, None)
        if self.drop is not None:
            for name in (OUTPUTS, INPUTS, HANDOVER, LONG, RESULT):
                await self.drop.delete(ref.key, name)

    async def usage(self, ref: LeaseRef) -> Usage:
        """Of every deployment of the lease: a race may have made two, and both have their price."""
        if ref.network_id in self._ended:
            deployments = [self._ended[ref.network_id].deployment]
        else:
            deployments = await self._leasing.all_of(ref)
        if not deployments and self._leasing.created(ref):
            raise LeaseLost(f"Nosana knows no deployment for lease `{ref.key}`")
        seconds, cost, final = 0, Decimal(0), True
        now = int(time.time())
        for deployment in deployments:
            jobs = await self._api.jobs(deployment.id)
            final = final and snapshots.ended(deployment, jobs)
            for job in jobs:
                detail = await self._detail(deployment.id, job.job)
                ran = max(0, (detail.timeEnd or now) - detail.timeStart) if detail.timeStart else 0
                seconds += ran
                cost += ran * (agreed_hourly(detail.jobDefinition) or await self._hourly(ref))
        amount = Money(amount=cost / 3600, currency=markets.CURRENCY).rounded()
        return Usage(cost=amount, final=final, seconds=Decimal(seconds))

    async def logs(
        self, ref: LeaseRef, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        while True:
            seen = await self._look(ref)
            if seen is None:
                return
            if seen.over or not follow or (seen.newest is not None and seen.newest.final):
                break
            await asyncio.sleep(self.config.poll_interval.total_seconds())
        if seen.newest is not None:
            rest = await self._rest_of(seen.newest, ref.key)
            for line in results.after(results.lines_of(seen.newest, ref.key, rest), since):
                yield line

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> Collected:
        if self.drop is None:
            return Collected()
        limit = self.config.max_output_bytes
        return await outputs.collect(self.drop, ref.key, paths, destination, limit)

    async def owned(self) -> list[LeaseRef]:
        return await self._leasing.owned()

    async def network_status(self) -> NetworkStatus:
        began = time.monotonic()
        try:
            balance = await self._api.balance()
            known = markets.usable(await self._api.markets(), self.config)
        except ProviderError as error:
            return NetworkStatus(reachable=False, message=str(error))
        nodes = [len(market.nodes) for market in known if market.nodes is not None]
        return NetworkStatus(
            reachable=True,
            latency=timedelta(seconds=time.monotonic() - began),
            balance=Money(amount=balance.available, currency=markets.CURRENCY),
            capacity={"markets": str(len(known)), "nodes": str(sum(nodes))},
        )

    def _conditions_now(self) -> Conditions:
        with_drop = self.drop is not None
        if with_drop not in self._conditions:
            self._conditions[with_drop] = conditions(self.config, self.drop)
        return self._conditions[with_drop]

    async def _snapshot(self, ref: LeaseRef, known: wire.Deployment | None) -> LeaseSnapshot:
        seen = await self._look(ref, known)
        if seen is None:
            return snapshots.of_unknown(ref.key)
        if seen.newest is None:
            return snapshots.without_run(ref.key, seen.deployment)
        own = await self._own_end(seen.newest, ref.key) if seen.newest.final else None
        untaken = False
        if own is not None and own.message == snapshots.HANDOVER and self.drop is not None:
            untaken = await self.drop.fetch(ref.key, HANDOVER, limit=1) is not None
        return snapshots.of_run(ref.key, seen.deployment, seen.newest, own=own, untaken=untaken)

    async def _own_end(self, job: wire.JobDetail, key: str) -> RunnerResult | None:
        """What the runner says of its command's end: in the log, or else in the drop box."""
        reader = results.runner_of(job, key)
        if reader is None or reader.result is not None or self.drop is None:
            return reader.result if reader is not None else None
        if job.jobResult is not None and job.jobResult.opStates:
            return None
        result = await self.drop.fetch(key, RESULT)
        return results.runner_result(result) if result is not None else None

    async def _rest_of(self, job: wire.JobDetail, key: str) -> list[str]:
        """The lines that the network's log had no room for."""
        reader = results.runner_of(job, key)
        if reader is None or not reader.cut or reader.long != "sent" or self.drop is None:
            return []
        rest = await self.drop.fetch(key, LONG, limit=_LONGEST)
        return (rest or b"").decode(errors="replace").split("\n")[:-1]

    async def _look(self, ref: LeaseRef, known: wire.Deployment | None = None) -> _Seen | None:
        """A lease's deployment as it is now; `known` is what a list has just said of it."""
        if ref.network_id in self._ended:
            return self._ended[ref.network_id]
        async with self._slots:
            deployment = known or await self._leasing.own_of(ref)
            if deployment is None:
                return None
            if deployment.status == "DRAFT":
                return _Seen(deployment)
            jobs = tuple(await self._api.jobs(deployment.id))
            newest = await self._detail(deployment.id, jobs[-1].job) if jobs else None
        seen = _Seen(deployment, jobs, newest)
        if seen.over and newest is not None and newest.final:
            self._ended[deployment.id] = seen
            while len(self._ended) > _KEPT:
                self._ended.popitem(last=False)
        return seen

    async def _detail(self, deployment_id: str, job_id: str) -> wire.JobDetail:
        detail = await self._api.job(deployment_id, job_id)
        if detail is None:
            raise LeaseLost(f"Nosana has lost run `{job_id}` of deployment `{deployment_id}`")
        return detail

    async def _hourly(self, ref: LeaseRef) -> Decimal:
        """The price now, for a definition that has lost its own."""
        for market in await self._api.markets():
            if market.address == ref.data.get("market"):
                return markets.hourly(market, self.config)
        return Decimal(0)
