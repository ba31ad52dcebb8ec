"""The part of the Console's API that needs a key."""

import asyncio
import base64
import hashlib
import json
import secrets
import time
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request

from providers.akash.manifest import manifest_json
from simulators.akash import answers, escrow, sdl
from simulators.akash.errors import Refusal, RefusalRoute
from simulators.akash.model import Order, SimDeployment
from simulators.akash.settings import API_KEY, OWNER
from simulators.akash.tokens import issue

if TYPE_CHECKING:
    from simulators.akash.world import AkashWorld

_USER = "0b9c1f9e-3d52-4a6e-9a53-5f0f5f1d9d10"


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
    outer = APIRouter()
    outer.include_router(made)
    outer.include_router(_settings(world))
    return outer


def _account(made: APIRouter, world: "AkashWorld") -> None:
    @made.get("/user/me")
    async def me() -> Any:
        user = {"id": _USER, "userId": "auth|simulated", "username": "simulated"}
        user |= {"email": "someone@example.org"}
        return {"data": {**user, "emailVerified": True, "subscribedToNewsletter": False}}

    @made.get("/wallets")
    async def wallets(userId: str) -> Any:
        if userId != _USER:
            raise Refusal(403, "Forbidden", "Not your wallet")
        wallet = {
            "id": 1,
            "userId": _USER,
            "creditAmount": float(world.book.credits),
            "address": OWNER,
            "denom": "uact",
            "isTrialing": False,
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
        order = _order(world, body["data"])
        delay, world.trouble.late_create = world.trouble.late_create, 0.0
        if delay:
            world.soon(_late(world, delay, order))
            raise Refusal(504, "GatewayTimeout", "upstream request timeout")
        item = world.make(order)
        tx = {"code": 0, "transactionHash": _hash(item.dseq), "rawLog": ""}
        return {"data": {"dseq": item.dseq, "manifest": item.manifest, "signTx": tx}}


def _order(world: "AkashWorld", wanted: dict[str, Any]) -> Order:
    deposit = Decimal(str(wanted.get("deposit", world.settings.min_deposit)))
    try:
        parsed = sdl.parse(wanted["sdl"])
    except sdl.BadSdl as error:
        raise Refusal(400, "BadRequestError", str(error)) from error
    if deposit < world.settings.min_deposit:
        raise Refusal(400, "BadRequestError", "Deposit too low")
    if deposit > world.book.credits:
        raise Refusal(402, "PaymentRequiredError", "Insufficient credits for the deposit")
    if not world.settings.extended:
        return Order(parsed, deposit)
    name = str(wanted.get("name", "job"))
    return Order(parsed, deposit, name, wanted.get("runtimeLimitHours"))


def _deployments(made: APIRouter, world: "AkashWorld") -> None:
    @made.get("/deployments")
    async def listed(
        skip: int = 0, limit: int = 1000, state: str = "active", search: str = ""
    ) -> Any:
        if not world.settings.extended:
            state, search = "active", ""
        found = [
            item
            for item in world.book.deployments.values()
            if item.state == state and search in f"{item.name} {item.dseq}"
        ]
        page = found[skip : skip + limit]
        data = {
            "deployments": [await answers.detail(world, item, status=False) for item in page],
            "pagination": {
                "total": len(found),
                "skip": skip,
                "limit": limit,
                "hasMore": skip + limit < len(found),
            },
        }
        return {"data": data}

    @made.get("/deployments/{dseq}")
    async def detail(dseq: str) -> Any:
        item = _item(world, dseq)
        await world.settle(item)
        return {"data": await answers.detail(world, item, status=True)}

    @made.delete("/deployments/{dseq}")
    async def close(dseq: str) -> Any:
        item = _item(world, dseq)
        if world.trouble.underflow > 0:
            world.trouble.underflow -= 1
            raise Refusal(400, "BadRequestError", "Deployment escrow cannot be settled yet")
        await world.settle(item)
        await world.close(item)
        return {"data": {"success": True}}

    @made.post("/deposit-deployment")
    async def deposit(body: dict[str, Any]) -> Any:
        item = _item(world, str(body["data"]["dseq"]))
        amount = Decimal(str(body["data"]["deposit"]))
        await world.settle(item)
        if item.state != "active":
            raise Refusal(400, "BadRequestError", "Deployment closed")
        if amount > world.book.credits:
            raise Refusal(402, "PaymentRequiredError", "Insufficient credits for the deposit")
        escrow.settle(item, world.height())
        world.book.credits -= amount
        item.escrow.funds += amount * escrow.UACT
        world.save()
        return {"data": await answers.detail(world, item, status=True)}


def _market(made: APIRouter, world: "AkashWorld") -> None:
    @made.get("/bids")
    async def bids(dseq: str) -> Any:
        item = _item(world, dseq)
        await world.settle(item)
        there = [each for each in item.bids if each.at <= time.time()]
        return {"data": [answers.bid(world, item, each) for each in there]}

    @made.post("/leases")
    async def lease(body: dict[str, Any]) -> Any:
        (wanted,) = body["leases"]
        item = _item(world, wanted["dseq"])
        await world.settle(item)
        manifest = body.get("manifest")
        if manifest is None and not world.settings.extended:
            raise Refusal(400, "validation_error", "manifest: Required")
        _take(world, item, wanted["provider"])
        _deliver(world, item, item.manifest if manifest is None else str(manifest))
        return {"data": await answers.detail(world, item, status=True)}


def _take(world: "AkashWorld", item: SimDeployment, provider: str) -> None:
    """A lease for this bid, unless there is one."""
    if item.state != "active":
        raise Refusal(400, "BadRequestError", "Deployment closed")
    if item.lease is not None and item.lease.live:
        return
    bid = next((each for each in item.bids if each.provider == provider), None)
    if bid is None or bid.at > time.time() or bid.state != "open":
        raise Refusal(400, "BadRequestError", f"bid of {provider} is no longer open")
    if not item.order_open:
        raise Refusal(400, "BadRequestError", "order has already been matched or closed")
    if world.settings.extended and not world.book.providers[provider].online:
        raise Refusal(502, "BadGateway", "Provider unreachable", code="provider_unreachable")
    world.take(item, bid)


def _deliver(world: "AkashWorld", item: SimDeployment, manifest: str) -> None:
    lease = item.lease
    if lease is None or lease.delivered_at is not None:
        return
    if hashlib.sha256(manifest.encode()).digest() != base64.b64decode(item.hash):
        raise Refusal(422, "UnprocessableEntity", "manifest version validation failed")
    why = sdl.refusal(json.loads(manifest))
    if why is not None:
        raise Refusal(422, "UnprocessableEntity", f"invalid manifest: {why}")
    online = world.book.providers[lease.provider].online
    if world.trouble.refuse_manifest > 0 or not online:
        world.trouble.refuse_manifest = max(0, world.trouble.refuse_manifest - 1)
        raise Refusal(
            503, "ServiceUnavailable", "manifest not delivered", code="manifest_not_delivered"
        )
    lease.delivered_at = time.time()
    world.save()


def _settings(world: "AkashWorld") -> APIRouter:
    made = APIRouter(prefix="/v2", dependencies=[Depends(require_key)], route_class=RefusalRoute)

    @made.get("/deployment-settings/{dseq}")
    async def read(dseq: str) -> Any:
        return {"data": _settings_of(world, _item(world, dseq))}

    @made.patch("/deployment-settings/{dseq}")
    async def change(dseq: str, body: dict[str, Any]) -> Any:
        item = _item(world, dseq)
        hours = body["data"].get("runtimeLimitHours")
        if world.settings.extended and hours is not None:
            if item.limit_hours is not None and not 0 < hours - item.limit_hours <= 48:
                raise Refusal(400, "validation_error", "runtimeLimitHours: only longer, by 48")
            item.limit_hours = int(hours)
            world.save()
        return {"data": _settings_of(world, item)}

    return made


def _settings_of(world: "AkashWorld", item: SimDeployment) -> dict[str, Any]:
    made = datetime.fromtimestamp(item.made_at).astimezone().isoformat()
    found: dict[str, Any] = {
        "id": _USER,
        "userId": _USER,
        "dseq": item.dseq,
        "autoTopUpEnabled": False,
        "estimatedTopUpAmount": 0,
        "topUpFrequencyMs": 0,
        "createdAt": made,
        "updatedAt": made,
    }
    if world.settings.extended:
        ends = world.ends_at(item)
        found["runtimeLimitHours"] = item.limit_hours
        found["runtimeEndsAt"] = ends.isoformat() if ends else None
    return found


def _item(world: "AkashWorld", dseq: str) -> SimDeployment:
    item = world.book.deployments.get(dseq)
    if item is None:
        raise Refusal(404, "NotFoundError", "Deployment not found")
    return item


async def _late(world: "AkashWorld", delay: float, order: Order) -> None:
    """The Console goes on when nobody waits for it any more."""
    await asyncio.sleep(delay)
    world.make(order)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest().upper()
