"""Makes the app of a simulator: the network's API, the fault plan, the control routes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException

from simulators.kit.clock import Clock
from simulators.kit.faults import (
    App,
    Call,
    FaultMiddleware,
    FaultPlan,
    Message,
    Receive,
    Rule,
    Scope,
    Send,
)
from simulators.kit.world import Action, SimBill, SimLease, UnknownAction, World


def make_app(world: World) -> App:
    """The app of a world, to be served by uvicorn. Its API has no `/_sim/` of its own."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await world.runs.start_up()
        await world.start()
        try:
            yield
        finally:
            await world.aclose()
            await world.runs.aclose()

    plan = FaultPlan()
    app = FastAPI(title=f"simulated {world.name}", lifespan=lifespan)
    app.include_router(world.router())
    app.include_router(_control(world, plan), prefix="/_sim", tags=["control"])
    # Around the whole app, so that it can break the connection itself.
    return FaultMiddleware(_dated(app, world.clock), plan)


def _dated(app: App, clock: Clock) -> App:
    """Every answer carries the time as this network believes it is."""

    async def dated(scope: Scope, receive: Receive, send: Send) -> None:
        async def stamp(message: Message) -> None:
            if message["type"] == "http.response.start":
                at = format_datetime(clock.now(), usegmt=True).encode()
                message["headers"] = [*message.get("headers", ()), (b"date", at)]
            await send(message)

        await app(scope, receive, stamp if scope["type"] == "http" else send)

    return dated


def _control(world: World, plan: FaultPlan) -> APIRouter:
    router = APIRouter()

    @router.get("/faults")
    async def faults() -> list[Rule]:
        return plan.rules

    @router.put("/faults")
    async def set_faults(rules: list[Rule]) -> list[Rule]:
        plan.rules = rules
        return plan.rules

    @router.delete("/faults", status_code=204)
    async def clear_faults() -> None:
        plan.rules = []

    @router.get("/calls")
    async def calls() -> list[Call]:
        return list(plan.calls)

    @router.delete("/calls", status_code=204)
    async def clear_calls() -> None:
        plan.calls.clear()

    @router.get("/leases")
    async def leases() -> list[SimLease]:
        return await world.leases()

    @router.get("/bill")
    async def bill() -> list[SimBill]:
        return await world.bill()

    @router.post("/world")
    async def act(action: Action) -> dict[str, Any]:
        if action.action == "skew_clock":
            world.clock.skew = timedelta(seconds=float(action.args["seconds"]))
            return {"skew": action.args["seconds"]}
        try:
            return await world.act(action.action, action.args)
        except (UnknownAction, KeyError) as error:
            raise HTTPException(422, str(error)) from error

    return router
