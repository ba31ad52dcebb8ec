"""The world of the simulated Nosana: its API, its books, and what may happen there."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from fastapi import APIRouter, Request, Response

from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.kit.world import SimBill, SimLease, UnknownAction, World
from simulators.nosana import listing, replies
from simulators.nosana.definitions import MAX_BODY, acceptable
from simulators.nosana.market import Network
from simulators.nosana.state import (
    Deployment,
    Run,
    Status,
    Store,
    address,
    moment,
    standard_markets,
)

API_KEY = "nos_simulated_key"
_FROM: dict[str, tuple[Status, ...]] = {
    "start": ("DRAFT", "STOPPED", "ERROR", "INSUFFICIENT_FUNDS"),
    "stop": ("RUNNING", "ERROR", "INSUFFICIENT_FUNDS"),
    "archive": ("STOPPED",),
}
"""The states in which each may be said. Only what is stopped can be deleted."""


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
        every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        router.add_api_route("/api/{rest:path}", self._nowhere, methods=every)
        return router

    async def start(self) -> None:
        await self.network.start()

    async def aclose(self) -> None:
        await self.network.aclose()

    async def leases(self) -> list[SimLease]:
        books = self.network.books
        return [
            SimLease(
                id=deployment.id,
                key=deployment.key,
                alive=replies.costs_money(deployment, books.of(deployment.id)),
            )
            for deployment in books.deployments.values()
        ]

    async def bill(self) -> list[SimBill]:
        books, now = self.network.books, self.network.now
        return [
            SimBill(
                id=deployment.id,
                key=deployment.key,
                amount=sum((run.cost(now) for run in books.of(deployment.id)), Decimal(0)),
                currency="USD",
                final=not replies.costs_money(deployment, books.of(deployment.id)),
            )
            for deployment in books.deployments.values()
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
                failed = self._of_key(args["key"])
                failed.status, failed.due_at = "ERROR", None
            elif action == "hold_nodes":  # at `start` or `pull`; without a place they go on
                network.books.held_at = args.get("at")
            elif action == "negative_balance":
                network.archive_all()
            else:
                raise UnknownAction(f"`{self.name}` knows no action `{action}`")
            network.save()
        return {}

    async def _markets(self) -> Response:
        offline = self.network.books.offline
        return _json(
            [replies.market(market, offline=offline) for market in self.network.markets.values()]
        )

    async def _balance(self, request: Request) -> Response:
        if not _known(request):
            return _unauthorized()
        books, now = self.network.books, self.network.now
        credits = {
            "assignedCredits": float(books.assigned),
            "reservedCredits": float(books.reserved()),
            "settledCredits": float(books.settled(now)),
        }
        return _json(credits)

    async def _create(self, request: Request) -> Response:
        body = await _body(request)
        if isinstance(body, Response):
            return body
        if not _known(request):
            return _unauthorized()
        if not acceptable(body):
            return _error(400, "Bad Request")
        if body.get("vault") not in (None, replies.VAULT):
            return _error(404, "Vault not found.")
        async with self.network.lock:
            books, now = self.network.books, self.clock.now()
            made = Deployment(
                id=address("deployment", body["name"], len(books.deployments), now),
                name=body["name"],
                market=body["market"],
                timeout=body["timeout"],
                replicas=body["replicas"],
                strategy=body["strategy"],
                confidential=body.get("confidential", True),
                definition=body["job_definition"],
                created_at=now,
                updated_at=now,
            )
            books.deployments[made.id] = made
            if body.get("autostart"):
                self.network.begin(made)
            self.network.save()
            return _json(replies.deployment(self.network, made))

    async def _list(self, request: Request) -> Response:
        if not _known(request):
            return _unauthorized()
        query = dict(request.query_params)
        why = listing.complaint(query)
        if why:
            return _invalid(why)
        async with self.network.lock:
            await self.network.advance()
            try:
                page = listing.page(list(self.network.books.live()), query)
            except listing.BadCursor:
                return _broken()
            shown = [replies.deployment(self.network, deployment) for deployment in page.items]
        pagination = {
            "cursor_next": page.after,
            "cursor_prev": page.before,
            "total_items": page.total,
        }
        return _json({"deployments": shown, "pagination": pagination})

    async def _get(self, request: Request, deployment: str) -> Response:
        async with self.network.lock:
            await self.network.advance()
            visible = self._visible(request, deployment)
            if isinstance(visible, Response):
                return visible
            return _json(replies.deployment(self.network, visible))

    async def _delete(self, request: Request, deployment: str) -> Response:
        async with self.network.lock:
            await self.network.advance()
            visible = self._visible(request, deployment)
            if isinstance(visible, Response):
                return visible
            if visible.status != "STOPPED":
                return _error(500, replies.INCORRECT)
            await self.network.remove(visible)
            self.network.save()
        return Response(status_code=204)

    async def _act(self, request: Request, deployment: str, action: str) -> Response:
        body = await _body(request, needed=False)
        if isinstance(body, Response):
            return body
        if action not in _FROM:
            return _no_route(request)
        async with self.network.lock:
            await self.network.advance()
            visible = self._visible(request, deployment)
            if isinstance(visible, Response):
                return visible
            if visible.status == "ARCHIVED" and action != "start":
                return _error(500, replies.ARCHIVED)
            if visible.status not in _FROM[action]:
                return _error(500, replies.INCORRECT)
            if action == "start":
                self.network.begin(visible)
            elif action == "stop":
                self.network.stop(visible)
            else:
                visible.status, visible.updated_at = "ARCHIVED", self.clock.now()
            self.network.save()
            return _json({"status": visible.status, "updated_at": moment(visible.updated_at)})

    async def _runs(self, request: Request, deployment: str) -> Response:
        query = dict(request.query_params)
        why = listing.complaint(query)
        async with self.network.lock:
            await self.network.advance()
            visible = self._visible(request, deployment)
            if isinstance(visible, Response):
                return visible
            if why:
                return _invalid(why)
            states = query["state"].split(",") if query.get("state") else []
            runs = [
                replies.run(run)
                for run in self.network.books.of(visible.id)
                if not states or run.state in states
            ]
        if query.get("sort_order", "desc") == "desc":
            runs.reverse()
        pagination = {"cursor_next": None, "cursor_prev": None, "total_items": len(runs)}
        shown = runs[: int(query.get("limit", "10"))]
        return _json({"jobs": shown, "pagination": pagination})

    async def _run(self, request: Request, deployment: str, job: str) -> Response:
        async with self.network.lock:
            await self.network.advance()
            visible = self._visible(request, deployment)
            if isinstance(visible, Response):
                return visible
            run = self.network.books.runs.get(job)
            if run is None or run.deployment != visible.id:
                return _error(404, "Job not found")
            return _json(replies.run_detail(self.network, run))

    async def _nowhere(self, request: Request) -> Response:
        return _no_route(request)

    def _visible(self, request: Request, deployment: str) -> Deployment | Response:
        if not _known(request):
            return _unauthorized()
        visible = self.network.books.deployments.get(deployment)
        if visible is None or visible.deleted:
            return _error(404, "Deployment not found.")
        return visible

    def _of_key(self, key: str) -> Deployment:
        for deployment in self.network.books.live():
            if deployment.key == key:
                return deployment
        raise UnknownAction(f"nothing here has the key `{key}`")

    def _running(self, key: str) -> Run:
        for run in self.network.books.of(self._of_key(key).id):
            if run.state == "RUNNING":
                return run
        raise UnknownAction(f"nothing of `{key}` runs now")


def _known(request: Request) -> bool:
    return request.headers.get("authorization") == f"Bearer {API_KEY}"


async def _body(request: Request, *, needed: bool = True) -> Any:
    """The JSON of a request, or the refusal that the service's framework gives."""
    text = await request.body()
    if len(text) > MAX_BODY:
        what = {"code": "FST_ERR_CTP_BODY_TOO_LARGE", "error": "Payload Too Large"}
        said = {"statusCode": 413, **what, "message": "Request body is too large"}
        return _json(said, 413, {"connection": "close"})
    if not text and not needed and "content-type" not in request.headers:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return _broken()


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, headers, media_type="application/json; charset=utf-8")


def _unauthorized() -> Response:
    return Response("Unauthorized", 401, media_type="text/plain; charset=utf-8")


def _error(status: int, text: str) -> Response:
    return _json({"error": text}, status)


def _broken() -> Response:
    return _error(500, "Internal Server Error")


def _invalid(why: str) -> Response:
    said = {"statusCode": 400, "code": "FST_ERR_VALIDATION", "error": "Bad Request", "message": why}
    return _json(said, 400)


def _no_route(request: Request) -> Response:
    where = f"{request.method}:{request.url.path}"
    said = {"message": f"Route {where} not found", "error": "Not Found", "statusCode": 404}
    return _json(said, 404)
