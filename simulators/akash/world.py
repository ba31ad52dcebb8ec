"""The simulated network as a whole: time goes by, bids arrive, escrows drain, containers run."""

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from fastapi import APIRouter

from cortex.tasks import end_task
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
            await end_task(self._clockwork)
        await self.gateways.aclose()
        await asyncio.gather(*self.later, return_exceptions=True)

    async def leases(self) -> list[LeaseLine]:
        return [
            LeaseLine(
                id=deployment.dseq, key=key_of(deployment), alive=deployment.state == "active"
            )
            for deployment in self.book.deployments.values()
        ]

    async def bill(self) -> list[SimBill]:
        height = self.height()
        return [
            SimBill(
                id=deployment.dseq,
                key=key_of(deployment),
                amount=escrow.cost(deployment, height) / escrow.UACT,
                currency="USD",
                final=deployment.escrow.state != "open",
            )
            for deployment in self.book.deployments.values()
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
        for deployment in items:
            async with self._lock:
                if deployment.state == "active" and await self._advance(deployment):
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

    async def close(self, deployment: SimDeployment) -> None:
        """End everything of it and give back what is left."""
        async with self._lock:
            if deployment.state == "active":
                self.end_leases(deployment, "closed", "lease_closed_owner")
                self._shut(deployment)
                self.save()

    def take(self, deployment: SimDeployment, bid: SimBid) -> SimLease:
        """The lease that a bid becomes."""
        escrow.settle(deployment, self.height())
        for other in deployment.bids:
            other.state = "lost" if other.state == "open" else other.state
        bid.state = "active"
        made = SimLease(
            provider=bid.provider,
            oseq=deployment.oseq,
            price=bid.price,
            created=self.height(),
            made_at=time.time(),
        )
        deployment.escrow.withdrawn_at = time.time()
        deployment.leases.append(made)
        newer.fund(self, deployment)
        self.save()
        return made

    def end_leases(self, deployment: SimDeployment, state: str, reason: str) -> None:
        """Leases end; what ran in them is removed a little later."""
        height = self.height()
        escrow.settle(deployment, height)
        for lease in deployment.leases:
            if lease.live:
                lease.state, lease.reason, lease.closed_on = state, reason, height
                self.soon(self.cluster.end(deployment, lease))

    def provider_closes(self, deployment: SimDeployment, reason: str) -> None:
        """As the chain does it: the group is paused, the deployment stays active and funded."""
        self.end_leases(deployment, "closed", reason)
        deployment.group_state = "paused"

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
        providers = {provider.address: provider for provider in self.settings.providers}
        return Book(genesis=datetime.now(UTC), credits=self.settings.credits, providers=providers)

    async def _tick(self) -> None:
        while True:
            await self.settle(*self.book.deployments.values())
            await asyncio.sleep(self.settings.tick)

    async def _advance(self, deployment: SimDeployment) -> bool:
        changed = False
        lease = deployment.lease
        if lease is None or not lease.live:
            return self._age_bids(deployment)
        if await self.cluster.step(deployment, lease):
            changed = True
        why = self._given_up(lease)
        if why is not None:
            self.provider_closes(deployment, why)
            return True
        return self._money(deployment, lease) or changed

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

    def _money(self, deployment: SimDeployment, lease: SimLease) -> bool:
        """The provider takes out what it has earned; the Console ends what has run its time."""
        hours = deployment.limit_hours
        if hours is not None and time.time() > lease.made_at + hours * 3600:
            self.end_leases(deployment, "closed", "lease_closed_owner")
            self._shut(deployment)
            return True
        newer.fund_again(self, deployment)
        if time.time() < deployment.escrow.withdrawn_at + self.settings.withdraw_every:
            return False
        deployment.escrow.withdrawn_at = time.time()
        if not escrow.settle(deployment, self.height()):
            self.end_leases(
                deployment, "insufficient_funds", "lease_closed_reason_insufficient_funds"
            )
            self._shut(deployment)
        return True

    def _shut(self, deployment: SimDeployment) -> None:
        escrow.settle(deployment, self.height())
        deployment.state = "closed"
        deployment.group_state = (
            "closed" if deployment.escrow.state != "overdrawn" else "insufficient_funds"
        )
        deployment.closed_at = time.time()
        for bid in deployment.bids:
            bid.state = "closed" if bid.state in ("open", "active") else bid.state
        self.book.credits += escrow.refund(deployment)

    def _plan_bids(self, deployment: SimDeployment, parsed: Parsed) -> None:
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
                at = deployment.made_at + delay + index * self.settings.bid_spread
                deployment.bids.append(
                    SimBid(provider=provider.address, price=asked, at=at, height=deployment.created)
                )

    def _age_bids(self, deployment: SimDeployment) -> bool:
        """Providers withdraw what nobody takes."""
        changed = False
        for bid in deployment.bids:
            if bid.state == "open" and time.time() > bid.at + self.settings.bids_kept:
                bid.state, changed = "closed", True
        return changed

    @staticmethod
    def resource(sdl: dict[str, Any]) -> dict[str, Any]:
        """The resources of the one service, in the chain's form."""
        from_manifest: dict[str, Any] = console.first_service(sdl)["resources"]
        return from_manifest

    def ends_at(self, deployment: SimDeployment) -> datetime | None:
        """When the Console closes it by itself."""
        lease = deployment.lease
        if lease is None or deployment.limit_hours is None:
            return None
        return datetime.fromtimestamp(lease.made_at, UTC) + timedelta(hours=deployment.limit_hours)


def key_of(deployment: SimDeployment) -> str:
    """The lease key in the name of a group, for checks from outside; else the name itself."""
    match = _KEY.search(deployment.group)
    return f"job_{match['body']}" if match else deployment.group
