"""The part of the Console's API that needs a key."""

import asyncio
import base64
import hashlib
import json
import secrets
import time
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from providers.akash.sdl.manifest import manifest_json
from simulators.akash import answers, escrow, market, newer, sdl
from simulators.akash.errors import Refusal, RefusalRoute
from simulators.akash.model import Creation, SimDeployment
from simulators.akash.secrets import USER
from simulators.akash.settings import API_KEY, OWNER
from simulators.akash.tokens import issue

if TYPE_CHECKING:
    from simulators.akash.world import AkashWorld

_NO_CREDIT = (
    "Not enough balance to cover the deployment deposit. Add credits or turn on auto recharge to "
    "continue."
)


def first_service(document: dict[str, Any]) -> dict[str, Any]:
    """The first service of the manifest that an SDL document makes."""
    service: dict[str, Any] = json.loads(manifest_json(document))[0]["services"][0]
    return service


async def require_key(request: Request) -> None:
    """Every key but the right one is refused."""
    if not secrets.compare_digest(request.headers.get("x-api-key", ""), API_KEY):
        raise Refusal(401, "Unauthorized", "Invalid API key")


def router(world: "AkashWorld") -> APIRouter:
    made = APIRouter(prefix="/v1", dependencies=[Depends(require_key)], route_class=RefusalRoute)
    _account(made, world)
    _creation(made, world)
    _deployments(made, world)
    _market(made, world)
    newer.routes(made, world)
    outer = APIRouter()
    outer.include_router(made)
    outer.include_router(_settings(world))
    return outer


def _account(made: APIRouter, world: "AkashWorld") -> None:
    @made.get("/user/me")
    async def me() -> Any:
        user = {"id": USER, "userId": "auth|simulated", "username": "simulated"}
        user |= {"email": "someone@example.org"}
        return {"data": {**user, "emailVerified": True, "subscribedToNewsletter": False}}

    @made.get("/wallets")
    async def wallets(userId: str) -> Any:
        if userId != USER:
            raise Refusal(403, "Forbidden", "Not your wallet")
        wallet = {
            "id": 1,
            "userId": USER,
            "creditAmount": float(world.book.credits),
            "address": OWNER,
            "denom": "uact",
            "isTrialing": world.settings.trial,
            "topUpMinAmountUsd": 20,
            "createdAt": world.book.genesis.isoformat(),
        }
        return {"data": [wallet]}

    @made.post("/create-jwt-token", status_code=201)
    async def token(body: dict[str, Any]) -> Any:
        wanted = body["data"]
        return {"data": {"token": issue(OWNER, wanted["leases"], int(wanted["ttl"]))}}


def _creation(made: APIRouter, world: "AkashWorld") -> None:
    @made.post("/deployments", status_code=201)
    async def create(body: dict[str, Any]) -> Any:
        creation = _read_creation(world, body["data"])
        delay, world.trouble.late_create = world.trouble.late_create, 0.0
        if delay:
            world.soon(_late(world, delay, creation))
            raise Refusal(504, "GatewayTimeout", "upstream request timeout")
        deployment = world.make(creation)
        tx = {"code": 0, "transactionHash": _hash(deployment.dseq), "rawLog": ""}
        manifest = creation.unresolved or deployment.manifest
        return {"data": {"dseq": deployment.dseq, "manifest": manifest, "signTx": tx}}


def _read_creation(world: "AkashWorld", wanted: dict[str, Any]) -> Creation:
    if world.settings.extended:
        made = newer.creation(world, wanted)
    else:
        deposit = Decimal(str(wanted.get("deposit", world.settings.min_deposit)))
        made = Creation(sdl.parsed(wanted["sdl"]), deposit)
    if made.deposit < world.settings.min_deposit:
        raise Refusal(400, "BadRequestError", "Deposit too low")
    _for_trial(world, made)
    _account_can_pay(world)
    if made.deposit > world.book.credits:
        raise Refusal(402, "PaymentRequiredError", _NO_CREDIT)
    return made


def _for_trial(world: "AkashWorld", creation: Creation) -> None:
    """What a free trial does not have."""
    resource = world.resource(creation.parsed.sdl)
    wanted = market.need_of(resource, creation.parsed.attributes).models
    blocked = [name for name in wanted if name in world.settings.not_on_trial]
    if world.settings.trial and blocked:
        why = f"{', '.join(blocked)} not available on free trial: Add funds to unlock GPU access"
        raise Refusal(400, "BadRequestError", f"Invalid SDL: {why}")


def _account_can_pay(world: "AkashWorld") -> None:
    """The chain refuses the account: the Console tells that with 400, not with 402."""
    if world.trouble.account:
        raise Refusal(400, "BadRequestError", world.trouble.account)


def _deployments(made: APIRouter, world: "AkashWorld") -> None:
    @made.get("/deployments")
    async def listed(
        skip: int = 0, limit: int | None = None, state: str = "active", search: str = ""
    ) -> Any:
        most = newer.LARGEST_PAGE if world.settings.extended else 1000
        limit = most if limit is None else limit
        if limit < 1 or (world.settings.extended and limit > most) or len(search) > 256:
            raise newer.invalid("limit: Number must be 1 to 100")
        if not world.settings.extended:
            state, search = "active", ""
        matching = [
            deployment
            for deployment in world.book.deployments.values()
            if deployment.state == state
            and search.lower() in f"{deployment.name} {deployment.dseq}".lower()
        ]
        page = matching[skip : skip + limit]
        data = {
            "deployments": [
                await answers.detail(world, deployment, part="list") for deployment in page
            ],
            "pagination": {
                "total": len(matching),
                "skip": skip,
                "limit": limit,
                "hasMore": skip + limit < len(matching),
            },
        }
        return {"data": data}

    @made.get("/deployments/{dseq}")
    async def detail(dseq: str) -> Any:
        deployment = _known(world, dseq)
        await world.settle(deployment)
        return {"data": await answers.detail(world, deployment, part="whole")}

    @made.delete("/deployments/{dseq}")
    async def close(dseq: str, request: Request) -> Any:
        deployment = _known(world, dseq)
        wanted = request.query_params.get("async") == "true" and world.settings.extended
        if wanted and world.settings.closes_in_background and deployment.state == "active":
            return JSONResponse({"data": {"activityId": newer.close(world, deployment)}}, 202)
        if world.trouble.underflow > 0:
            world.trouble.underflow -= 1
            raise Refusal(400, "BadRequestError", "Deployment escrow cannot be settled yet")
        await world.settle(deployment)
        await world.close(deployment)
        return {"data": {"success": True}}

    @made.post("/deposit-deployment")
    async def deposit(body: dict[str, Any]) -> Any:
        deployment = _known(world, str(body["data"]["dseq"]))
        amount = Decimal(str(body["data"]["deposit"]))
        await world.settle(deployment)
        if deployment.state != "active":
            raise Refusal(400, "BadRequestError", "Deployment closed")
        if amount > world.book.credits:
            raise Refusal(402, "PaymentRequiredError", _NO_CREDIT)
        escrow.settle(deployment, world.height())
        world.book.credits -= amount
        deployment.escrow.funds += amount * escrow.UACT
        world.save()
        return {"data": await answers.detail(world, deployment, part="whole")}


def _market(made: APIRouter, world: "AkashWorld") -> None:
    @made.get("/bids")
    async def bids(dseq: str) -> Any:
        deployment = _known(world, dseq)
        await world.settle(deployment)
        there = [each for each in deployment.bids if each.at <= time.time()]
        return {"data": [answers.bid(world, deployment, each) for each in there]}

    @made.post("/leases")
    async def lease(body: dict[str, Any]) -> Any:
        (wanted,) = body["leases"]
        deployment = _known(world, wanted["dseq"])
        await world.settle(deployment)
        manifest = body.get("manifest")
        if manifest is None and not world.settings.extended:
            raise Refusal(400, "validation_error", "manifest: Required")
        _take(world, deployment, wanted["provider"])
        # The newer Console sends what it has kept, whatever the request carries.
        newer_one = world.settings.extended
        _deliver(world, deployment, deployment.manifest if newer_one else str(manifest))
        part: Literal["chain", "whole"] = "chain" if newer_one else "whole"
        return {"data": await answers.detail(world, deployment, part=part)}


def _take(world: "AkashWorld", deployment: SimDeployment, provider: str) -> None:
    """A lease for this bid, unless there is one."""
    if deployment.state != "active":
        raise Refusal(400, "BadRequestError", "Deployment closed")
    if deployment.lease is not None and deployment.lease.live:
        return
    bid = next((each for each in deployment.bids if each.provider == provider), None)
    if bid is None or bid.at > time.time() or bid.state != "open":
        raise Refusal(400, "BadRequestError", f"bid of {provider} is no longer open")
    if not deployment.order_open:
        raise Refusal(400, "BadRequestError", "order has already been matched or closed")
    if world.settings.extended and not world.book.providers[provider].online:
        raise Refusal(502, "BadGateway", "Provider unreachable", code="provider_unreachable")
    _account_can_pay(world)
    world.take(deployment, bid)


def _deliver(world: "AkashWorld", deployment: SimDeployment, manifest: str) -> None:
    """To the provider. The newer Console says of each failure that the lease exists and costs."""
    lease = deployment.lease
    if lease is None or lease.delivered_at is not None:
        return
    trouble = world.trouble
    if trouble.late_lease > 0:
        trouble.late_lease -= 1
        raise _undelivered(world, deployment, 404, "no lease for deployment")
    if trouble.refuse_token > 0:  # the one that the Console makes itself, which ran out meanwhile
        trouble.refuse_token -= 1
        raise _undelivered(world, deployment, 401, "unauthorized access")
    if hashlib.sha256(manifest.encode()).digest() != base64.b64decode(deployment.hash):
        raise _undelivered(world, deployment, 422, "manifest version validation failed")
    why = sdl.refusal(json.loads(manifest))
    if why is not None:
        raise _undelivered(world, deployment, 422, f"invalid manifest: {why}")
    if trouble.refuse_manifest > 0 or not world.book.providers[lease.provider].online:
        trouble.refuse_manifest = max(0, trouble.refuse_manifest - 1)
        raise _undelivered(world, deployment, 502 if world.settings.extended else 503, "no answer")
    lease.delivered_at = time.time()
    world.save()


def _undelivered(
    world: "AkashWorld", deployment: SimDeployment, status: int, reason: str
) -> Refusal:
    if not world.settings.extended or deployment.lease is None:
        return Refusal(status, "ProviderError", reason)
    return Refusal(
        status,
        "ProviderError",
        f"The lease for deployment {deployment.dseq} exists, but provider "
        f"{deployment.lease.provider} did not receive its manifest. Send this request again to "
        "retry, or close the deployment to stop paying for it.",
        code="manifest_not_delivered",
        data={"dseq": deployment.dseq, "provider": deployment.lease.provider, "reason": reason},
    )


def _settings(world: "AkashWorld") -> APIRouter:
    made = APIRouter(prefix="/v2", dependencies=[Depends(require_key)], route_class=RefusalRoute)

    @made.get("/deployment-settings/{dseq}")
    async def read(dseq: str) -> Any:
        return {"data": _settings_of(world, _known(world, dseq))}

    @made.patch("/deployment-settings/{dseq}")
    async def change(dseq: str, body: dict[str, Any]) -> Any:
        deployment = _known(world, dseq)
        hours = body["data"].get("runtimeLimitHours")
        if world.settings.extended and hours is not None:
            if deployment.limit_hours is not None and not 0 < hours - deployment.limit_hours <= 48:
                raise Refusal(400, "validation_error", "runtimeLimitHours: only longer, by 48")
            deployment.limit_hours = int(hours)
            world.save()
        return {"data": _settings_of(world, deployment)}

    return made


def _settings_of(world: "AkashWorld", deployment: SimDeployment) -> dict[str, Any]:
    made = datetime.fromtimestamp(deployment.made_at).astimezone().isoformat()
    answer: dict[str, Any] = {
        "id": USER,
        "userId": USER,
        "dseq": deployment.dseq,
        "autoTopUpEnabled": world.settings.extended,
        "estimatedTopUpAmount": 0,
        "topUpFrequencyMs": 0,
        "createdAt": made,
        "updatedAt": made,
    }
    if world.settings.extended:
        ends = world.ends_at(deployment)
        answer["sdl"] = deployment.stored or None
        answer["runtimeLimitHours"] = deployment.limit_hours
        answer["runtimeEndsAt"] = ends.isoformat() if ends else None
    return answer


def _known(world: "AkashWorld", dseq: str) -> SimDeployment:
    deployment = world.book.deployments.get(dseq)
    if deployment is None:
        raise Refusal(404, "NotFoundError", "Deployment not found")
    return deployment


async def _late(world: "AkashWorld", delay: float, creation: Creation) -> None:
    """The Console goes on when nobody waits for it any more."""
    await asyncio.sleep(delay)
    world.make(creation)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest().upper()
