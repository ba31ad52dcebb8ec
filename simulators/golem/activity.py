"""The activity API: exe-units behind the daemon."""

import asyncio
import json
import time

from fastapi import APIRouter, Request, Response

from simulators.golem.core import Core
from simulators.golem.exeunit import known
from simulators.golem.replies import (
    DaemonRoute,
    Refused,
    hexadecimal,
    json_body,
    reply,
    seconds,
)
from simulators.golem.state import Activity, short_id

_EVERY = 0.01


def activity(core: Core) -> APIRouter:
    router = APIRouter(prefix="/activity-api/v1", route_class=DaemonRoute)
    _life(router, core)
    _facts(router, core)
    _work(router, core)
    return router


def _life(router: APIRouter, core: Core) -> None:
    @router.post("/activity")
    async def create(request: Request) -> Response:
        body = await json_body(request, plain=True)
        name = body if isinstance(body, str) else (body or {}).get("agreementId", "")
        agreement = core.agreements.get(_hex(name))
        if agreement is None:
            raise Refused(404, f"Agreement not found: {name}")
        if agreement.state != "Approved":
            raise Refused(400, f"Bad request: agreement not in Approved state: {agreement.state}")
        if core.habits.refuses_activities > 0 or not agreement.node.online:
            core.habits.refuses_activities = max(0, core.habits.refuses_activities - 1)
            raise Refused(408, "Timeout")
        made = Activity(short_id(), agreement, core.now())
        core.activities[made.id] = made
        core.units.begin(made)
        core.keep(made)
        return reply(made.id if isinstance(body, str) else {"activityId": made.id})

    @router.get("/activity")
    async def listed(request: Request) -> Response:
        wanted = _hex(request.query_params.get("agreementId", ""))
        return reply([a.id for a in core.activities.values() if a.agreement.id == wanted])

    @router.delete("/activity/{activity_id}")
    async def destroy(activity_id: str) -> Response:
        activity = _known(core, activity_id)
        if not activity.agreement.node.online:
            raise Refused(500, "GSB error: the provider does not answer")
        await core.finish(activity)
        return reply(None)


def _facts(router: APIRouter, core: Core) -> None:
    @router.get("/activity/{activity_id}/state")
    async def state(activity_id: str) -> Response:
        activity = _known(core, activity_id)
        told: dict[str, object] = {"state": [activity.state, activity.pending]}
        if activity.reason:
            told["reason"] = activity.reason
        return reply(told)

    @router.get("/activity/{activity_id}/usage")
    async def usage(activity_id: str) -> Response:
        activity = _known(core, activity_id)
        told: dict[str, object] = {"timestamp": int(core.now().timestamp())}
        if activity.state != "New":
            told["currentUsage"] = activity.vector(core.now())
        return reply(told)

    @router.get("/activity/{activity_id}/agreement")
    async def agreement_of(activity_id: str) -> Response:
        return reply(_known(core, activity_id).agreement.id)

    @router.get("/activity/{activity_id}/command")
    async def command(activity_id: str) -> Response:
        _known(core, activity_id)
        raise Refused(500, "GSB error: the running command cannot be told")


def _work(router: APIRouter, core: Core) -> None:
    @router.post("/activity/{activity_id}/exec")
    async def execute(request: Request, activity_id: str) -> Response:
        body = await json_body(request, plain=True)
        activity = _known(core, activity_id)
        try:
            script = json.loads(body["text"])
        except (TypeError, KeyError, ValueError) as error:
            raise Refused(400, f"Bad request: {error}") from None
        if not isinstance(script, list) or not all(known(command) for command in script):
            raise Refused(400, "Bad request: unknown variant in the exe-script")
        _answering(activity)
        return reply(core.units.take(activity, script))

    @router.get("/activity/{activity_id}/exec/{batch_id}")
    async def results(request: Request, activity_id: str, batch_id: str) -> Response:
        activity = _known(core, activity_id)
        _answering(activity)
        batch = activity.batches.get(batch_id)
        if batch is None:
            raise Refused(404, f"Not found: batch {batch_id}")
        wanted = request.query_params.get("commandIndex")
        ends = time.monotonic() + seconds(request)
        while not batch.finished and time.monotonic() < ends:
            if wanted is not None and len(batch.results) > int(wanted):
                break
            await asyncio.sleep(_EVERY)
            _answering(activity)
        return reply(batch.results)


def _known(core: Core, activity_id: str) -> Activity:
    activity = core.activities.get(activity_id)
    if activity is None:
        raise Refused(500, f"DAO error: Not found: agreement id for activity: {activity_id}")
    return activity


def _answering(activity: Activity) -> None:
    """The exe-unit is asked through the service bus; one that is gone is nobody there."""
    if not activity.alive:
        address = f"/public/exeunit/{activity.id}"
        raise Refused(
            500, f"GSB error: Bad request: No service registered under given address '{address}'"
        )
    if not activity.agreement.node.online:
        raise Refused(500, "GSB error: the provider does not answer")


def _hex(text: str) -> str:
    try:
        return hexadecimal(text)
    except Refused:
        raise Refused(
            500, f"Service error: Id [{text}] contains non hexadecimal characters."
        ) from None
