"""Drafts, starts and stops: how a lease comes to be and how it ends.

A deployment's name carries the lease key; the network does not promise that names are unique. So a
draft is made only after none was found, and afterwards the oldest of a name is the lease and the
other drafts are removed. A draft costs nothing: only `start` spends.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal

import structlog

from cortex.domain.ids import is_lease_key
from cortex.domain.leases import LeaseRef
from cortex.domain.offers import Offer
from cortex.domain.spec import JobSpec
from providers.base import Found, Reservation
from providers.dropbox import DropBox
from providers.errors import (
    InsufficientFunds,
    LeaseLost,
    NoCapacity,
    OutcomeUnknown,
    Unavailable,
)
from providers.http import Refused, invalid
from providers.nosana import markets, wire
from providers.nosana.api import NosanaApi
from providers.nosana.config import NosanaConfig
from providers.nosana.definition import deployment_body
from providers.nosana.snapshots import ended

_log = structlog.get_logger(__name__)
_LOOK_EVERY = 0.5
_FIRST_LOOK = 0.05
_STARTED_WITHIN = 3.0


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
        """A draft, made or found."""
        async with self._turns[key]:
            found = _chosen(await self._named(key))
            if found is None:
                market = await self._market(spec, offer)
                await self._check_funds()
                found = await self._draft(spec, key, market, drop)
        return Reservation(ref=self._ref(key, found))

    async def commit(self, ref: LeaseRef) -> None:
        """Start it, if that has not happened.

        Raises:
            LeaseLost: it was given up or removed.
            InsufficientFunds: the credits do not suffice; nothing is left running.
        """
        async with self._turns[ref.key]:
            found = await self._api.deployment(ref.network_id)
            if found is not None and found.status == "DRAFT":
                found = await self._start(ref)
            if found is None or await self._given_up(found):
                raise LeaseLost(f"the draft of lease `{ref.key}` is gone")
        await self._funded(ref, found)

    async def find(self, key: str) -> Found | None:
        """What carries the key, in the account's own list."""
        found = _chosen(await self._named(key))
        if found is None:
            return None
        return Found(ref=self._ref(key, found), committed=found.status != "DRAFT")

    async def owned(self) -> list[LeaseRef]:
        """All leases of the account."""
        prefix = f"{self._config.name_prefix}-"
        by_key: dict[str, list[wire.Deployment]] = defaultdict(list)
        for item in await self._api.deployments(search=prefix):
            key = item.name.removeprefix(prefix)
            if item.name.startswith(prefix) and is_lease_key(key):
                by_key[key].append(item)
        chosen = {key: _chosen(items) for key, items in by_key.items()}
        return [self._ref(key, item) for key, item in chosen.items() if item is not None]

    async def cancel(self, ref: LeaseRef) -> None:
        """Stop it, and wait until neither deployment nor run costs anything.

        Raises:
            Unavailable: the network has not confirmed it in time; it is to be asked again.
        """
        try:
            async with asyncio.timeout(self._config.patience.total_seconds()):
                for pause in _pauses():
                    if await self._stopped(ref):
                        return
                    await asyncio.sleep(pause)
        except TimeoutError:
            raise Unavailable(
                f"Nosana has not confirmed yet that deployment `{ref.network_id}` is stopped"
            ) from None

    async def forget(self, ref: LeaseRef) -> None:
        """Remove every deployment of this name; what still runs is left alone."""
        for item in await self._named(ref.key):
            if item.id == ref.network_id or item.status == "DRAFT":
                await self._remove(item)
        self._turns.pop(ref.key, None)

    async def _named(self, key: str) -> list[wire.Deployment]:
        name = self._name(key)
        return [item for item in await self._api.deployments(name=name) if item.name == name]

    async def _draft(
        self, spec: JobSpec, key: str, market: wire.Market, drop: DropBox | None
    ) -> wire.Deployment:
        body = deployment_body(
            spec,
            self._name(key),
            key,
            market=market.address,
            hourly=markets.hourly(market, self._config),
            config=self._config,
            drop=drop,
        )
        try:
            made = await self._api.create(body)
        except Refused as error:
            raise invalid(error) from None
        # Somebody else may have done the same: all who look now see the same oldest one.
        named = await self._named(key)
        chosen = _chosen(named)
        if chosen is None:
            raise OutcomeUnknown(f"the list of deployments does not show `{made.name}` yet")
        for spare in named:
            if spare.id != chosen.id and spare.status == "DRAFT":
                await self._remove(spare)
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
        return next(item for item in known if item.address == fitting[0].data["market"])

    async def _check_funds(self) -> None:
        available = (await self._api.balance()).available
        if available <= Decimal(0):
            raise InsufficientFunds(
                f"the Nosana account has {available} USD of credits left; top it up"
            )

    async def _start(self, ref: LeaseRef) -> wire.Deployment | None:
        try:
            await self._api.act(ref.network_id, "start")
        except Refused:
            # Started, archived or removed in the meantime: the next look tells which.
            _log.info("nosana.start_refused", lease=ref.key)
        found = await self._api.deployment(ref.network_id)
        if found is not None and found.status == "DRAFT":
            raise NoCapacity("Nosana does not start the job now")
        return found

    async def _given_up(self, deployment: wire.Deployment) -> bool:
        return deployment.status == "ARCHIVED" and not await self._api.jobs(deployment.id)

    async def _funded(self, ref: LeaseRef, found: wire.Deployment | None) -> None:
        """Look for a moment whether the account can pay for it, while the job is posted."""
        until = asyncio.get_running_loop().time() + _STARTED_WITHIN
        for pause in _pauses():
            if found is None or found.status not in ("STARTING", "INSUFFICIENT_FUNDS"):
                return
            if found.status == "INSUFFICIENT_FUNDS" and not await self._api.jobs(found.id):
                raise InsufficientFunds("the Nosana account has too few credits for the job")
            if asyncio.get_running_loop().time() > until:
                return
            await asyncio.sleep(pause)
            found = await self._api.deployment(ref.network_id)

    async def _stopped(self, ref: LeaseRef) -> bool:
        """One look, and one push towards the end; true if there is nothing left to end."""
        found = await self._api.deployment(ref.network_id)
        if found is None:
            return True
        if found.status == "DRAFT":
            return await self._push(found, "archive") or await self._discarded(found)
        jobs = await self._api.jobs(found.id)
        if found.status == "INSUFFICIENT_FUNDS":
            await self._push(found, "archive")  # or it may start once there are credits again
        if ended(found, jobs):
            return True
        if found.status != "STOPPING":
            await self._push(found, "stop")
        return False

    async def _discarded(self, draft: wire.Deployment) -> bool:
        """Remove a draft that cannot be archived, unless it was started in the meantime."""
        found = await self._api.deployment(draft.id)
        if found is not None and found.status == "DRAFT":
            await self._remove(found)
            return True
        return found is None

    async def _push(self, deployment: wire.Deployment, what: str) -> bool:
        """Whether the network took it; if not, its state has changed in the meantime."""
        try:
            await self._api.act(deployment.id, what)
        except Refused:
            return False
        return True

    async def _remove(self, deployment: wire.Deployment) -> None:
        for tries in range(2):
            try:
                await self._api.delete(deployment.id)
            except Refused as error:
                if error.status == 404:
                    return
                if tries:
                    raise Unavailable(f"Nosana does not remove a deployment: {error}") from None
                await self._push(deployment, "archive")
                continue
            return

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
    started = [item for item in named if item.status != "DRAFT"]
    return next(iter(started or named), None)
