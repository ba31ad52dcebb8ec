"""Creations and stops: how a lease comes to be and how it ends.

Nothing can be reserved there without leaving something behind: a draft can never be removed. So
`prepare` asks and reckons, and keeps what `commit` will send in the reference; only `commit`
creates, and that starts it and spends. A deployment's name carries the lease key, and names may
repeat: the oldest of a name is the lease, and whoever sees another one stops it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from decimal import Decimal

from cortex.domain.ids import is_lease_key
from cortex.domain.leases import LeaseRef
from cortex.domain.offers import Offer
from cortex.domain.spec import JobSpec
from providers.base import Found, Reservation
from providers.dropbox import HANDOVER, DropBox
from providers.errors import (
    InsufficientFunds,
    InvalidSpec,
    LeaseLost,
    NoCapacity,
    OutcomeUnknown,
    Unavailable,
)
from providers.http import Refused
from providers.nosana import markets, wire
from providers.nosana.api import Gone, NosanaApi
from providers.nosana.config import NosanaConfig
from providers.nosana.definition import linked, plan
from providers.nosana.snapshots import STILL_COSTS, ended

_LOOK_EVERY = 0.5
_FIRST_LOOK = 0.05
_POSTED_WITHIN = 3.0
_BODY = "create"
_CONFLICT = 409
_INVALID = (400, 413, 422)


class Leasing:
    """The leases of one account."""

    def __init__(self, config: NosanaConfig, api: NosanaApi) -> None:
        self._config = config
        self._api = api
        # Two steps of one lease at once, in this process, take turns. It is no more than a
        # courtesy: what counts is the order that the network keeps.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def prepare(
        self, spec: JobSpec, key: str, offer: Offer | None, drop: DropBox | None
    ) -> Reservation:
        """What `commit` will do; nothing is at the network afterwards."""
        async with self._turns[key]:
            deployment = _chosen(await self._named(key))
            if deployment is not None:
                return Reservation(ref=self._ref(key, deployment))
            market = await self._market(spec, offer)
            await self._check_funds()
            name = self._name(key)
            made = plan(
                spec,
                name,
                key,
                market=market.address,
                hourly=markets.hourly(market, self._config),
                config=self._config,
                drop=drop,
            )
            if drop is not None and made.handover is not None:
                try:
                    await drop.put(key, HANDOVER, made.handover)
                except Unavailable:
                    if made.needed:
                        raise
            data = {"market": market.address, _BODY: made.text}
            return Reservation(ref=LeaseRef(key=key, network_id=name, data=data))

    async def commit(self, ref: LeaseRef, drop: DropBox | None) -> LeaseRef:
        """Create it, if that has not happened, and look for a moment whether it is posted.

        Raises:
            LeaseLost: it was given up or removed.
            InsufficientFunds: the credits do not suffice; what was created is stopped.
            InvalidSpec: the network takes no such job definition.
        """
        async with self._turns[ref.key]:
            deployment = _chosen(await self._named(ref.key))
            if deployment is None:
                deployment = await self._create(ref, drop)
            if deployment.status == "DRAFT":  # of a version that made some
                deployment = await self._start(deployment)
            if await self._given_up(deployment):
                raise LeaseLost(f"the deployment of lease `{ref.key}` was stopped before it ran")
        await self._funded(deployment)
        return self._ref(ref.key, deployment)

    async def find(self, key: str) -> Found | None:
        """What carries the key, in the account's own list."""
        deployment = _chosen(await self._named(key))
        if deployment is None:
            return None
        return Found(ref=self._ref(key, deployment), committed=deployment.status != "DRAFT")

    async def owned(self) -> list[LeaseRef]:
        """All leases of the account, but for what stays for ever and costs nothing."""
        prefix = f"{self._config.name_prefix}-"
        by_key: dict[str, list[wire.Deployment]] = defaultdict(list)
        for deployment in await self._api.deployments(search=prefix):
            key = deployment.name.removeprefix(prefix)
            kept = deployment.status == "DRAFT" or (
                deployment.status == "ARCHIVED" and not deployment.active_jobs
            )
            if deployment.name.startswith(prefix) and is_lease_key(key) and not kept:
                by_key[key].append(deployment)
        chosen = {key: _chosen(items) for key, items in by_key.items()}
        return [
            self._ref(key, deployment)
            for key, deployment in chosen.items()
            if deployment is not None
        ]

    async def all_of(self, ref: LeaseRef) -> list[wire.Deployment]:
        """Every deployment of a lease, oldest first: more than one where a race has made more."""
        deployments = await self._named(ref.key)
        if self.created(ref) and all(deployment.id != ref.network_id for deployment in deployments):
            own = await self._api.deployment(ref.network_id)
            deployments += [own] if own is not None else []
        return deployments

    async def own_of(self, ref: LeaseRef) -> wire.Deployment | None:
        """The deployment that is the lease."""
        if self.created(ref):
            return await self._api.deployment(ref.network_id)
        return _chosen(await self._named(ref.key))

    async def cancel(self, ref: LeaseRef) -> None:
        """Stop it, and wait until neither deployment nor run costs anything.

        Raises:
            Unavailable: the network has not confirmed it in time; it is to be asked again.
        """
        await self._until_stopped(lambda: self.all_of(ref), ref.key)

    async def forget(self, ref: LeaseRef) -> None:
        """Remove every deployment of this name; what still runs is left alone."""
        for deployment in await self.all_of(ref):
            if deployment.status == "STOPPED":
                await self._remove(deployment)
        self._turns.pop(ref.key, None)

    async def _named(self, key: str) -> list[wire.Deployment]:
        name = self._name(key)
        return [
            deployment
            for deployment in await self._api.deployments(name=name)
            if deployment.name == name
        ]

    async def _create(self, ref: LeaseRef, drop: DropBox | None) -> wire.Deployment:
        if self.created(ref) or _BODY not in ref.data:
            raise LeaseLost(f"the deployment of lease `{ref.key}` is gone")
        try:
            made = await self._api.create(linked(ref.data[_BODY], ref.key, drop))
        except Refused as error:
            if error.status in _INVALID:
                raise InvalidSpec(f"{error} (Nosana does not say which field it means)") from None
            if error.status != _CONFLICT:
                raise Unavailable(str(error)) from None
            made = None  # a second one of this key: newer versions of the service take none
        # Somebody else may have done the same: all who look now see the same oldest one.
        named = await self._named(ref.key) or ([made] if made is not None else [])
        chosen = _chosen(named)
        if chosen is None:
            raise OutcomeUnknown(f"the list of deployments does not show lease `{ref.key}` yet")
        for spare in named:
            if spare.id != chosen.id:
                await self._end(spare)
        return chosen

    async def _market(self, spec: JobSpec, offer: Offer | None) -> wire.Market:
        known = markets.usable(await self._api.markets(), self._config)
        wanted = offer.data.get("market") if offer is not None else None
        for market in known:
            if market.address == wanted:
                return market
        if wanted is not None:
            raise NoCapacity("the market of the offer is closed or not allowed any more")
        fitting = markets.offers(spec, known, self._config, "")
        if not fitting:
            raise NoCapacity("no market has what the job needs")
        return next(listed for listed in known if listed.address == fitting[0].data["market"])

    async def _check_funds(self) -> None:
        available = (await self._api.balance()).available
        if available <= Decimal(0):
            raise InsufficientFunds(
                f"the Nosana account has {available} USD of credits left; top it up"
            )

    async def _start(self, draft: wire.Deployment) -> wire.Deployment:
        await self._push(draft, "start")
        deployment = await self._api.deployment(draft.id)
        if deployment is None or deployment.status == "DRAFT":
            raise NoCapacity("Nosana does not start the job now")
        return deployment

    async def _given_up(self, deployment: wire.Deployment) -> bool:
        if deployment.status not in ("STOPPING", "STOPPED", "ARCHIVED"):
            return False
        return not await self._api.jobs(deployment.id)

    async def _funded(self, deployment: wire.Deployment) -> None:
        """Look for a moment whether the job is posted: the account may not be able to pay for it.

        Too little credit is no end there: the job would be posted as soon as there is more.
        """
        until = asyncio.get_running_loop().time() + _POSTED_WITHIN
        for pause in _pauses():
            posted = deployment.status not in ("STARTING", "RUNNING", "INSUFFICIENT_FUNDS")
            if posted or await self._api.jobs(deployment.id):
                return
            if deployment.status == "INSUFFICIENT_FUNDS":
                await self._end(deployment)
                raise InsufficientFunds(
                    "the Nosana account has too few credits for the job, up to its time limit; "
                    "top it up"
                )
            if asyncio.get_running_loop().time() > until:
                return
            await asyncio.sleep(pause)
            deployment = await self._api.deployment(deployment.id) or deployment

    async def _end(self, deployment: wire.Deployment) -> None:
        """Stop one deployment for good."""

        async def again() -> list[wire.Deployment]:
            now = await self._api.deployment(deployment.id)
            return [] if now is None else [now]

        await self._until_stopped(again, deployment.name)

    async def _until_stopped(
        self, look: Callable[[], Awaitable[list[wire.Deployment]]], what: str
    ) -> None:
        seen: list[wire.Deployment] = []
        try:
            async with asyncio.timeout(self._config.patience.total_seconds()):
                for pause in _pauses():
                    seen = await look()
                    if all([await self._stopped(deployment) for deployment in seen]):
                        return
                    await asyncio.sleep(pause)
        except TimeoutError:
            why = ""
            if any(deployment.status == "ARCHIVED" for deployment in seen):
                why = "; it has archived it, where nothing can be stopped: its run ends by itself"
            raise Unavailable(
                f"Nosana has not confirmed yet that `{what}` is stopped{why}"
            ) from None

    async def _stopped(self, deployment: wire.Deployment) -> bool:
        """One push towards the end; true if there is nothing left to end."""
        if deployment.status == "DRAFT":
            return True  # it costs nothing, and stays for ever
        if deployment.status in ("STOPPED", "ARCHIVED"):
            return ended(deployment, await self._api.jobs(deployment.id))
        if deployment.status in STILL_COSTS:
            await self._push(deployment, "stop")
        return False  # STARTING and STOPPING pass by themselves

    async def _push(self, deployment: wire.Deployment, what: str) -> bool:
        """Whether the network took it; if not, its state has changed in the meantime."""
        try:
            await self._api.act(deployment.id, what)
        except Refused:
            return False
        return True

    async def _remove(self, deployment: wire.Deployment) -> None:
        try:
            await self._api.delete(deployment.id)
        except Gone:
            return
        except Refused as error:
            raise Unavailable(f"Nosana does not remove a deployment: {error}") from None

    def created(self, ref: LeaseRef) -> bool:
        """Whether the reference is that of a deployment, not of a reservation."""
        return ref.network_id != self._name(ref.key)

    def _name(self, key: str) -> str:
        return f"{self._config.name_prefix}-{key}"

    def _ref(self, key: str, deployment: wire.Deployment) -> LeaseRef:
        return LeaseRef(key=key, network_id=deployment.id, data={"market": deployment.market})


def _pauses() -> Iterator[float]:
    """Short ones first: most of what is waited for comes at once."""
    pause = _FIRST_LOOK
    while True:
        yield pause
        pause = min(pause * 2, _LOOK_EVERY)


def _chosen(named: Sequence[wire.Deployment]) -> wire.Deployment | None:
    """The lease among the deployments of one name: the oldest that is no draft, else the oldest."""
    started = [deployment for deployment in named if deployment.status != "DRAFT"]
    return next(iter(started or named), None)
