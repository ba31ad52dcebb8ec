"""The world of the simulated Nosana: its API, its books, and what may happen there."""

import base64
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import JSONResponse

from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.kit.world import SimBill, SimLease, UnknownAction, World
from simulators.nosana import replies
from simulators.nosana.definitions import objection
from simulators.nosana.market import Network
from simulators.nosana.state import ACTIVE, Deployment, Run, Store, address, standard_markets

API_KEY = "nos_simulated_key"
_LIMITS = (10, 20, 50, 100)
_ENDABLE = ("DRAFT", "STOPPED", "ERROR", "INSUFFICIENT_FUNDS")


class NosanaWorld(World):
    """One account on the simulated network. Its API key is `nos_simulated_key`."""

    name: ClassVar[str] = "nosana"

    def __init__(self, folder: Path, clock: Clock, runs: Runs) -> None:
        super().__init__(folder, clock, runs)
        self.network = Network(Store(folder), clock, runs, standard_markets())

    def router(self) -> APIRouter:
        router = APIRouter()
        router.add_api_route("/api/markets/", self._markets, methods=["GET"])
        router.add_api_route("/api/credits/balance", self._balance, methods=["GET"])
        top = "/api/deployments"
        router.add_api_route(top, self._list, methods=["GET"])
        router.add_api_route(f"{top}/create", self._create, methods=["POST"])
        router.add_api_route(top + "/{deployment}", self._get, methods=["GET"])
        router.add_api_route(top + "/{deployment}", self._delete, methods=["DELETE"])
        router.add_api_route(top + "/{deployment}/jobs", self._runs, methods=["GET"])
        router.add_api_route(top + "/{deployment}/jobs/{job}", self._run, methods=["GET"])
        router.add_api_route(top + "/{deployment}/{action}", self._act, methods=["POST"])
        return router

    async def start(self) -> None:
        await self.network.start()

    async def aclose(self) -> None:
        await self.network.aclose()

    async def leases(self) -> list[SimLease]:
        books = self.network.books
        return [
            SimLease(id=item.id, key=item.key, alive=replies.costs_money(item, books.of(item.id)))
            for item in books.deployments.values()
        ]

    async def bill(self) -> list[SimBill]:
        books, now = self.network.books, self.network.now
        return [
            SimBill(
                id=item.id,
                key=item.key,
                amount=sum((run.cost(now) for run in books.of(item.id)), Decimal(0)),
                currency="USD",
                final=not replies.costs_money(item, books.of(item.id)),
            )
            for item in books.deployments.values()
        ]

    async def act(self, action: str, args: dict[str, Any]) -> dict[str, Any]:
        """What may happen: see the keys of `fates` and the branches below."""
        fates = {"lose_lease": "host_shut_down", "provider_dies": "node_gone", "expire": "expired"}
        network = self.network
        async with network.lock:
            if action in fates:
                await network.end(self._running(args["key"]), fates[action])
            elif action == "drain_funds":
                network.books.assigned = network.books.settled(network.now)
            elif action == "top_up":
                network.books.assigned += Decimal(str(args["usd"]))
            elif action in ("provider_offline", "provider_online"):
                network.books.offline = action == "provider_offline"
            elif action == "fail_posting":
                self._of_key(args["key"]).status = "ERROR"
            else:
                raise UnknownAction(f"`{self.name}` knows no action `{action}`")
            network.save()
        return {}

    async def _markets(self) -> list[dict[str, Any]]:
        offline = self.network.books.offline
        return [replies.market(item, offline=offline) for item in self.network.markets.values()]

    async def _balance(self, request: Request) -> Any:
        if not _known(request):
            return _unauthorized()
        books, now = self.network.books, self.network.now
        return {
            "assignedCredits": float(books.assigned),
            "reservedCredits": float(books.reserved()),
            "settledCredits": float(books.settled(now)),
        }

    async def _create(self, request: Request, body: Annotated[dict[str, Any], Body()]) -> Any:
        if not _known(request):
            return _unauthorized()
        why = objection(body, set(self.network.markets))
        if why:
            return _error(400, why)
        async with self.network.lock:
            books, now = self.network.books, self.clock.now()
            made = Deployment(
                id=address("deployment", body["name"], len(books.deployments), now),
                name=body["name"],
                market=body["market"],
                timeout=body["timeout"],
                strategy=body["strategy"],
                confidential=body.get("confidential", False),
                definition=body["job_definition"],
                created_at=now,
                updated_at=now,
            )
            books.deployments[made.id] = made
            self.network.save()
            return replies.deployment(self.network, made)

    async def _list(self, request: Request) -> Any:
        if not _known(request):
            return _unauthorized()
        query = dict(request.query_params)
        limit = query.get("limit", "10")
        if not limit.isdigit() or int(limit) not in _LIMITS:
            return _error(400, "limit must be 10, 20, 50 or 100")
        async with self.network.lock:
            await self.network.advance()
            found = [item for item in self.network.books.live() if _fits(item, query)]
            found.sort(key=lambda item: (item.created_at, item.id))
            if query.get("sort_order") == "desc":
                found.reverse()
            place = _place(query.get("cursor"), [item.id for item in found])
            page = found[place : place + int(limit)]
            more = place + int(limit) < len(found)
            return {
                "deployments": [replies.deployment(self.network, item) for item in page],
                "pagination": {
                    "cursor_next": _cursor(page[-1].id) if more else None,
                    "cursor_prev": _cursor(page[0].id) if place and page else None,
                    "total_items": len(found),
                },
            }

    async def _get(self, request: Request, deployment: str) -> Any:
        async with self.network.lock:
            await self.network.advance()
            found = self._visible(request, deployment)
            if isinstance(found, Response):
                return found
            return replies.deployment(self.network, found)

    async def _delete(self, request: Request, deployment: str) -> Response:
        async with self.network.lock:
            found = self._visible(request, deployment)
            if isinstance(found, Response):
                return found
            if found.status in ACTIVE:
                return _error(400, f"a deployment that is {found.status} cannot be deleted")
            await self.network.remove(found)
            self.network.save()
        return Response(status_code=204)

    async def _act(self, request: Request, deployment: str, action: str) -> Any:
        async with self.network.lock:
            await self.network.advance()
            found = self._visible(request, deployment)
            if isinstance(found, Response):
                return found
            if action == "start" and found.status == "DRAFT":
                self.network.begin(found)
            elif action == "stop" and found.status in ("STARTING", "RUNNING"):
                self.network.stop(found)
            elif action == "archive" and found.status in _ENDABLE:
                found.status, found.updated_at = "ARCHIVED", self.clock.now()
            elif action in ("start", "stop", "archive"):
                return _error(400, f"a deployment that is {found.status} cannot {action}")
            else:
                return _error(404, "no such route")
            self.network.save()
            answer: dict[str, Any] = {"status": found.status}
            return answer | {"updated_at": found.updated_at.isoformat()}

    async def _runs(self, request: Request, deployment: str) -> Any:
        async with self.network.lock:
            await self.network.advance()
            found = self._visible(request, deployment)
            if isinstance(found, Response):
                return found
            runs = self.network.books.of(found.id)
        return {
            "jobs": [replies.run(item) for item in runs],
            "pagination": {"cursor_next": None, "cursor_prev": None, "total_items": len(runs)},
        }

    async def _run(self, request: Request, deployment: str, job: str) -> Any:
        async with self.network.lock:
            await self.network.advance()
            found = self._visible(request, deployment)
            if isinstance(found, Response):
                return found
            run = self.network.books.runs.get(job)
            if run is None or run.deployment != found.id:
                return _error(404, "job not found")
            return replies.run_detail(self.network, run)

    def _visible(self, request: Request, deployment: str) -> Deployment | Response:
        if not _known(request):
            return _unauthorized()
        found = self.network.books.deployments.get(deployment)
        if found is None or found.deleted:
            return _error(404, "deployment not found")
        return found

    def _of_key(self, key: str) -> Deployment:
        for item in self.network.books.live():
            if item.key == key:
                return item
        raise UnknownAction(f"nothing here has the key `{key}`")

    def _running(self, key: str) -> Run:
        for run in self.network.books.of(self._of_key(key).id):
            if run.state == "RUNNING":
                return run
        raise UnknownAction(f"nothing of `{key}` runs now")


def _known(request: Request) -> bool:
    return request.headers.get("authorization") == f"Bearer {API_KEY}"


def _unauthorized() -> Response:
    return JSONResponse("Unauthorized", 401)


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)


def _fits(item: Deployment, query: dict[str, str]) -> bool:
    wanted = query.get("search", "").lower()
    states = query.get("status", "").split(",") if query.get("status") else []
    return (
        query.get("name", item.name) == item.name
        and query.get("id", item.id) == item.id
        and (wanted in item.name.lower() or wanted in item.id.lower())
        and (not states or item.status in states)
    )


def _cursor(last: str) -> str:
    return base64.b64encode(last.encode()).decode()


def _place(cursor: str | None, ids: list[str]) -> int:
    """Behind the last one that was told; one that is gone in the meantime begins anew."""
    if not cursor:
        return 0
    last = base64.b64decode(cursor.encode()).decode()
    return ids.index(last) + 1 if last in ids else 0
