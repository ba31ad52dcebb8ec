"""The market API: demands, proposals, agreements, scans."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request, Response

from simulators.golem.core import REQUESTOR, Core
from simulators.golem.filters import matches
from simulators.golem.replies import (
    DaemonRoute,
    Refused,
    empty,
    hexadecimal,
    json_body,
    limit,
    moment,
    reply,
    seconds,
)
from simulators.golem.state import Agreement, Demand, Proposal, new_id, stamp

_EVERY = 0.02


def market(core: Core) -> APIRouter:
    router = APIRouter(prefix="/market-api/v1", route_class=DaemonRoute)
    _demands(router, core)
    _agreements(router, core)
    _sending(router, core)
    _endings(router, core)
    _scans(router, core)
    return router


def _demands(router: APIRouter, core: Core) -> None:
    @router.post("/demands")
    async def publish(request: Request) -> Response:
        body = _demand_of(await json_body(request))
        return reply(core.publish(body["properties"], body["constraints"]).id, 201)

    @router.get("/demands")
    async def own() -> Response:
        return reply(
            [
                {
                    "properties": demand.properties,
                    "constraints": demand.constraints,
                    "demandId": demand.id,
                    "requestorId": REQUESTOR,
                    "timestamp": stamp(demand.timestamp),
                }
                for demand in core.demands.values()
            ]
        )

    @router.delete("/demands/{demand_id}")
    async def unpublish(demand_id: str) -> Response:
        del core.demands[_demand(core, demand_id).id]
        return empty()

    @router.get("/demands/{demand_id}/events")
    async def collect(request: Request, demand_id: str) -> Response:
        most = limit(request, "maxEvents")
        if not 1 <= most <= 100:
            raise Refused(400, f"Invalid maxEvents '{most}', should be between 1 and 100.")
        demand = _demand(core, demand_id)
        await _until(lambda: bool(demand.events), seconds(request), demand_id in core.demands)
        if demand_id not in core.demands:
            raise Refused(404, f"Subscription [{demand_id}] not found.")
        told, demand.events = demand.events[:most], demand.events[most:]
        return reply(told)

    @router.post("/demands/{demand_id}/proposals/{proposal_id}")
    async def counter(request: Request, demand_id: str, proposal_id: str) -> Response:
        body = _demand_of(await json_body(request))
        demand, to = _demand(core, demand_id), _proposal(core, proposal_id)
        if to.ours:
            raise Refused(400, f"Can't react to own Proposal [{proposal_id}].")
        if to.countered:
            raise Refused(410, f"Proposal [{proposal_id}] was already countered")
        return reply(core.counter(demand, to, body).id)

    @router.post("/demands/{demand_id}/proposals/{proposal_id}/reject")
    async def reject(request: Request, demand_id: str, proposal_id: str) -> Response:
        await json_body(request)
        _demand(core, demand_id)
        _proposal(core, proposal_id).countered = True
        return empty()


def _agreements(router: APIRouter, core: Core) -> None:
    @router.post("/agreements")
    async def create(request: Request) -> Response:
        body = await json_body(request)
        if not isinstance(body, dict) or not isinstance(body.get("proposalId"), str):
            raise Refused(400, "Json deserialize error: missing field `proposalId`")
        draft = _proposal(core, body["proposalId"])
        if draft.ours or not draft.answers:
            raise Refused(400, f"Proposal [{draft.id}] was not negotiated.")
        if draft.agreed:
            raise Refused(409, f"Agreement for Proposal [{draft.id}] already exists.")
        valid = moment(body.get("validTo")) or core.now() + timedelta(minutes=1)
        draft.agreed = True
        made = Agreement(
            id=new_id(), node=draft.node, demand=draft.answers | {"demandId": draft.demand_id},
            offer={"properties": draft.properties, "constraints": "()"},
            state="Proposal", valid_to=valid, timestamp=core.now(),
        )  # fmt: skip
        core.agreements[made.id] = made
        core.keep(made)
        return reply(made.id)

    @router.get("/agreements")
    async def listed(request: Request) -> Response:
        query = request.query_params
        after, before = moment(query.get("afterDate")), moment(query.get("beforeDate"))
        return reply(
            [
                {
                    "id": agreement.id,
                    "timestamp": stamp(agreement.timestamp),
                    "approvedDate": stamp(agreement.approved) if agreement.approved else None,
                    "role": "Requestor",
                }
                for agreement in core.agreements.values()
                if query.get("state") in (None, "", agreement.state)
                and query.get("appSessionId") in (None, "", agreement.session)
                and (after is None or agreement.timestamp > after)
                and (before is None or agreement.timestamp < before)
            ]
        )

    @router.get("/agreements/{agreement_id}")
    async def read(agreement_id: str) -> Response:
        return reply(_shown(_agreement(core, agreement_id)))


def _sending(router: APIRouter, core: Core) -> None:
    @router.post("/agreements/{agreement_id}/confirm")
    async def confirm(request: Request, agreement_id: str) -> Response:
        agreement = _agreement(core, agreement_id)
        if agreement.state != "Proposal":
            raise Refused(410, f"Can't transition agreement {_move(agreement, 'Pending')}")
        agreement.session = request.query_params.get("appSessionId")
        core.sent(agreement)
        return empty()

    @router.post("/agreements/{agreement_id}/wait")
    async def wait(request: Request, agreement_id: str) -> Response:
        agreement = _agreement(core, agreement_id)
        if agreement.state == "Proposal":
            raise Refused(400, f"Agreement [{agreement_id}] must be confirmed first")
        await _until(lambda: agreement.state != "Pending", seconds(request))
        if agreement.state == "Pending":
            raise Refused(408, "Timeout while waiting for Agreement approval")
        if agreement.state == "Approved":
            return empty()
        return reply(agreement.state, 410)

    @router.get("/agreementEvents")
    async def events(request: Request) -> Response:
        query = request.query_params
        after = moment(query.get("afterTimestamp"))
        session = query.get("appSessionId")

        def due() -> list[dict[str, Any]]:
            told = [
                event
                for agreement in core.agreements.values()
                for event in agreement.events
                if session in (None, agreement.session)
            ]
            told.sort(key=lambda event: str(event["eventDate"]))
            return [e for e in told if after is None or (moment(e["eventDate"]) or after) > after]

        await _until(lambda: bool(due()), seconds(request))
        return reply(due()[: limit(request, "maxEvents")])


def _endings(router: APIRouter, core: Core) -> None:
    @router.post("/agreements/{agreement_id}/cancel")
    async def cancel(request: Request, agreement_id: str) -> Response:
        await json_body(request)
        agreement = _agreement(core, agreement_id)
        if agreement.state == "Proposal":
            raise Refused(500, "Internal error: the agreement was not sent")
        if agreement.state != "Pending":
            raise Refused(410, f"Can't transition agreement {_move(agreement, 'Cancelled')}")
        agreement.state = "Cancelled"
        core.keep(agreement)
        return empty(200)

    @router.post("/agreements/{agreement_id}/terminate")
    async def terminate(request: Request, agreement_id: str) -> Response:
        reason = await json_body(request)
        agreement = _agreement(core, agreement_id)
        if agreement.state == "Proposal":
            raise Refused(409, f"Can't transition agreement {_move(agreement, 'Terminated')}")
        if agreement.state != "Approved":
            raise Refused(410, f"Can't transition agreement {_move(agreement, 'Terminated')}")
        if not agreement.node.online:
            # The provider must hear of it before it is written down.
            raise Refused(504, "Failed to terminate: the provider does not answer")
        core.terminate(agreement, "Requestor", reason)
        return empty(200)

    @router.get("/agreements/{agreement_id}/terminate/reason")
    async def why(agreement_id: str) -> Response:
        agreement = _agreement(core, agreement_id)
        if agreement.ended is None:
            raise Refused(400, f"Agreement [{agreement_id}] is not terminated")
        return reply(agreement.ended)

    @router.post("/agreements/{agreement_id}/terminate/reason")
    async def not_there(agreement_id: str) -> Response:
        return empty(404)  # the specification names this method; the daemon has only GET


def _scans(router: APIRouter, core: Core) -> None:
    @router.post("/scan")
    async def begin(request: Request) -> Response:
        body = await json_body(request)
        if not isinstance(body, dict) or body.get("type") not in ("offer", "demand"):
            raise Refused(400, "Json deserialize error: missing field `type`")
        wanted = str(body.get("constraints") or "()")
        name = str(len(core.scans))
        core.scans[name] = [
            {
                "properties": node.properties,
                "constraints": "()",
                "offerId": node.offer_id,
                "providerId": node.id,
                "timestamp": stamp(core.now()),
            }
            for node in core.nodes
            if body["type"] == "offer" and node.online and matches(wanted, node.properties)
        ]
        return reply(name, 201)

    @router.get("/scan/{name}/events")
    async def scanned(request: Request, name: str) -> Response:
        if name not in core.scans:
            raise Refused(404, f"Scan [{name}] not found")
        await _until(lambda: bool(core.scans.get(name)), seconds(request))
        most = limit(request, "maxEvents")
        told, core.scans[name] = core.scans[name][:most], core.scans[name][most:]
        return reply(told)

    @router.delete("/scan/{name}")
    async def end(name: str) -> Response:
        if core.scans.pop(name, None) is None:
            raise Refused(404, f"Scan [{name}] not found")
        return empty()


def _shown(agreement: Agreement) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "agreementId": agreement.id,
        "demand": {
            **agreement.demand,
            "requestorId": REQUESTOR,
            "timestamp": stamp(agreement.timestamp),
        },
        "offer": {
            **agreement.offer,
            "offerId": agreement.node.offer_id,
            "providerId": agreement.node.id,
            "timestamp": stamp(agreement.timestamp),
        },
        "validTo": stamp(agreement.valid_to),
        "state": agreement.state,
        "timestamp": stamp(agreement.timestamp),
    }
    if agreement.session is not None:
        shown["appSessionId"] = agreement.session
    if agreement.state in ("Pending", "Approved", "Terminated"):
        shown["proposedSignature"] = "NoSignature"
    if agreement.approved is not None:
        shown["approvedDate"] = stamp(agreement.approved)
        shown["approvedSignature"] = shown["committedSignature"] = "NoSignature"
    return shown


def _demand_of(body: Any) -> dict[str, Any]:
    """A demand or a counter-proposal. Constraints are taken as they come, even broken ones."""
    if not isinstance(body, dict) or not isinstance(body.get("properties"), dict):
        raise Refused(400, "Json deserialize error: missing field `properties`")
    if not isinstance(body.get("constraints"), str):
        raise Refused(400, "Json deserialize error: missing field `constraints`")
    return body


def _demand(core: Core, demand_id: str) -> Demand:
    demand = core.demands.get(demand_id)
    if demand is None:
        raise Refused(404, f"Subscription [{demand_id}] not found.")
    return demand


def _proposal(core: Core, proposal_id: str) -> Proposal:
    proposal = core.proposals.get(proposal_id)
    if proposal is None:
        raise Refused(404, f"Proposal [{proposal_id}] not found.")
    return proposal


def _agreement(core: Core, agreement_id: str) -> Agreement:
    agreement = core.agreements.get(hexadecimal(agreement_id))
    if agreement is None:
        raise Refused(404, f"Agreement [{agreement_id}] not found.")
    if agreement.state in ("Proposal", "Pending") and core.now() > agreement.valid_to:
        agreement.state = "Expired"  # noticed only when it is looked at
        core.keep(agreement)
    return agreement


def _move(agreement: Agreement, to: str) -> str:
    return f"[{agreement.id}] state from {agreement.state} to {to}"


async def _until(true: Callable[[], bool], wait: float, go_on: bool = True) -> None:
    ends = time.monotonic() + wait
    while go_on and not true():
        if time.monotonic() > ends:
            return
        await asyncio.sleep(_EVERY)
