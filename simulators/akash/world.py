"""The simulated network as a whole: time goes by, bids arrive, escrows drain, containers run."""

import asyncio
import contextlib
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from fastapi import APIRouter

from simulators.akash import actions, console, escrow, gateway, market, newer, public
from simulators.akash.cluster import Cluster
from simulators.akash.model import Book, Creation, SimBid, SimDeployment, SimLease
from simulators.akash.sdl import Parsed
from simulators.akash.settings import OWNER, AkashSettings
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.kit.world import SimBill, World
from simulators.kit.world import SimLease as LeaseLine

_FIRST_BLOCK = 29_711_000
_KEY = re.compile(r"-(?P<body>[0-9a-z]{26}-\d+)-")


class Trouble:
    """What goes wrong next, set by actions: counters that run down."""

    def __init__(self) -> None:
        self.refuse_manifest = 0
        self.no_bids = False
        self.late_bids = 0.0
        self.late_create = 0.0
        self.dark = 0
        self.underflow = 0
        self.late_lease = 0
        self.refuse_token = 0
        self.account = ""


class AkashWorld(World):
    """The Console's API over a market of providers."""

    name: ClassVar[str] = "akash"

    def __init__(
        self, folder: Path, clock: Clock, runs: Runs, settings: AkashSettings | None = None
    ) -> None:
        super().__init__(folder, clock, runs)
        self.settings = settings or AkashSettings()
        self.trouble = Trouble()
        self.cluster = Cluster(runs, folder, self.settings)
        self.later: set[asyncio.Task[None]] = set()
        self._file = folder / "akash.json"
        self._lock = asyncio.Lock()
        self._clockwork: asyncio.Task[None] | None = None
        self._last_dseq = 0
        self.book = self._load()
        self.accounts = {OWNER}  # those whose key the chain knows
        self.gateways = gateway.Gateways(self, folder / "gateways")

    def router(self) -> APIRouter:
        router = APIRouter()
        for part in (console.router(self), public.router(self), gateway.router(self)):
            router.include_router(part)
        return router

    async def start(self) -> None:
        await self.gateways.start()
        self.save()
        self._clockwork = asyncio.create_task(self._tick())

    async def aclose(self) -> None:
        if self._clockwork is not None:
            self._clockwork.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._clockwork
        await self.gateways.aclose()
        await asyncio.gather(*self.later, return_exceptions=True)

    async def leases(self) -> list[LeaseLine]:
        return [
            LeaseLine(id=item.dseq, key=key_of(item), alive=item.state == "active")
            for item in self.book.deployments.values()
        ]

    async def bill(self) -> list[SimBill]:
        height = self.height()
        return [
            SimBill(
                id=item.dseq,
                key=key_of(item),
                amount=escrow.cost(item, height) / escrow.UACT,
                currency="USD",
                final=item.escrow.state != "open",
            )
            for item in self.book.deployments.values()
        ]

    async def act(self, action: str, args: dict[str, Any]) -> dict[str, Any]:
        return await actions.act(self, action, args)

    # Time

    def height(self) -> int:
        """The newest block."""
        passed = (datetime.now(UTC) - self.book.genesis).total_seconds()
        return _FIRST_BLOCK + int(passed / self.settings.block_seconds)

    def save(self) -> None:
        self.book.save(self._file)

    async def settle(self, *items: SimDeployment) -> None:
        """Bring these up to this moment; one by one, since containers are looked at."""
        for item in items:
            async with self._lock:
                if item.state == "active" and await self._advance(item):
                    self.save()

    # What the Console does

    def make(self, creation: Creation) -> SimDeployment:
        """A deployment with its order; bids come later."""
        dseq = max(self.clock.unix_ms(), self._last_dseq + 1)
        self._last_dseq = dseq
        made = SimDeployment(
            dseq=str(dseq),
            group=creation.parsed.group,
            name=creation.name,
            sdl=creation.parsed.sdl,
            manifest=creation.parsed.manifest,
            hash=creation.parsed.hash,
            created=self.height(),
            made_at=time.time(),
            limit_hours=creation.limit_hours,
            stored=creation.stored,
        )
        made.escrow.funds = creation.deposit * escrow.UACT
        made.escrow.settled_at = made.created
        self.book.credits -= creation.deposit
        self.book.deployments[made.dseq] = made
        self._plan_bids(made, creation.parsed)
        self.save()
        return made

    async def close(self, item: SimDeployment) -> None:
        """End everything of it and give back what is left."""
        async with self._lock:
            if item.state == "active":
                self.end_leases(item, "closed", "lease_closed_owner")
                self._shut(item)
                self.save()

    def take(self, item: SimDeployment, bid: SimBid) -> SimLease:
        """The lease that a bid becomes."""
        escrow.settle(item, self.height())
        for other in item.bids:
            other.state = "lost" if other.state == "open" else other.state
        bid.state = "active"
        made = SimLease(
            provider=bid.provider,
            oseq=item.oseq,
            price=bid.price,
            created=self.height(),
            made_at=time.time(),
        )
        item.escrow.withdrawn_at = time.time()
        item.leases.append(made)
        newer.fund(self, item)
        self.save()
        return made

    def end_leases(self, item: SimDeployment, state: str, reason: str) -> None:
        """Leases end; what ran in them is removed a little later."""
        height = self.height()
        escrow.settle(item, height)
        for lease in item.leases:
            if lease.live:
                lease.state, lease.reason, lease.closed_on = state, reason, height
                self.soon(self.cluster.end(item, lease))

    def provider_closes(self, item: SimDeployment, reason: str) -> None:
        """As the chain does it: the group is paused, the deployment stays active and funded."""
        self.end_leases(item, "closed", reason)
        item.group_state = "paused"

    def soon(self, work: Any) -> None:
        """Do something beside the answer."""
        task = asyncio.ensure_future(work)
        self.later.add(task)
        task.add_done_callback(self.later.discard)

    def dark(self, lease: SimLease) -> bool:
        """Whether the provider does not answer now."""
        if not self.book.providers[lease.provider].online:
            return True
        if self.trouble.dark > 0:
            self.trouble.dark -= 1
            return True
        return False

    @staticmethod
    def owner_of(_item: SimDeployment) -> str:
        """Whose it is: there is one account."""
        return OWNER

    # Inside

    def _load(self) -> Book:
        if self._file.exists():
            book = Book.model_validate_json(self._file.read_text())
            self._last_dseq = max(map(int, book.deployments), default=0)
            return book
        providers = {item.address: item for item in self.settings.providers}
        return Book(genesis=datetime.now(UTC), credits=self.settings.credits, providers=providers)

    async def _tick(self) -> None:
        while True:
            await self.settle(*self.book.deployments.values())
            await asyncio.sleep(self.settings.tick)

    async def _advance(self, item: SimDeployment) -> bool:
        changed = False
        lease = item.lease
        if lease is None or not lease.live:
            return self._age_bids(item)
        if await self.cluster.step(item, lease):
            changed = True
        why = self._given_up(lease)
        if why is not None:
            self.provider_closes(item, why)
            return True
        return self._money(item, lease) or changed

    def _given_up(self, lease: SimLease) -> str | None:
        """Why the provider closes the lease now, if it does."""
        now = time.time()
        if lease.delivered_at is None:
            late = now > lease.made_at + self.settings.manifest_timeout
            return "lease_closed_reason_manifest_timeout" if late else None
        failing = lease.down_since is not None
        if failing and now > (lease.down_since or now) + self.settings.unstable_after:
            return "lease_closed_reason_unstable"
        return None

    def _money(self, item: SimDeployment, lease: SimLease) -> bool:
        """The provider takes out what it has earned; the Console ends what has run its time."""
        hours = item.limit_hours
        if hours is not None and time.time() > lease.made_at + hours * 3600:
            self.end_leases(item, "closed", "lease_closed_owner")
            self._shut(item)
            return True
        newer.fund_again(self, item)
        if time.time() < item.escrow.withdrawn_at + self.settings.withdraw_every:
            return False
        item.escrow.withdrawn_at = time.time()
        if not escrow.settle(item, self.height()):
            self.end_leases(item, "insufficient_funds", "lease_closed_reason_insufficient_funds")
            self._shut(item)
        return True

    def _shut(self, item: SimDeployment) -> None:
        escrow.settle(item, self.height())
        item.state = "closed"
        item.group_state = "closed" if item.escrow.state != "overdrawn" else "insufficient_funds"
        item.closed_at = time.time()
        for bid in item.bids:
            bid.state = "closed" if bid.state in ("open", "active") else bid.state
        self.book.credits += escrow.refund(item)

    def _plan_bids(self, item: SimDeployment, parsed: Parsed) -> None:
        if self.trouble.no_bids:
            return
        resource = self.resource(parsed.sdl)
        need = market.need_of(resource, parsed.attributes)
        delay = self.settings.bid_delay + self.trouble.late_bids
        everybody = self.book.providers.values()
        able = [p for p in everybody if p.audited and p.bids and market.fits(p, need)]
        for index, provider in enumerate(able):
            asked = market.price(provider, need, self.settings)
            if asked <= parsed.cap:
                at = item.made_at + delay + index * self.settings.bid_spread
                item.bids.append(
                    SimBid(provider=provider.address, price=asked, at=at, height=item.created)
                )

    def _age_bids(self, item: SimDeployment) -> bool:
        """Providers withdraw what nobody takes."""
        changed = False
        for bid in item.bids:
            if bid.state == "open" and time.time() > bid.at + self.settings.bids_kept:
                bid.state, changed = "closed", True
        return changed

    @staticmethod
    def resource(sdl: dict[str, Any]) -> dict[str, Any]:
        """The resources of the one service, in the chain's form."""
        from_manifest: dict[str, Any] = console.first_service(sdl)["resources"]
        return from_manifest

    def ends_at(self, item: SimDeployment) -> datetime | None:
        """When the Console closes it by itself."""
        lease = item.lease
        if lease is None or item.limit_hours is None:
            return None
        return datetime.fromtimestamp(lease.made_at, UTC) + timedelta(hours=item.limit_hours)


def key_of(item: SimDeployment) -> str:
    """The lease key in the name of a group, for checks from outside; else the name itself."""
    match = _KEY.search(item.group)
    return f"job_{match['body']}" if match else item.group
