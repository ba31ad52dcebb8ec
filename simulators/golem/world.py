"""The simulated network: a daemon on this side, providers on the other."""

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from fastapi import APIRouter, Request, Response

from simulators.golem.activity import activity
from simulators.golem.books import Books
from simulators.golem.core import REQUESTOR, Core
from simulators.golem.exeunit import ExeUnits
from simulators.golem.market import market
from simulators.golem.nodes import PLATFORM
from simulators.golem.payment import payment
from simulators.golem.replies import APP_KEY, DaemonRoute, Refused, reply
from simulators.golem.state import LIVE, Agreement
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs, pullable
from simulators.kit.world import SimBill, SimLease, UnknownAction, World

__all__ = ["APP_KEY", "PLATFORM", "GolemWorld"]


class GolemWorld(World):
    """Golem Network through one yagna daemon; its books outlive the process, see `books`."""

    name: ClassVar[str] = "golem"

    def __init__(self, folder: Path, clock: Clock, runs: Runs) -> None:
        super().__init__(folder, clock, runs)
        self.books = Books(folder / "golem.db")
        self.core = Core(clock, ExeUnits(folder, clock, runs, self.books), self.books)

    def router(self) -> APIRouter:
        router = APIRouter()
        for part in (market, activity, payment):
            router.include_router(part(self.core))
        router.include_router(_rest())
        return router

    async def start(self) -> None:
        await self.core.restore()

    async def aclose(self) -> None:
        await self.core.aclose()
        await self.core.units.aclose()
        self.books.close()

    async def end_all(self) -> None:
        """Stop and remove all machines."""
        for machine in self.core.activities.values():
            await self.core.units.end(machine.id)

    async def leases(self) -> list[SimLease]:
        return [
            SimLease(id=agreement.id, key=agreement.session, alive=agreement.state in LIVE)
            for agreement in self.core.agreements.values()
            if agreement.session is not None
        ]

    async def bill(self) -> list[SimBill]:
        return [
            SimBill(
                id=agreement.id,
                key=agreement.session,
                amount=self._owed(agreement),
                currency="GLM",
                final=self._final(agreement),
            )
            for agreement in self.core.agreements.values()
            if agreement.session is not None
        ]

    async def act(self, action: str, args: dict[str, Any]) -> dict[str, Any]:
        """Let something happen: see `simulators/golem/README.md`."""
        known = getattr(self, f"_do_{action}", None)
        if known is None:
            return await super().act(action, args)
        answer: dict[str, Any] = await known(**args)
        self.core.keep_world()
        return answer

    def _owed(self, agreement: Agreement) -> Decimal:
        """What the requestor has promised for it; while it runs, what has run up."""
        if agreement.state == "Approved":
            return sum((a.cost(self.clock.now()) for a in self.core.of(agreement)), Decimal(0))
        return self.core.promised(agreement)

    def _final(self, agreement: Agreement) -> bool:
        if agreement.state in LIVE:
            return False
        invoices = [b for b in self.core.invoices.values() if b.agreement is agreement]
        return not self.core.of(agreement) or any(b.status != "RECEIVED" for b in invoices)

    async def _do_lose_lease(self, key: str) -> dict[str, Any]:
        """The provider shuts down in good order and breaks the agreement off."""
        agreement = self.core.live(key)
        await self.core.provider_ends(agreement, "Shutdown", "Provider is shutting down")
        return {"agreement": agreement.id}

    async def _do_kill_unit(self, key: str) -> dict[str, Any]:
        """The exe-unit crashes; the agreement stays."""
        agreement = self.core.live(key)
        for one in self.core.of(agreement):
            one.alive = False
            self.core.keep(one)
            await self.core.units.end(one.id)
        return {"agreement": agreement.id}

    async def _do_provider_dies(self, key: str) -> dict[str, Any]:
        """The provider vanishes with all that runs there; nobody answers any more."""
        await self._do_kill_unit(key)
        return await self._do_provider_offline(key)

    async def _do_provider_offline(self, key: str) -> dict[str, Any]:
        agreement = self.core.live(key)
        agreement.node.online = False
        return {"node": agreement.node.id}

    async def _do_provider_online(self, node: str) -> dict[str, Any]:
        for candidate in self.core.nodes:
            if candidate.id == node:
                candidate.online = True
                return {"node": node}
        raise UnknownAction(f"there is no provider `{node}`")

    async def _do_market(self, online: bool) -> dict[str, Any]:
        """All providers leave the market, or come back."""
        for candidate in self.core.nodes:
            candidate.online = online
        return {"online": online}

    async def _do_bill_now(self, key: str, extra: str = "0") -> dict[str, Any]:
        """The provider sends a debit note at once."""
        agreement = self.core.live(key)
        notes = [self.core.note(one, extra=Decimal(extra)) for one in self.core.of(agreement)]
        return {"notes": [note.id for note in notes]}

    async def _do_deadline(self, note: str) -> dict[str, Any]:
        """The time to accept a debit note is over."""
        await self.core.unanswered(self.core.notes[note])
        return {"state": self.core.notes[note].agreement.state}

    async def _do_drain_funds(self, left: str = "0") -> dict[str, Any]:
        self.core.wallet = Decimal(left)
        return {"wallet": left}

    async def _do_restart_daemon(self) -> dict[str, Any]:
        """A hard restart: demands, proposals and scans are gone, the rest is kept."""
        for book in (self.core.demands, self.core.proposals, self.core.scans):
            book.clear()
        return {}

    async def _do_habits(self, **changes: Any) -> dict[str, Any]:
        """What providers do from now on; fields of `Habits`."""
        for name, value in changes.items():
            kind = type(getattr(self.core.habits, name))
            setattr(self.core.habits, name, kind(str(value)) if kind is Decimal else kind(value))
        return changes

    async def _do_all_reject(self, reason: str = "") -> dict[str, Any]:
        """Every provider turns every counter-proposal down; empty: none does."""
        for candidate in self.core.nodes:
            candidate.rejects = reason
        return {"reason": reason}


def _rest() -> APIRouter:
    router = APIRouter(route_class=DaemonRoute)

    @router.get("/me")
    async def me() -> Response:
        return reply({"identity": REQUESTOR, "name": "simulated", "role": "manager"})

    @router.get("/version/get")
    async def version() -> Response:
        release = {
            "version": "0.17.6",
            "name": "simulated",
            "seen": True,
            "releaseTs": "2026-03-13T00:00:00",
            "insertionTs": "2026-03-13T00:00:00",
            "updateTs": "2026-03-13T00:00:00",
        }
        return reply({"current": release, "pending": None})

    @router.get("/net-api/v2/net/status")
    async def net() -> Response:
        return reply(
            {"nodeId": REQUESTOR, "listenIp": "127.0.0.1:11500", "publicIp": None, "sessions": 3}
        )

    @router.get("/registry/v1/image/info")
    async def image(request: Request) -> Response:
        """Golem's image registry; it is no part of the daemon."""
        tag = request.query_params.get("tag") or request.query_params.get("hash") or ""
        if not tag or not pullable(tag):
            raise Refused(404, "image not found")
        sha3 = hashlib.sha3_224(tag.encode()).hexdigest()
        url = f"https://registry.invalid/download/{tag}.gvmi"
        return reply({"http": url, "https": url, "sha3": sha3, "size": 1048576})

    @router.get("/stats/v2/network/pricing/1h")
    async def prices() -> Response:
        """The network's statistics; no part of the daemon either."""
        kinds = ("cpu", "env", "start")
        values = (Decimal("0.1"), Decimal("0.05"), Decimal("0.0001"))
        part = {
            f"{kind}_{how}": value
            for kind, value in zip(kinds, values, strict=True)
            for how in ("median", "average")
        }
        return reply({"mainnet": part, "testnet": part})

    @router.get("/rate")
    async def rate() -> Response:
        """A price feed."""
        return reply({"golem": {"usd": Decimal("0.25")}})

    return router
